"""Registries that answered 429 are not asked again before the time that they named.

Docker Hub counts manifest requests per address and six hours, and blocks addresses that go on after a 429. Asking again
at once makes it worse for every node behind the same address.

Source: RFC 9110 section 10.2.3 (Retry-After).
"""

import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ...errors import UpstreamRateLimited
from ...settings import UpstreamSettings
from .registries import Registry

log = logging.getLogger(__name__)


def parse_retry_after(header: str | None, now: datetime, settings: UpstreamSettings) -> float:
    """Read Retry-After: seconds, or an HTTP date.

    Returns:
        Seconds from `now` (with a time zone), between `retry_after_min_s` and `retry_after_max_s`.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            until = parsedate_to_datetime(text)
            seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, TypeError, OverflowError):
            seconds = settings.retry_after_default_s
    return min(max(settings.retry_after_min_s, seconds), settings.retry_after_max_s)


class RateLimits:
    """Until when each URL of a registry is not asked. Bounded: only known registries are ever asked.

    Args:
        settings: bounds on that time.
    """

    def __init__(self, settings: UpstreamSettings | None = None) -> None:
        self._settings = settings or UpstreamSettings()
        self._blocked_until: dict[str, float] = {}

    def check(self, registry: Registry, now: float) -> None:
        """Raise UpstreamRateLimited if the registry may not be asked at `now`, in seconds of the caller's clock."""
        remaining_s = self._blocked_until.get(registry.url, now) - now
        if remaining_s > 0:
            raise UpstreamRateLimited(
                f"{registry.name} answered 429: not asked for another {remaining_s:.0f} s", remaining_s
            )
        self._blocked_until.pop(registry.url, None)

    def note_429(self, registry: Registry, retry_after: str | None, clock: datetime, now: float) -> UpstreamRateLimited:
        """Note an answer of status 429; returns the error to raise.

        Args:
            registry: who answered.
            retry_after: the answer's Retry-After header.
            clock: the time of day, with a time zone.
            now: the same moment in monotonic seconds.
        """
        return self.block(registry, parse_retry_after(retry_after, clock, self._settings), now)

    def block(self, registry: Registry, retry_after_s: float, now: float) -> UpstreamRateLimited:
        """Do not ask a registry for a number of seconds; returns the error to raise."""
        self._blocked_until[registry.url] = max(self._blocked_until.get(registry.url, now), now + retry_after_s)
        log.warning("upstream rate limited registry=%s retry_after_s=%.0f", registry.name, retry_after_s)
        return UpstreamRateLimited(f"{registry.name} answered 429: not asked for {retry_after_s:.0f} s", retry_after_s)
