"""Who lied, from who contradicts whom."""

import pytest

from mirror.fetch.accusation import Pair, accused
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
def test_the_accused_are_those_whom_most_contradict(
    contradictions: list[Pair], agreements: list[Pair], expected: set[str]
) -> None:
    assert accused(contradictions, agreements) == expected
