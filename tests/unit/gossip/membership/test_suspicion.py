"""How long a suspect may defend itself."""

from collections.abc import Callable

import pytest

from gossip.core.config import GossipConfig
from gossip.core.membership.member import State
from gossip.core.membership.suspicion import Suspicion, suspect
from gossip.core.messages import Suspect
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.probing import answer, introduce, state


@pytest.mark.parametrize(("confirmers", "left_s"), [(0, 30.0), (1, 16.0), (2, 7.81), (3, 2.0)])
def test_each_confirmation_shortens_the_time(confirmers: int, left_s: float) -> None:
    """The table of memberlist's suspicion tests: 2 s to 30 s with 3 wanted."""
    suspicion = Suspicion(0.0, 2.0, 30.0, 3, "accuser")
    for i in range(confirmers):
        assert suspicion.confirm(f"c{i}")
    assert suspicion.deadline == pytest.approx(left_s, abs=0.01)


def test_accuser_duplicates_and_surplus_do_not_confirm() -> None:
    suspicion = Suspicion(0.0, 2.0, 30.0, 1, "accuser")
    assert not suspicion.confirm("accuser")
    assert suspicion.confirm("b")
    assert not suspicion.confirm("b")
    assert not suspicion.confirm("c")


@pytest.mark.parametrize(
    ("members", "minimum_s", "wanted"),
    [(2, 4.0, 0), (3, 4.0, 0), (4, 4.0, 2), (10, 4.0, 2), (100, 8.0, 2), (1000, 12.0, 2)],
)
def test_time_grows_with_the_logarithm_of_live_members(members: int, minimum_s: float, wanted: int) -> None:
    suspicion = suspect(GossipConfig(), members, "a", 0.0)
    assert suspicion.minimum_s == pytest.approx(minimum_s)
    assert suspicion.maximum_s == pytest.approx(6 * minimum_s)
    assert suspicion.wanted == wanted


def test_without_possible_confirmers_the_time_is_the_minimum() -> None:
    assert suspect(GossipConfig(), 3, "a", 5.0).deadline == pytest.approx(9.0)


def test_confirmations_do_not_bring_the_deadline_before_the_moment_that_a_pause_allows() -> None:
    suspicion = Suspicion(0.0, 2.0, 30.0, 1, "accuser")
    suspicion.not_before = 12.0
    assert suspicion.confirm("another")
    assert suspicion.deadline == 12.0


@pytest.mark.parametrize(
    ("members", "confirmations", "lives_for_s"),
    [
        (2, 0, 0.5),
        (3, 0, 0.5),
        (4, 0, 0.5),
        (5, 0, 1.0),
        (6, 0, 1.0),
        (6, 1, 0.75),
        (6, 2, 0.604),
        (6, 3, 0.5),
        (6, 4, 0.5),
    ],
)
def test_suspects_live_as_long_as_in_memberlists_dogpile_table(
    peer: Callable[..., Peer], members: int, confirmations: int, lives_for_s: float
) -> None:
    node = peer(suspicion_mult=5, suspicion_max_mult=2, probe_interval_s=0.1, probe_timeout_s=0.05)
    introduce(node, members - 1)
    for accuser in range(20, 21 + confirmations):
        node.hear("n1", Suspect("n1", 1, 0, f"n{accuser}"))
    answer(node, lives_for_s - 0.002)
    assert state(node, "n1") is State.SUSPECT
    answer(node, 0.004)
    assert state(node, "n1") is State.DEAD
