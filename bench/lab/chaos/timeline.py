"""What was the case when: states with a beginning and, mostly, an end."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

DOWN = "down"
"""The node's agent does not run, stands still, or is not ready yet."""
LYING = "lying"
"""The node's agent lies to other members."""
CUT = "cut"
"""The node, or upstream, is cut off."""
LIMITED = "limited"
"""Upstream refuses to answer the node."""
FULL = "full"
"""The node's disk is full."""
BUSY = "busy"
"""The node's containerd does not run."""


class Timeline:
    """States by name and by whose they are, with times of the monotonic clock. Threads write and read it."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self._lock = threading.Lock()
        self._spans: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_at

    @contextmanager
    def during(self, state: str, of: str) -> Iterator[None]:
        """Note that something is the case inside of `with`."""
        began = time.monotonic()
        with self._lock:
            spans = self._spans[state, of]
            place = len(spans)
            spans.append((began, inf))
        try:
            yield
        finally:
            with self._lock:
                spans[place] = (began, time.monotonic())

    def was(self, state: str, of: str, since: float, until: float) -> bool:
        """Whether something was the case at any moment of a time, on the monotonic clock."""
        with self._lock:
            return any(began <= until and since <= ended for began, ended in self._spans[state, of])
