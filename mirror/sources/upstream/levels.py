"""Whether a registry lets the members pull as usual, few times more, or not at all: one word, told when it changes.

The notes of `budgets` say more, and change with every answer. People want to know when pulls become scarce, when none
is left, and when that is over; the latter is looked for by a timer, for nobody may ask meanwhile.
"""

import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from ...events import BudgetChanged, Kind, Tell
from .budgets import Budgets

log = logging.getLogger(__name__)

_AFTER_S: Final = 0.05
"""Time after the end of a wait at which it is looked whether it is over, s: timers may fire a moment early."""


class Level(enum.Enum):
    """What a registry lets the members do, with the kind of event that tells of it."""

    FINE = Kind.BUDGET_BACK
    LOW = Kind.BUDGET_LOW
    SPENT = Kind.BUDGET_SPENT


class Levels:
    """The levels of registries.

    Args:
        budgets: what they say, which is followed from now on.
        names: of registries, by their URLs.
        on_event: told of changes.
        later: has something called after so many seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        budgets: Budgets,
        names: Mapping[str, str],
        on_event: Tell,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budgets = budgets
        self._names = names
        self._on_event = on_event
        self._later = later
        self._clock = clock
        self._levels: dict[str, Level] = {}
        """By URL, of those that were ever scarce."""
        self._timed: set[str] = set()
        budgets.follow(self.look)

    def look(self, url: str) -> None:
        """See what a registry lets the members do now, and tell if that has changed."""
        name, now = self._names.get(url), self._clock()
        if name is None:
            return
        wait_s = self._budgets.wait_s(url, now)
        level = Level.SPENT if wait_s > 0 else Level.LOW if self._budgets.is_scarce(url, now) else Level.FINE
        if level is not self._levels.get(url, Level.FINE):
            self._levels[url] = level
            self._tell(name, level, self._budgets.left(url, now), wait_s)
        if level is Level.SPENT and url not in self._timed:
            self._timed.add(url)
            self._later(wait_s + _AFTER_S, lambda: self._again(url))

    def _again(self, url: str) -> None:
        self._timed.discard(url)
        self.look(url)

    def _tell(self, name: str, level: Level, left: int | None, wait_s: float) -> None:
        if level is Level.SPENT:
            log.warning(
                "a registry lets nobody pull for a while; what members hold is served, and a login (upstream-auth) has "
                "a budget of its own registry=%s retry_after_s=%.0f",
                name,
                wait_s,
            )
        elif level is Level.LOW:
            log.warning("few pulls are left, and one member asks for all manifests registry=%s left=%s", name, left)
        else:
            log.info("a registry may be asked as usual again registry=%s", name)
        self._on_event(BudgetChanged(level.value, name, left, round(wait_s, 1)))
