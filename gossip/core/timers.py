"""Named deadlines behind one `next()`.

A deadline is set, moved and cancelled by name; a stale one cannot fire, for nothing outside holds it.
Equal times fire in the order in which they were set.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """At most one deadline per name; all operations O(log n)."""

    def __init__(self) -> None:
        self._at: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0

    def __contains__(self, name: K) -> bool:
        return name in self._at

    def __len__(self) -> int:
        return len(self._at)

    def at(self, name: K) -> float | None:
        """When the deadline of that name fires, s."""
        entry = self._at.get(name)
        return None if entry is None else entry[0]

    def set(self, name: K, at: float) -> None:
        """Set or move a deadline."""
        self._sequence += 1
        self._at[name] = (at, self._sequence)
        heapq.heappush(self._heap, (at, self._sequence, name))
        if len(self._heap) > 64 + 4 * len(self._at):
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

    def postpone_all(self, names: list[K], by_s: float) -> None:
        """Move these deadlines later."""
        for name in names:
            if name in self._at:
                self.set(name, self._at[name][0] + by_s)
