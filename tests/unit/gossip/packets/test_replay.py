"""Packets that were seen before, and runs that have yet to prove themselves."""

from hypothesis import given
from hypothesis import strategies as st

from gossip.core.membership.member import Address
from gossip.core.messages import Packet
from gossip.core.packets.replay import Held, ReplayGuard, Window

HERE, THERE, ELSEWHERE = (Address(f"10.0.0.{i}", 7946) for i in (1, 2, 3))


NOW = 100.0


@given(st.lists(st.integers(0, 3000), max_size=200))
def test_window_admits_each_number_once_and_none_that_is_too_old(numbers: list[int]) -> None:
    window, seen, top = Window(), set(), -1
    for number in numbers:
        expected = number not in seen and number > top - 1024
        assert window.admit(number) is expected
        seen.add(number)
        top = max(top, number)


def held(counter: int) -> Held:
    return Held(Packet("n1", 1, bytes(8), ()), THERE, counter)


def guard(runs_max: int = 10) -> ReplayGuard:
    return ReplayGuard(lambda: 7, lambda: runs_max)


def test_believed_run_gets_back_what_waited_and_is_recent() -> None:
    watch = guard()
    for counter in (0, 100, 90):
        assert watch.admit(b"run", counter)
        watch.hold(b"run", held(counter), NOW)
    assert [waiting.counter for waiting in watch.believe(b"run")] == [100, 90]
    assert watch.believes(b"run")
    assert not watch.admit(b"run", 100)


def test_stranger_is_asked_seldom_and_holds_little() -> None:
    watch = guard()
    asked = 0
    for counter in range(40):
        if watch.hold(b"run", held(counter), NOW + counter / 100):
            watch.ask(b"run", ELSEWHERE, NOW + counter / 100)
            asked += 1
    assert asked == 2
    watch.admit(b"run", 39)
    assert len(watch.believe(b"run")) == 8


def test_stranger_whom_no_question_could_be_sent_is_asked_next_time() -> None:
    """An empty packet is too short for a question in answer; the news right after it must not wait for that."""
    watch = guard()
    assert watch.hold(b"run", held(0), NOW)
    assert watch.hold(b"run", held(1), NOW + 0.001)
    watch.ask(b"run", ELSEWHERE, NOW + 0.001)
    assert not watch.hold(b"run", held(2), NOW + 0.002)


def test_strangers_and_runs_are_bounded() -> None:
    watch = guard(runs_max=10)
    for number in range(200):
        run = number.to_bytes(12, "big")
        watch.hold(run, held(0), NOW)
        watch.believe(run)
    assert len(watch) == 10
    for number in range(200):
        watch.hold(number.to_bytes(12, "big"), held(0), NOW)
    assert watch.strangers == 64


def test_number_far_behind_costs_nothing() -> None:
    """Half a gigabyte for a broadcast, and an exception for a sealed packet, before they were found to be too old."""
    window = Window()
    assert window.admit(2**64 - 1)
    assert not window.admit(0)
