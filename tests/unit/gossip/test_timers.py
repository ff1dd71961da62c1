"""Deadlines: in order, moved, cancelled, and never stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.timers import Deadlines, Timer, Timers


def test_fires_in_order_of_time_then_of_setting() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for name, at in (("c", 2.0), ("a", 1.0), ("b", 1.0)):
        deadlines.set(name, at)
    assert [deadlines.pop_due(5.0) for _ in range(4)] == ["a", "b", "c", None]


def test_not_before_its_time() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 2.0)
    assert deadlines.pop_due(1.999) is None
    assert deadlines.next() == 2.0


def test_moved_and_cancelled_deadlines_do_not_fire() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 3.0)
    deadlines.set("b", 1.0)
    deadlines.cancel("b")
    deadlines.cancel("unknown")
    assert deadlines.pop_due(2.0) is None
    assert deadlines.pop_due(3.0) == "a"


def test_bring_forward_never_postpones() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.bring_forward("a", 5.0)
    deadlines.bring_forward("a", 2.0)
    deadlines.bring_forward("a", 9.0)
    assert deadlines.next() == 2.0
    assert deadlines.pop_due(9.0) == "a"
    assert deadlines.next() is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.floats(0, 100)))))
def test_behaves_like_a_dictionary_of_times(steps: list[tuple[str, float | None]]) -> None:
    deadlines: Deadlines[str] = Deadlines()
    model: dict[str, float] = {}
    for name, at in steps:
        if at is None:
            deadlines.cancel(name)
            model.pop(name, None)
        else:
            deadlines.set(name, at)
            model[name] = at
        assert deadlines.next() == min(model.values(), default=None)
    fired = {}
    while (due_at := deadlines.next()) is not None:
        fired[deadlines.pop_due(due_at)] = due_at
    assert fired == model


def test_moving_one_deadline_for_ever_does_not_grow_memory() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for i in range(10_000):
        deadlines.set("a", float(i))
    assert len(deadlines) < 200


def test_each_part_is_called_at_its_own_deadlines_in_order() -> None:
    timers, called = Timers(), list[tuple[str, float]]()
    timers.register(Timer.PROBE, lambda now: called.append(("probe", now)))
    timers.register_per_member(Timer.FORGET, lambda name, now: called.append((name, now)))
    timers.set(Timer.FORGET, 2.0, "n1")
    timers.set(Timer.FORGET, 3.0, "n2")
    timers.set(Timer.PROBE, 1.0)
    timers.bring_forward(Timer.PROBE, 5.0)
    timers.cancel(Timer.FORGET, "n2")
    assert timers.next() == 1.0
    timers.run_due(0.5)
    assert called == []
    timers.run_due(9.0)
    assert called == [("probe", 9.0), ("n1", 9.0)]
    assert timers.next() is None


def test_deadline_that_a_handler_sets_in_the_past_is_run_too() -> None:
    timers, called = Timers(), list[float]()

    def again(now: float) -> None:
        called.append(now)
        if len(called) < 3:
            timers.set(Timer.SYNC, now)

    timers.register(Timer.SYNC, again)
    timers.set(Timer.SYNC, 1.0)
    timers.run_due(1.0)
    assert called == [1.0] * 3


def test_timer_has_one_owner() -> None:
    timers = Timers()
    timers.register(Timer.SYNC, lambda now: None)
    with pytest.raises(AssertionError, match="another part"):
        timers.register(Timer.SYNC, lambda now: None)
