"""The little that messages know of themselves."""

import pytest

from gossip.core.messages import Entry, NameClaim, Ops


def test_additions_end_where_the_next_begin() -> None:
    assert Ops("n1", 1, 0, 14, 5, bytes(24)).end == 8


@pytest.mark.parametrize("newer", [Entry("x", 2, 0, 0, 0), Entry("x", 1, 0, 2, 0), Entry("x", 1, 0, 1, 6)])
def test_filters_are_ordered_by_run_then_generation_then_sequence(newer: Entry) -> None:
    assert newer.filter_version > Entry("x", 1, 9, 1, 5).filter_version


def test_of_two_claims_the_later_one_gives_way_and_chance_decides_between_equals() -> None:
    assert NameClaim(2, 0).order > NameClaim(1, 8).order
    assert NameClaim(1, 6).order > NameClaim(1, 4).order
    assert NameClaim(1, 5).order > NameClaim(2, 4).order, "a newcomer's clock does not count"
