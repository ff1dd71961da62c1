"""How late the event loop runs.

A failure detector in a loop that others block would take its own lateness for the silence of others. The core notices
pauses by its deadlines; this notices the shorter ones, and measures.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_INTERVAL_S: Final = 0.05
"""Seconds between two samples: short against the shortest probe timeout of the presets, 0.2 s."""
_SAMPLES: Final = 1200
"""Samples that are kept: one minute of them."""
_STALL_S: Final = 0.25
"""Seconds of lateness that count as a stall: about a probe timeout, so that an answer may have been missed."""


class LoopLag:
    """Wakes up twenty times a second and looks how late it is.

    Args:
        on_stall: called with the lateness, s, when that is a quarter of a second or more.
    """

    def __init__(self, on_stall: Callable[[float], None]) -> None:
        self._on_stall = on_stall
        self._lags_s: deque[float] = deque(maxlen=_SAMPLES)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def quantile_s(self, quantile: float) -> float:
        """How late the loop ran in the last minute, s: 0.99 is what one wake-up in a hundred exceeds, 1 the worst."""
        lags = sorted(self._lags_s)
        return lags[min(len(lags) - 1, int(quantile * len(lags)))] if lags else 0.0

    def _arm(self) -> None:
        self._due_at = time.monotonic() + _INTERVAL_S
        self._timer = self._loop.call_later(_INTERVAL_S, self._wake)

    def _wake(self) -> None:
        lag_s = max(0.0, time.monotonic() - self._due_at)
        self._lags_s.append(lag_s)
        self._arm()
        if lag_s >= _STALL_S:
            self._on_stall(lag_s)
