"""Settling: the moment after a registry's return, as one fetch sees it. Pure: told who is up, and the time.

All members see within a second or so that a registry is back, one a little later than another. If who sees it first
went on without the others, it would ask the registry for all that is missing. So for that moment a piece waits for its
home though that is out of reach, or says that the registry is out. Where this node's own line was cut, all members were
out of reach: they come back in the same moment, and may have all that is missing, also of what is this node's own.
"""

import math
from collections.abc import Collection, Iterable

from ...errors import Reason


class Settling:
    """Who is waited for.

    Args:
        settle_s: how long the moment is, s.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._returned_at = math.inf
        """When the registry last answered again, as of the last look; infinite before the first look."""
        self._ended_at = -math.inf
        """When the registry had last answered again as it turned out that nobody need be waited for."""
        self._is_on = False
        self._up: Collection[str] = ()
        self._early: set[str] = set()
        """Homes that did not see the return yet when they were last asked."""
        self.was_cut_off = False
        """Whether no member was in reach when the registry was again."""

    # What happened.

    def returned(self, at: float) -> bool:
        """Take note of when the registry last answered again; return whether it did since the last look."""
        before, self._returned_at = self._returned_at, at
        if at > before:
            self._early.clear()
        return at > before

    def update(self, others: Iterable[str], up: Collection[str], now: float) -> None:
        """Take note of the other members that may have bytes, and of who is up."""
        self._up = up
        self._is_on = self._ended_at < self._returned_at <= now < self._returned_at + self._settle_s
        if not self._is_on:
            self.was_cut_off = False
        elif not self.was_cut_off:
            in_reach = [name in up for name in others]
            self.was_cut_off = bool(in_reach) and not any(in_reach)

    def failed(self, home: str, reason: Reason) -> bool:
        """Take note that a home failed; return whether only since it does not see the return yet."""
        is_early = self._is_on and reason in (Reason.OUTAGE, Reason.BROKEN)
        if is_early:
            self._early.add(home)
        else:
            self._early.discard(home)
        return is_early

    def end(self) -> None:
        """Wait for nobody any more: the registry has not got the content."""
        self._ended_at, self._is_on, self.was_cut_off = self._returned_at, False, False

    def forget(self) -> None:
        """Forget when the registry answered again: another one is asked from now on."""
        self._returned_at = math.inf
        self._early.clear()

    # What follows.

    def awaits(self, home: str) -> bool:
        """Whether no other home is asked for what this one cannot send now: it can within a moment, most likely."""
        return self.misses(home) or (self._is_on and home in self._early)

    def awaits_any(self, homes: Iterable[str]) -> bool:
        """Whether somebody will be able to send something within a moment."""
        return self.was_cut_off or any(map(self.awaits, homes))

    def misses(self, home: str) -> bool:
        """Whether a home is waited for that is out of reach, and counts as one that serves."""
        return self._is_on and home not in self._up
