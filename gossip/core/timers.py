"""Everything that happens by time: named deadlines, and the part of the node that each one belongs to.

A part registers what it does at its timers when it is made, and sets, moves and cancels their deadlines itself. A
deadline is known by its name, so that a stale one cannot fire. Equal times fire in the order in which they were set.
"""

import enum
import heapq
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

_HEAP_SLACK: Final = 64
"""Stale entries that the heap of a few deadlines may keep before it is built anew; it costs 3 KiB."""

K = TypeVar("K", bound=Hashable)


class Timer(enum.Enum):
    """What a deadline is for; SUSPICION, FORGET and STEADY have one deadline per member."""

    PROBE = "probe"
    RELAY = "relay"
    GOSSIP = "gossip"
    PUBLISH = "publish"
    FETCH = "fetch"
    FINGERPRINT = "fingerprint"
    SYNC = "sync"
    HEAL = "heal"
    INTRODUCE = "introduce"
    CLAIM = "claim"
    FAREWELL = "farewell"
    SUSPICION = "suspicion"
    FORGET = "forget"
    STEADY = "steady"


class Deadlines(Generic[K]):
    """At most one deadline per name; all operations O(log n)."""

    def __init__(self) -> None:
        self._at: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0

    def __len__(self) -> int:
        """Entries kept, stale ones included: the memory that this takes."""
        return len(self._heap)

    def set(self, name: K, at: float) -> None:
        """Set or move a deadline."""
        self._sequence += 1
        self._at[name] = (at, self._sequence)
        heapq.heappush(self._heap, (at, self._sequence, name))
        if len(self._heap) > _HEAP_SLACK + 4 * len(self._at):
            self._heap = [(at, sequence, name) for name, (at, sequence) in self._at.items()]
            heapq.heapify(self._heap)

    def bring_forward(self, name: K, at: float) -> None:
        """Set the deadline unless it is earlier already."""
        known = self._at.get(name)
        if known is None or at < known[0]:
            self.set(name, at)

    def cancel(self, name: K) -> None:
        """Remove a deadline; unknown names are fine."""
        self._at.pop(name, None)

    def next(self) -> float | None:
        """The earliest deadline, s."""
        while self._heap:
            at, sequence, name = self._heap[0]
            if self._at.get(name) == (at, sequence):
                return at
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> K | None:
        """Remove and return the earliest deadline that is not after `now`."""
        at = self.next()
        if at is None or at > now:
            return None
        _, _, name = heapq.heappop(self._heap)
        del self._at[name]
        return name


class Timers:
    """The timers of one node. `member` is the name of a member for timers that have a deadline per member, else empty.

    Handlers run in `run_due` only, never in the call that sets a deadline.
    """

    def __init__(self) -> None:
        self._deadlines: Deadlines[tuple[Timer, str]] = Deadlines()
        self._handlers: dict[Timer, Callable[[float], None]] = {}
        self._member_handlers: dict[Timer, Callable[[str, float], None]] = {}

    def register(self, timer: Timer, handler: Callable[[float], None]) -> None:
        """Say what to do at the deadline of a timer; it is called with the time, s."""
        self._check_free(timer)
        self._handlers[timer] = handler

    def register_per_member(self, timer: Timer, handler: Callable[[str, float], None]) -> None:
        """Say what to do at each member's deadline of a timer; it is called with the member's name and the time, s."""
        self._check_free(timer)
        self._member_handlers[timer] = handler

    def set(self, timer: Timer, at: float, member: str = "") -> None:
        """Set or move a deadline."""
        self._deadlines.set((timer, member), at)

    def bring_forward(self, timer: Timer, at: float, member: str = "") -> None:
        """Set the deadline unless it is earlier already."""
        self._deadlines.bring_forward((timer, member), at)

    def cancel(self, timer: Timer, member: str = "") -> None:
        """Remove a deadline; one that is not set is fine."""
        self._deadlines.cancel((timer, member))

    def next(self) -> float | None:
        """The earliest deadline, s."""
        return self._deadlines.next()

    def run_due(self, now: float) -> None:
        """Call the handlers of all deadlines that are not after `now`, those that they set meanwhile included."""
        while (due := self._deadlines.pop_due(now)) is not None:
            timer, member = due
            handler = self._handlers.get(timer)
            if handler is not None:
                handler(now)
            else:
                self._member_handlers[timer](member, now)

    def _check_free(self, timer: Timer) -> None:
        taken = timer in self._handlers or timer in self._member_handlers
        assert not taken, f"{timer} belongs to another part"
