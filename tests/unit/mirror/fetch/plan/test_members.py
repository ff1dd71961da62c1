"""What one fetch has seen of members, and whether it may ask them."""

import pytest

from mirror.errors import Reason
from mirror.fetch.plan.members import Members
from mirror.settings import PlanSettings
from mirror.sources.failures import CONSEQUENCES

SETTINGS = PlanSettings()


def made(*up: str, now: float = 100.0) -> Members:
    members = Members(up, SETTINGS)
    members.update(up, now)
    return members


def test_strangers_that_are_up_may_be_asked() -> None:
    members = made("a", "b")
    assert members.able(["b", "a", "c"], 0) == ["b", "a"]
    assert members.is_up("a")
    assert not members.is_up("c")
    assert not members.any_avoided


@pytest.mark.parametrize("reason", [Reason.UNABLE, Reason.STATUS, Reason.BUSY])
def test_who_failed_rests_for_as_long_as_follows_from_the_reason(reason: Reason) -> None:
    members = made("a")
    rest_s = CONSEQUENCES[reason].rest_s
    members.failed("a", reason, 100.0)
    assert members.able(["a"], 0) == []
    assert members.again_at(["a", "b"], 100.0) == pytest.approx(100.0 + rest_s)
    members.update(["a"], 100.0 + rest_s)
    assert members.able(["a"], 0) == ["a"]


def test_an_answer_about_another_repository_is_forgotten_and_a_failure_is_not() -> None:
    members = made("a", "b")
    members.failed("a", Reason.UNKNOWN, 100.0)
    members.failed("b", Reason.STATUS, 100.0)
    assert members.again_at(["a"], 100.0) is None, "it rests for ever"
    members.forget_answers()
    assert members.able(["a", "b"], 0) == ["a"]


def test_who_is_out_of_reach_is_asked_again_as_soon_as_it_is_back() -> None:
    members = made("a", "b")
    members.failed("a", Reason.STALLED, 100.0)
    members.failed("b", Reason.STATUS, 100.0)
    members.update([], 101.0)
    members.update(["a", "b"], 102.0)
    assert members.able(["a", "b"], 0) == ["a"]


def test_a_range_is_avoided_and_what_follows_it_is_not() -> None:
    members = made("a", "b")
    members.avoid("a", 100, 200)
    assert members.able(["a", "b"], 150) == ["b"]
    assert members.able(["a", "b"], 200) == ["a", "b"]
    assert members.avoided(150) == ("a",)
    assert members.avoided(200) == ()
    assert members.any_avoided


def test_being_busy_and_trickling_end_by_themselves() -> None:
    members = made("a")
    members.note_busy("a", 100.0)
    members.note_trickle("a", 100.0)
    assert members.is_busy("a")
    assert members.is_trickling("a")
    assert members.able(["a"], 0) == ["a"], "on behalf of others, or if there is nobody else"
    members.update(["a"], 100.0 + SETTINGS.busy_s)
    assert not members.is_busy("a")
    members.update(["a"], 100.0 + SETTINGS.trickle_ban_s)
    assert not members.is_trickling("a")


def test_after_a_halt_nobody_is_asked_though_it_comes_back() -> None:
    members = made("a", "b")
    members.failed("a", Reason.STALLED, 100.0)
    members.halt(["a", "b"])
    members.update([], 101.0)
    members.update(["a", "b"], 102.0)
    assert members.able(["a", "b"], 0) == []
    assert members.again_at(["a", "b"], 102.0) is None
