"""Whom to blame for wrong bytes, from who contradicts whom."""

import pytest

from mirror.fetch.blame import Pair, answerable, suspects
from mirror.fetch.plan import EARLIER, Segment
from mirror.sources import UPSTREAM


@pytest.mark.parametrize(
    ("contradictions", "agreements", "expected"),
    [
        ([], [("a", "b")], set()),
        ([("a", UPSTREAM)], [], {"a"}),
        ([("a", "b")], [], {"a", "b"}),
        ([("a", "b")], [("a", "c")], {"b"}),
        ([("a", "b"), ("c", "b")], [], {"b"}),
        ([("a", "b"), ("b", UPSTREAM)], [], {"b"}),
        ([("a", "b"), ("c", "b"), ("d", "e"), ("d", "a")], [("a", "c"), ("a", "e")], {"b", "d"}),
        ([("a", "b"), ("a", "b"), ("c", "b")], [("b", "d")], {"b"}),
    ],
)
def test_suspects_are_those_whom_most_contradict(
    contradictions: list[Pair], agreements: list[Pair], expected: set[str]
) -> None:
    assert suspects(contradictions, agreements) == expected


def segment(source: str, origin: str) -> Segment:
    return Segment(0, 10, source, origin)


def test_who_sent_its_own_word_answers_for_it() -> None:
    own = segment("a", "a")
    assert answerable(own, [own]) == "a"
    left = segment(EARLIER, EARLIER)
    assert answerable(left, [left]) == EARLIER


def test_one_members_word_against_another_is_no_proof() -> None:
    passed_on = segment("a", "b")
    assert answerable(passed_on, [passed_on]) == "a"


def test_an_origin_answers_if_it_sent_wrong_bytes_itself_or_two_members_name_it() -> None:
    passed_on = segment("a", "b")
    assert answerable(passed_on, [passed_on, segment("b", "b")]) == "b"
    assert answerable(passed_on, [passed_on, segment("c", "b")]) == "b"
