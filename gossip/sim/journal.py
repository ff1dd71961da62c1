"""What happened in a run: a story for people, counts, and a hash over everything that was sent."""

import hashlib
from collections import Counter
from collections.abc import Callable

from ..core.events import (
    Answered,
    BroadcastReceived,
    Event,
    FilterChanged,
    FilterFull,
    KeysChanged,
    MemberFailed,
    MessageReceived,
    NameConflict,
    Paused,
    Refuted,
    Rejected,
    StateReceived,
)
from ..core.membership.member import Address
from .clock import Clock
from .host import Host

Listener = Callable[[Host, Address, bytes], None]


class Journal:
    """What happened.

    `trace` tells the story in lines, `happened` counts what occurred, `failures` has (observer, member) for each
    declaration of a member's death, and `listener` is told of each datagram: who sends it, to whom, and its bytes.

    Args:
        clock: tells when.
    """

    def __init__(self, clock: Clock) -> None:
        self.trace: list[str] = []
        self.happened: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.listener: Listener | None = None
        self._clock = clock
        self._datagrams = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """A hash over every datagram so far, in order."""
        return self._datagrams.hexdigest()

    def remark(self, what: str) -> None:
        """Note in the trace what concerns no single node."""
        self._write("--", what)

    def say(self, host: Host, what: str) -> None:
        """Note in the trace what a host or its node does."""
        self._write(host.name, what)

    def sent(self, host: Host, destination: Address, payload: bytes) -> None:
        """A node sends a datagram."""
        self._datagrams.update(payload)
        self.happened["datagrams"] += 1
        self.happened["bytes"] += len(payload)
        if self.listener is not None:
            self.listener(host, destination, payload)

    def event(self, host: Host, event: Event) -> None:
        """A node reports an event."""
        self.happened[type(event).__name__] += 1
        match event:
            case FilterChanged():
                self.happened["new generation"] += event.generation > 0
            case Rejected():
                self.happened[f"rejected: {event.reason}"] += 1
            case Answered():
                pass
            case _:
                self.say(host, _line(event))
        if isinstance(event, MemberFailed):
            self.failures.append((host.name, event.member.name))

    def _write(self, who: str, what: str) -> None:
        self.trace.append(f"{self._clock.now:9.3f} {who} {what}")


def _line(event: Event) -> str:
    """An event as people read it in a trace."""
    match event:
        case Paused() | Refuted() | NameConflict() | FilterChanged() | FilterFull() | Rejected():
            return str(event)
        case MessageReceived() | BroadcastReceived() | StateReceived():
            return f"{type(event).__name__} from {event.sender}, {len(event.payload)} bytes"
        case KeysChanged():
            return f"KeysChanged {' '.join(identity.hex() for identity in event.ids)}"
        case _:
            member = event.member
            return f"{type(event).__name__} {member.name} epoch={member.epoch} incarnation={member.incarnation}"
