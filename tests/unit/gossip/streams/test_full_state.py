"""Full exchanges, and what applications have to say in them."""

from collections.abc import Sequence

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.errors import WireError
from gossip.core.events import StateReceived
from gossip.core.membership.member import PROTOCOL, Member, State
from gossip.core.messages import Alive, Record
from tests.unit.gossip.conversing import (
    KEYRINGS,
    NOW,
    acquainted,
    address,
    converse,
    deliver,
    dial,
    node,
    of_kind,
    states,
)


class Application(Delegate):
    """Has a state, and a mind about others."""

    def __init__(self, state: bytes = b"", *, welcomes: bool = True) -> None:
        self._state = state
        self._welcomes = welcomes

    def state(self, *, joining: bool) -> bytes:
        return self._state + (b" joining" if joining else b"")

    def merge(self, members: Sequence[Member]) -> bool:
        return self._welcomes


@KEYRINGS
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 30])
def test_full_exchange_tells_both_all_about_everybody(keys: Sequence[bytes], piece_bytes: int) -> None:
    one, other = (node(number, keys, Application(b"state of n%d" % number)) for number in range(2))
    others = [node(number, keys) for number in (2, 3)]
    acquainted(one, *others)
    one.advertise([b"key of n0 at it"], NOW)
    one.tick(NOW)
    converse(dial(other, one), one.answer(address(1)), piece_bytes)
    assert states(other) == {"n0": State.ALIVE}, "the others are hearsay"
    deliver(one, other, *others)
    assert states(other) == dict.fromkeys(("n0", "n2", "n3"), State.ALIVE)
    assert set(states(one)) == {"n1", "n2", "n3"}
    assert [member.name for member in other.view.holders(b"key of n0 at it")] == ["n0"]
    assert of_kind(one, StateReceived) == [StateReceived("n1", b"state of n1 joining")]
    assert of_kind(other, StateReceived) == [StateReceived("n0", b"state of n0")]
    assert one.view.fingerprint == other.view.fingerprint


def test_who_hears_in_it_that_it_is_dead_refutes_in_the_same_conversation() -> None:
    one, other = node(0), node(1)
    one.membership.believe(Alive("n1", 1, 4, address(1), b"", PROTOCOL), NOW)
    one.full_state.merge([Record("n1", 1, 4, State.SUSPECT, address(1), b"", PROTOCOL)], NOW, stranger=False)
    converse(dial(other, one), one.answer(address(1)))
    assert other.view.me.incarnation == 5
    assert one.view.member("n1").state is State.ALIVE  # type: ignore[union-attr]


@pytest.mark.parametrize("refusing", [0, 1])
def test_application_of_either_side_refuses_strangers(refusing: int) -> None:
    one, other = (node(number, (), Application(welcomes=number != refusing)) for number in range(2))
    with pytest.raises(WireError) as refused:
        converse(dial(other, one), one.answer(address(1)))
    assert refused.value.reason == "veto"
    assert states((one, other)[refusing]) == {}
