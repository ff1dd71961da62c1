"""How far a bench is, and how long it may still take."""

import time
from collections.abc import Callable


class Progress:
    """Counts runs that take about as long as each other.

    Args:
        total: runs in all.
        clock: monotonic time, seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._began_at = self._last_at = clock()
        self._done = 0

    def ended(self) -> None:
        """One more run has ended."""
        self._done += 1
        self._last_at = self._clock()

    @property
    def left_s(self) -> float | None:
        """How long what is left may still take, seconds; None before the first run has ended."""
        if not self._done:
            return None
        whole_s = (self._last_at - self._began_at) / self._done * (self._total - self._done)
        return max(0.0, whole_s - (self._clock() - self._last_at))

    def __str__(self) -> str:
        where = f"run {min(self._done + 1, self._total)} of {self._total}"
        return where if self.left_s is None else f"{where}, about {_span(self.left_s)} left"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
