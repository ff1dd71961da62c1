"""Registries that answered 429 are not asked again before the time that they named, nor for more pulls than are left.

Docker Hub counts manifest requests per address and six hours, and blocks addresses that go on after a 429. Asking again
at once makes it worse for every node behind the same address.

Source: RFC 9110 section 10.2.3 (Retry-After).
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from ...errors import UpstreamRateLimited
from ...settings import UpstreamSettings
from .budgets import Budgets
from .counted import CountedRepositories
from .registries import Registry

_TIMER_S: Final = 0.001
"""How early a timer may fire, s: uvloop's count whole milliseconds."""


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
    """Keeps this node from asking registries that answered 429, to itself or to another member, or have no pull left.

    Args:
        settings: bounds on the time that a registry names.
        budgets: what registries say to all members.
    """

    def __init__(self, settings: UpstreamSettings | None = None, budgets: Budgets | None = None) -> None:
        self._settings = settings or UpstreamSettings()
        self._budgets = budgets or Budgets()
        self._counted = CountedRepositories(self._settings)
        self._under_way: Counter[str] = Counter()
        """Pulls that are not answered yet, by URL."""
        self._answered: dict[str, asyncio.Event] = {}
        """Set when the next one is."""

    def check(self, registry: Registry, now: float, *, is_pull: bool = True) -> None:
        """Raise UpstreamRateLimited if the registry may not be asked at `now`, in seconds of the caller's clock."""
        wait_s = self._budgets.wait_s(registry.url, now, is_pull=is_pull)
        if wait_s > 0:
            until = datetime.fromtimestamp(time.time() + wait_s, UTC)
            why = "answered 429" if self._budgets.is_blocked(registry.url, now) else "has no pull left"
            raise UpstreamRateLimited(
                f"{registry.name} {why}: not asked for another {wait_s:.0f} s, until {until:%H:%M:%S} UTC", wait_s
            )

    def counts(self, registry: Registry, repository: str, now: float) -> bool:
        """Whether a registry counts pulls of a repository, as far as is known."""
        return self._counted.known(registry.url, repository, now) is not False

    def is_to_be_found_out(self, registry: Registry, repository: str, now: float) -> bool:
        """Whether a pull is kept back for a reason that perhaps does not concern it; a free question would tell.

        The budget may be another's (`Budgets.may_be_anothers`), or pulls of that repository may not be counted.
        """
        url = registry.url
        is_known = self._counted.known(url, repository, now) is not None
        is_kept_back = self._budgets.wait_s(url, now) > 0 and self._budgets.wait_s(url, now, is_pull=False) == 0
        return self._budgets.may_be_anothers(url, now) or (is_kept_back and not is_known)

    @asynccontextmanager
    async def asked(self, registry: Registry, *, is_pull: bool) -> AsyncIterator[None]:
        """The time until the head of an answer is here. No more pulls are under way than are left.

        Args:
            registry: who is asked.
            is_pull: whether for a manifest, by GET.

        Raises:
            UpstreamRateLimited: the registry may not be asked.
        """
        url, loop = registry.url, asyncio.get_running_loop()
        await self._end_of_a_short_wait(url, is_pull=is_pull)
        self.check(registry, loop.time(), is_pull=is_pull)
        if not is_pull:
            yield
            return
        while (left := self._budgets.left(url, loop.time())) is not None and max(left, 1) <= self._under_way[url]:
            await self._answered.setdefault(url, asyncio.Event()).wait()
            self.check(registry, loop.time())
        self._under_way[url] += 1
        try:
            yield
        finally:
            self._under_way[url] -= 1
            if (answered := self._answered.pop(url, None)) is not None:
                answered.set()

    async def _end_of_a_short_wait(self, url: str, *, is_pull: bool) -> None:
        """Wait for what is nearly over: else this member refuses, another is asked, and then both find out."""
        wait_s = self._budgets.wait_s(url, asyncio.get_running_loop().time(), is_pull=is_pull)
        if 0 < wait_s <= self._settings.nearly_over_s:
            await asyncio.sleep(wait_s + _TIMER_S)

    def note(self, registry: Registry, headers: Mapping[str, str], now: float, repository: str | None = None) -> None:
        """Take note of what an answer says of the budget.

        Args:
            registry: who answered.
            headers: of the answer.
            now: monotonic seconds.
            repository: of the manifest that it has; None if it has none.
        """
        self._budgets.answered(registry.url, headers, now)
        if repository is not None:
            self._counted.note(registry.url, repository, now, counted="RateLimit-Limit" in headers)

    def note_429(
        self, registry: Registry, headers: Mapping[str, str], clock: datetime, now: float, *, is_pull: bool = False
    ) -> UpstreamRateLimited:
        """Note an answer of status 429; returns the error to raise.

        Args:
            registry: who answered.
            headers: of the answer; Retry-After among them, perhaps.
            clock: the time of day, with a time zone.
            now: the same moment in monotonic seconds.
            is_pull: whether it was asked for a manifest, by GET.
        """
        wait_s = parse_retry_after(headers.get("Retry-After"), clock, self._settings)
        self._budgets.limited(registry.url, headers, wait_s, now, is_pull=is_pull)
        until = clock + timedelta(seconds=wait_s)
        return UpstreamRateLimited(
            f"{registry.name} answered 429: not asked for {wait_s:.0f} s, until {until:%H:%M:%S} UTC", wait_s
        )
