"""Registries that asked to be left alone: until then nobody asks them.

Docker Hub counts manifests per address and six hours, and bans addresses that go on after a 429; asking again at once
makes it worse for every node behind the same address.

Source: RFC 9110 section 10.2.3 (Retry-After).
"""

import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ...errors import UpstreamRateLimited

logger = logging.getLogger(__name__)

RETRY_AFTER_MIN_S = 1.0
RETRY_AFTER_MAX_S = 3600.0
RETRY_AFTER_DEFAULT_S = 60.0
"""Where a 429 does not say, or says what cannot be read."""


def parse_retry_after(header: str | None, now: datetime) -> float:
    """Read Retry-After, seconds or an HTTP date.

    Returns:
        Seconds from `now` (with a time zone), between RETRY_AFTER_MIN_S and RETRY_AFTER_MAX_S.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            until = parsedate_to_datetime(text)
            seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, TypeError, OverflowError):
            seconds = RETRY_AFTER_DEFAULT_S
    return min(max(RETRY_AFTER_MIN_S, seconds), RETRY_AFTER_MAX_S)


class RateLimits:
    """Until when each registry is not to be asked. Bounded, for only known registries are ever asked."""

    def __init__(self) -> None:
        self._blocked_until: dict[str, float] = {}

    def check(self, registry: str, now: float) -> None:
        """Raise UpstreamRateLimited with the time that remains, if any does at `now`, in the caller's seconds."""
        remaining_s = self._blocked_until.get(registry, now) - now
        if remaining_s > 0:
            raise UpstreamRateLimited(
                f"{registry} limits its rate: not asked for another {remaining_s:.0f} s", remaining_s
            )
        self._blocked_until.pop(registry, None)

    def block(self, registry: str, retry_after_s: float, now: float) -> UpstreamRateLimited:
        """Note a 429; returns the error to raise."""
        self._blocked_until[registry] = max(self._blocked_until.get(registry, now), now + retry_after_s)
        logger.warning("upstream rate limited: registry=%s retry_after_s=%.0f", registry, retry_after_s)
        return UpstreamRateLimited(f"{registry} answered 429: not asked for {retry_after_s:.0f} s", retry_after_s)
