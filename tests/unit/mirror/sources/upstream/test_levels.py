"""When people are told that pulls become scarce, that none is left, and that this is over."""

import logging
from collections.abc import Callable

import pytest

from mirror.events import BudgetChanged, Event, Kind
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.upstream.levels import Levels

HUB = "https://registry-1.docker.io"


class Story:
    """Levels with a clock and timers of their own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[Event] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.budgets = Budgets()
        Levels(self.budgets, {HUB: "docker.io"}, self.told.append, self._later, lambda: self.now)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, do))

    def left(self, count: int, url: str = HUB) -> None:
        """A registry answers that so many pulls are left."""
        self.budgets.answered(url, {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": str(count)}, self.now)

    def refused(self, wait_s: float) -> None:
        """It answers 429."""
        self.budgets.limited(HUB, {"RateLimit-Limit": "100;w=21600"}, wait_s, self.now, is_pull=True)

    def at(self, now: float) -> None:
        """Time goes by."""
        self.now = now
        due = [do for when, do in self.timers if when <= now]
        self.timers = [(when, do) for when, do in self.timers if when > now]
        for do in due:
            do()

    @property
    def kinds(self) -> list[Kind]:
        """Of what was told."""
        return [event.kind for event in self.told]


def test_each_change_is_told_once_and_nothing_while_all_is_well() -> None:
    story = Story()
    for count in (90, 89, 3, 2, 0, 0):
        story.left(count)
    assert story.kinds == [Kind.BUDGET_LOW, Kind.BUDGET_SPENT]
    spent = story.told[-1]
    assert spent == BudgetChanged(Kind.BUDGET_SPENT, "docker.io", 0, 216.0), "one pull comes back in a hundredth of 6 h"
    story.left(80)
    assert story.kinds[2:] == [Kind.BUDGET_BACK]


def test_the_end_of_a_wait_is_told_although_nobody_asks() -> None:
    story = Story()
    story.refused(60.0)
    story.refused(60.0)
    assert (story.kinds, len(story.timers)) == ([Kind.BUDGET_SPENT], 1)
    story.at(1030.0)
    story.refused(60.0)
    story.at(1061.0)
    assert story.kinds == [Kind.BUDGET_SPENT], "a later answer said that it goes on"
    story.at(1100.0)
    assert story.kinds[1:] == [Kind.BUDGET_LOW], "one pull may find out what is left"


def test_what_another_member_was_told_counts_as_well_and_unknown_registries_do_not() -> None:
    liar, story = Story(), Story()
    liar.left(0)
    story.budgets.heard(liar.budgets.state(liar.now), story.now)
    story.left(0, "https://elsewhere.example")
    assert story.kinds == [Kind.BUDGET_SPENT]


def test_the_log_says_it_as_often_as_people_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    story = Story()
    for count in (3, 2, 0, 0, 80):
        story.left(count)
    assert [(record.levelname, record.getMessage().split(" registry=")[1]) for record in caplog.records] == [
        ("WARNING", "docker.io left=3"),
        ("WARNING", "docker.io retry_after_s=216"),
        ("INFO", "docker.io"),
    ]
