"""Troubles of homes: what homes said to one fetch when they could not bring a piece. Pure: told the time.

Each home asks upstream over a line of its own. So one that cannot reach the registry is no proof that nobody can:
another one is asked, and upstream in the same moment. If that one says the same, asking them all takes too long.
"""

import math
from collections.abc import Collection

from ...errors import Reason
from ...settings import PlanSettings


class HomeTroubles:
    """What homes could not fetch since one last delivered.

    Args:
        settings: what counts, and for how long.
    """

    def __init__(self, settings: PlanSettings) -> None:
        self._settings = settings
        self._landed_at = -math.inf
        self._unable: set[str] = set()
        """Homes that could not fetch something since one last delivered."""
        self._told_out: set[str] = set()
        """Those of them that said that the registry gives them no sign of life."""
        self._others: Collection[str] = ()
        """Homes that may be asked now."""
        self._now = 0.0
        self._is_held = False
        """Whether a member holds the blob: then homes need no registry."""
        self.is_told_out = False
        """Whether homes said so to an earlier fetch, lately."""

    # What happened.

    def update(self, able: Collection[str], now: float, *, is_held: bool) -> None:
        """Take note of which homes, this node apart, may be asked now, and whether a member holds the blob."""
        self._others, self._now, self._is_held = able, now, is_held

    def home_landed(self, now: float) -> None:
        """Take note that a home delivered."""
        self._landed_at = now
        self.forget()

    def upstream_landed(self) -> None:
        """Take note that upstream delivered: the registry is not out."""
        self._told_out.clear()
        self.is_told_out = False

    def failed(self, home: str, reason: Reason) -> None:
        """Take note that a home failed. One whose address may not ask says so at once, and another one may."""
        if reason in (Reason.UNABLE, Reason.OUTAGE):
            self._unable.add(home)
        if reason is Reason.OUTAGE:
            self._told_out.add(home)

    def forget(self) -> None:
        """Forget them all."""
        self._unable.clear()
        self._told_out.clear()
        self.is_told_out = False

    # What follows.

    @property
    def are_many(self) -> bool:
        """Whether homes fail one after the other to fetch anything, so that asking them all takes too long."""
        many = (self.is_told_out and not self._is_held) or len(self._unable) >= self._settings.unable_max
        return many and self._is_long_ago

    @property
    def leave_doubt(self) -> bool:
        """Whether the registry gives homes no sign of life, as one of them says, and another one may know better."""
        return bool(self._told_out) and self._is_long_ago and not self.are_many and self._has_another

    @property
    def agree(self) -> bool:
        """Whether the registry gives homes no sign of life, and no other one is worth the time."""
        return bool(self._told_out) and (len(self._unable) >= self._settings.unable_max or not self._has_another)

    @property
    def _is_long_ago(self) -> bool:
        return self._now - self._landed_at > self._settings.unable_s

    @property
    def _has_another(self) -> bool:
        return not self._unable.issuperset(self._others)
