"""Keeping: whether the cache keeps what arrives, and if it does not, why. What it has is served all the same."""

import logging
import time
from collections.abc import Callable

from ...events import CacheStopped, CacheWorks, Tell, nobody

log = logging.getLogger(__name__)


class Keeping:
    """One state: why nothing is kept now, or None. The log has a line when it changes.

    Args:
        settle_s: time from the last failure until something that works ends the state, s.
        now: monotonic seconds.
        on_event: told when it changes.
    """

    def __init__(self, settle_s: float, now: Callable[[], float] = time.monotonic, on_event: Tell = nobody) -> None:
        self.why_not: str | None = None
        """Why nothing is kept now, in a few words; None if what arrives is kept."""
        self._settle_s = settle_s
        self._now = now
        self._on_event = on_event
        self._failed_at = -settle_s

    def failed(self, why: str) -> None:
        """Take note that something could not be kept, and nothing else can."""
        self._failed_at = self._now()
        if self.why_not is None:
            log.warning("nothing is cached from now on, and pulls cost upstream more: %s", why)
            self._on_event(CacheStopped(why))
        self.why_not = why

    def works(self) -> None:
        """Take note that something was kept, or that nothing is in the way; it counts some time after a failure."""
        if self.why_not is not None and self._now() - self._failed_at >= self._settle_s:
            log.info("blobs are cached again")
            self._on_event(CacheWorks())
            self.why_not = None
