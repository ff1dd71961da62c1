"""Registries that answered 429 are not asked again before the time that they named.

Docker Hub counts manifest requests per address and six hours, and blocks addresses that go on after a 429. Asking again
at once makes it worse for every node behind the same address.

Source: RFC 9110 section 10.2.3 (Retry-After).
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ...errors import UpstreamRateLimited
from ...settings import UpstreamSettings
from .budgets import Budgets
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
    """Keeps this node from asking registries that answered 429, to itself or to another member.

    Args:
        settings: bounds on the time that a registry names.
        budgets: what registries say to all members.
    """

    def __init__(self, settings: UpstreamSettings | None = None, budgets: Budgets | None = None) -> None:
        self._settings = settings or UpstreamSettings()
        self._budgets = budgets or Budgets()

    def check(self, registry: Registry, now: float) -> None:
        """Raise UpstreamRateLimited if the registry may not be asked at `now`, in seconds of the caller's clock."""
        wait_s = self._budgets.wait_s(registry.url, now)
        if wait_s > 0:
            raise UpstreamRateLimited(f"{registry.name} answered 429: not asked for another {wait_s:.0f} s", wait_s)

    def note(self, registry: Registry, headers: Mapping[str, str], now: float) -> None:
        """Take note of what an answer says of the budget."""
        self._budgets.answered(registry.url, headers, now)

    def note_429(
        self, registry: Registry, headers: Mapping[str, str], clock: datetime, now: float
    ) -> UpstreamRateLimited:
        """Note an answer of status 429; returns the error to raise.

        Args:
            registry: who answered.
            headers: of the answer; Retry-After among them, perhaps.
            clock: the time of day, with a time zone.
            now: the same moment in monotonic seconds.
        """
        wait_s = parse_retry_after(headers.get("Retry-After"), clock, self._settings)
        was_known = self._budgets.wait_s(registry.url, now) > 0
        self._budgets.limited(registry.url, headers, wait_s, now)
        if not was_known:
            log.warning("upstream rate limited registry=%s retry_after_s=%.0f", registry.name, wait_s)
        return UpstreamRateLimited(f"{registry.name} answered 429: not asked for {wait_s:.0f} s", wait_s)
