"""When a node serves as a home: what the operator says, and what the other members measure."""

import asyncio
from collections.abc import Sequence

import pytest

from mirror.cluster.serving import HomeService, When
from mirror.cluster.throughput import SlowReports
from mirror.routers import RingSeat
from mirror.settings import ServingSettings

SETTINGS = ServingSettings(interval_s=1.0, decline_s=100.0)


class Noted:
    """Rings that keep what this node says of itself."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    def seats(self) -> Sequence[RingSeat]:
        return []

    def set_serving(self, willing: bool) -> None:
        self.said.append(willing)


def service(rings: Noted, reports: SlowReports, when: When = "auto", members: int = 4) -> HomeService:
    return HomeService(when, rings, reports, lambda: members, SETTINGS)


def complain(reports: SlowReports, now: float, share: float = 0.01, count: int = 3) -> None:
    for number in range(count):
        reports.heard(f"n{number}", share, now)


@pytest.mark.parametrize(("when", "said"), [("always", True), ("never", False)])
def test_the_operators_word_is_said_once_and_nothing_is_measured(when: When, said: bool) -> None:
    rings, reports = Noted(), SlowReports()
    complain(reports, 0.0)
    asyncio.run(asyncio.wait_for(service(rings, reports, when).run(), 10))
    assert rings.said == [said]


def test_a_node_that_nobody_complains_of_says_nothing() -> None:
    rings, reports = Noted(), SlowReports()
    complain(reports, 0.0, share=1.0)
    home = service(rings, reports)
    assert [home.decide(now) for now in (0.0, 1.0, 2.0)] == [SETTINGS.interval_s] * 3
    assert rings.said == []


def test_a_node_that_several_find_slow_declines_for_a_while_and_tries_again() -> None:
    rings, reports = Noted(), SlowReports()
    home = service(rings, reports)
    complain(reports, 10.0)
    assert home.decide(10.0) == SETTINGS.decline_s
    assert rings.said == [False]
    assert home.decide(110.0) == SETTINGS.interval_s
    assert rings.said == [False, True]
    assert home.decide(111.0) == SETTINGS.interval_s
    assert rings.said == [False, True], "what was reported before is forgotten"
    complain(reports, 112.0)
    assert home.decide(112.0) == SETTINGS.decline_s
    assert rings.said == [False, True, False]


def test_what_is_reported_while_it_declines_does_not_count_when_it_tries_again() -> None:
    rings, reports = Noted(), SlowReports()
    home = service(rings, reports)
    complain(reports, 10.0)
    home.decide(10.0)
    complain(reports, 109.0)
    assert home.decide(110.0) == SETTINGS.interval_s
    assert home.decide(110.5) == SETTINGS.interval_s
    assert rings.said == [False, True]


def test_one_complaint_among_few_is_not_enough() -> None:
    rings, reports = Noted(), SlowReports()
    complain(reports, 0.0, count=1)
    assert service(rings, reports, members=1).decide(0.0) == SETTINGS.interval_s
    assert rings.said == []
