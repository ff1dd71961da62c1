"""What sources state about a blob's size: the first one counts, and is blamed only on proof."""

import pytest

from mirror.fetch.intake import SizeAgreement
from mirror.sources import UPSTREAM


def test_nobody_is_wrong_before_anybody_states_another_size() -> None:
    assert SizeAgreement(7, "a").wrong is None


@pytest.mark.parametrize(
    ("stated_by", "disputed_by", "wrong"),
    [
        ("a", ["b"], None),
        ("a", ["b", "b"], None),
        ("a", ["b", "c"], "a"),
        ("a", [UPSTREAM], "a"),
        (UPSTREAM, ["b", "c"], None),
    ],
)
def test_a_member_is_wrong_if_upstream_or_two_members_contradict_it(
    stated_by: str, disputed_by: list[str], wrong: str | None
) -> None:
    agreement = SizeAgreement(7, stated_by)
    for source in disputed_by:
        agreement = agreement.disputed(source)
    assert agreement == SizeAgreement(7, stated_by, frozenset(disputed_by))
    assert agreement.wrong == wrong
