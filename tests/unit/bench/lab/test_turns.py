"""Watching for the turn of an answer, and what times amount to."""

import itertools
import time

import pytest

from bench.lab.asking import Answer
from bench.lab.finding import Look
from bench.lab.turns import last_named, percentile, spread, turns


def looks(*found: bool) -> Look:
    return Look(found[0], offered=True, answer=Answer(200, b"", 1.0, 2.0))


def test_each_node_is_asked_until_its_answer_turns() -> None:
    late = itertools.chain([False, False], itertools.repeat(True))
    asked = {"soon": lambda: looks(True), "late": lambda: looks(next(late)), "never": lambda: looks(False)}
    began_at, seen = turns(asked, lambda look: look.found, 0.1)
    assert set(seen) == {"soon", "late"}
    assert all(look.found for look in seen.values())
    assert began_at > 0


def test_nobody_asks_before_it_begins_and_a_failure_to_begin_ends_all() -> None:
    asked: list[str] = []

    def begin() -> float:
        assert not asked
        raise ZeroDivisionError

    def look() -> Look:
        asked.append("once")
        return looks(False)

    with pytest.raises(ZeroDivisionError):
        turns({"a": look}, lambda look: look.found, 60, begin)
    assert not asked


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (99, 4.0), (100, 4.0), (1, 1.0)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 2.0, 3.0], percent) == value


def test_times_become_figures_in_milliseconds() -> None:
    assert spread("hit", [0.002, 0.001, 0.003]) == {"hit_p50_ms": 2.0, "hit_p99_ms": 3.0, "hit_max_ms": 3.0}
    assert spread("hit", []) == {}


def test_a_holder_is_named_until_its_last_mention_or_question_without_an_answer() -> None:
    def told(offered: bool, at: float, status: int = 200) -> Look:
        return Look(found=False, offered=offered, answer=Answer(status, b"", at, at))

    began_at = time.monotonic()
    soon = itertools.chain([told(True, began_at + 0.01)], itertools.repeat(told(False, 0)))
    mute = itertools.chain([told(False, began_at + 0.02, status=0)], itertools.repeat(told(False, 0)))
    asked = {"soon": lambda: next(soon), "mute": lambda: next(mute)}
    assert last_named(asked, 0.1, 60, lambda: began_at) == (began_at, began_at + 0.02)


def test_who_goes_on_naming_a_holder_has_no_last_mention() -> None:
    def told() -> Look:
        at = time.monotonic()
        return Look(found=False, offered=True, answer=Answer(200, b"", at, at))

    assert last_named({"a": told}, 0.05, 0.1, time.monotonic)[1] is None
