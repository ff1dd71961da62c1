"""Simulated time: a heap of things to happen, and a clock that shows the time of the latest one.

Datagrams that arrive at the same time as a timer come first, as in the asyncio driver, which reads its socket dry
before it lets a timer fire.
"""

import heapq
from collections.abc import Callable
from typing import Final

ARRIVAL: Final = 0
TIMER: Final = 1


class Clock:
    """Calls functions at their simulated times; `now` is in seconds since the start."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, when: float, kind: int, action: Callable[[], None]) -> None:
        """Call a function at a time, or next if that time has passed.

        Args:
            when: seconds since the start.
            kind: `ARRIVAL` or `TIMER`; at one time arrivals come first, and within a kind what was asked for first.
            action: the function.
        """
        self._sequence += 1
        heapq.heappush(self._heap, (max(when, self.now), kind, self._sequence, action))

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        until = self.now + duration_s
        while self._heap and self._heap[0][0] <= until:
            self.now, _, _, action = heapq.heappop(self._heap)
            action()
        self.now = max(self.now, until)

    def run_until(self, condition: Callable[[], bool], within_s: float, every_s: float = 0.01) -> float | None:
        """Let time pass until a condition holds, which is looked at every `every_s`.

        Returns:
            How long that took, seconds; None if it did not hold within `within_s`.
        """
        started_at = self.now
        while self.now - started_at <= within_s:
            if condition():
                return self.now - started_at
            self.run(every_s)
        return None
