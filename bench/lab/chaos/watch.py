"""What the agents use, and what they lose, looked at again and again while the run goes on."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from testbed.errors import RunError

from .ledger import Error, Ledger
from .member import Member
from .timeline import DOWN, Timeline

_LOOK_S: Final = 1.0
_METRICS_EVERY: Final = 5
"""Looks from one question for metrics to the next: each costs an agent some milliseconds."""

_LAG_WINDOW_S: Final = 62.0
"""An agent's lag is that of its last minute; one in which it stood still says nothing, s."""

_LAG: Final = 'skvaller_event_loop_lag_seconds{percentile="99"}'


class Watch:
    """Looks at all members inside of `with`.

    Args:
        members: the nodes.
        timeline: tells when an agent was down.
        ledger: is told what an agent lost.
    """

    def __init__(self, members: Sequence[Member], timeline: Timeline, ledger: Ledger) -> None:
        self.peak_bytes = {member.name: 0 for member in members}
        """The most memory that the agent of a node ever had."""
        self.idle_bytes = {member.name: 0 for member in members}
        """What it had at the first look."""
        self.lag_s = {member.name: 0.0 for member in members}
        """The longest of the delays of its event loop that 99 of 100 are below, in a minute in which it ran."""
        self.lost = {member.name: 0 for member in members}
        """Blobs that went from its cache, though nothing had happened to them, and there was room."""
        self.evicted = {member.name: 0 for member in members}
        """The same for caches that are too small for everything."""
        self._members = members
        self._timeline = timeline
        self._ledger = ledger
        self._seen: dict[str, set[str]] = {member.name: set() for member in members}
        self._gone: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        look = 0
        while not self._stopping.wait(_LOOK_S):
            look += 1
            for member in self._members:
                self._weigh(member)
                self._take_stock(member)
                if look % _METRICS_EVERY == 0:
                    self._time(member)

    def _weigh(self, member: Member) -> None:
        """Take note of its memory, and of an agent that has ended by itself."""
        now = self._timeline.started_at + self._timeline.now()
        try:
            used = member.agent.usage()
        except (RunError, AssertionError):
            if not self._timeline.was(DOWN, member.name, now, now) and member.name not in self._gone:
                self._gone.add(member.name)
                self._tell(member, "agent has ended by itself", member.agent.output[-1500:])
            return
        self._gone.discard(member.name)
        self.idle_bytes[member.name] = self.idle_bytes[member.name] or used.rss_bytes
        self.peak_bytes[member.name] = max(self.peak_bytes[member.name], used.peak_bytes)

    def _time(self, member: Member) -> None:
        """Take note of its loop lag."""
        now = self._timeline.started_at + self._timeline.now()
        if self._timeline.was(DOWN, member.name, now - _LAG_WINDOW_S, now):
            return
        with suppress(OSError):
            self.lag_s[member.name] = max(self.lag_s[member.name], member.agent.metrics().get(_LAG, 0.0))

    def _take_stock(self, member: Member) -> None:
        """Find blobs that are not there any more, and why."""
        blobs = member.blobs()
        gone = self._seen[member.name] - blobs - member.damaged
        self._seen[member.name] = blobs
        if member.containerd is not None:  # of what it has, no second copy is kept
            gone = {name for name in gone if not member.containerd.blob_path(name).exists()}
        if member.traits.tight:
            self.evicted[member.name] += len(gone)
            return
        self.lost[member.name] += len(gone)
        for name in gone:
            self._tell(member, "blob lost", f"{name} was not damaged, and there was room")

    def _tell(self, member: Member, kind: str, detail: str) -> None:
        self._ledger.error(Error(self._timeline.now(), member.name, kind, "", detail, 0.0, None))
