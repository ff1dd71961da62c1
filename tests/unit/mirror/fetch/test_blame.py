"""Whom to blame for wrong bytes, from who contradicts whom."""

import pytest

from mirror.fetch.blame import Pair, Verdict, answerable, suspects, verdict
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


def test_a_holder_is_proven_wrong_by_its_own_copy() -> None:
    wrong = Segment(20, 30, "a", "a", is_own_word=True)
    right = Segment(0, 10, "a", "a", is_own_word=True)
    assert verdict([right, wrong], [wrong]) == Verdict({"a": (20, 30)}, {}, {})


def test_a_home_is_doubted_and_never_proven_wrong() -> None:
    wrong = segment("a", "a")
    assert verdict([wrong], [wrong]) == Verdict({}, {"a": (0, 10)}, {})


def test_two_homes_cannot_frame_a_third_member() -> None:
    wrong = [segment("a", "c"), segment("b", "c")]
    found = verdict(wrong, wrong)
    assert (found.proven, found.doubted, found.named) == ({}, {}, {"c": (0, 10)})


@pytest.mark.parametrize("innocent", [UPSTREAM, EARLIER])
def test_neither_upstream_nor_an_earlier_fetch_is_a_member_to_leave_alone(innocent: str) -> None:
    wrong = segment(innocent, innocent)
    assert verdict([wrong], [wrong]) == Verdict({}, {}, {})
