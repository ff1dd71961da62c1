"""Simulated time: in which order things happen, and how far the clock gets."""

import pytest

from gossip.sim.clock import ARRIVAL, TIMER, Clock


def test_arrivals_come_before_timers_of_the_same_time_and_equals_in_the_order_of_asking() -> None:
    clock, happened = Clock(), list[str]()
    for when, kind, what in (
        (2.0, ARRIVAL, "late"),
        (1.0, TIMER, "first timer"),
        (1.0, TIMER, "second timer"),
        (1.0, ARRIVAL, "arrival"),
    ):
        clock.at(when, kind, lambda what=what: happened.append(what))  # type: ignore[misc]

    clock.run(1.0)

    assert happened == ["arrival", "first timer", "second timer"]
    assert clock.now == 1.0


def test_what_was_due_in_the_past_happens_now_and_time_never_goes_back() -> None:
    clock, at = Clock(), list[float]()
    clock.run(5.0)
    clock.at(1.0, TIMER, lambda: at.append(clock.now))
    clock.run(0.0)
    assert at == [5.0]


def test_what_happens_may_ask_for_more_within_the_same_run() -> None:
    clock, at = Clock(), list[float]()

    def again() -> None:
        at.append(clock.now)
        clock.at(clock.now + 1.0, TIMER, again)

    clock.at(1.0, TIMER, again)
    clock.run(3.5)
    assert at == [1.0, 2.0, 3.0]
    assert clock.now == 3.5


def test_waiting_for_a_condition_says_how_long_that_took_or_that_it_never_held() -> None:
    clock = Clock()
    clock.run(10.0)
    assert clock.run_until(lambda: clock.now >= 12.0, within_s=5.0, every_s=0.5) == pytest.approx(2.0)
    assert clock.run_until(lambda: False, within_s=5.0, every_s=0.5) is None
