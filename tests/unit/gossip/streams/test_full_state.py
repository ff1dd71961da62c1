"""Full exchanges, and what applications have to say in them."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import WireError
from gossip.core.events import StateReceived
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import record_message
from gossip.core.messages import (
    Record,
)
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from gossip.core.streams.exchange import Exchange

NOW = 100.0


KEY, NEW_KEY = bytes(range(32)), bytes(32)


KEYRINGS = pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "sealed"])


class Application(Delegate):
    """Has a state, and a mind about others."""

    def __init__(self, state: bytes = b"", *, welcomes: bool = True) -> None:
        self._state = state
        self._welcomes = welcomes

    def state(self, *, joining: bool) -> bytes:
        return self._state + (b" joining" if joining else b"")

    def merge(self, members: Sequence[Member]) -> bool:
        return self._welcomes


def address(number: int) -> Address:
    return Address(f"10.0.0.{number + 1}", 7946)


def node(
    number: int, keys: Sequence[bytes] = (), application: Delegate | None = None, span: Span = PROTOCOL, **settings: Any
) -> Node:
    config = GossipConfig(protocol=span, **settings)
    me = Member(f"n{number}", address(number), 1, 0, State.ALIVE, b"", changed_at=NOW, protocol=span)
    seal = Seal("", Keyring(keys), span, random.Random(number).randbytes)
    return Node(config, me, seal, random.Random(number), NOW, application)


def dial(one: Node, other: Node) -> Exchange:
    """The stream that a node opens when it is told to join."""
    one.join([other.view.me.address], NOW)
    (exchange,) = one.dials()
    return exchange


def converse(dialled: Exchange, answering: Exchange, piece_bytes: int = 1 << 30) -> int:
    """Carry what the halves say, in pieces of that size, until both are done. Returns the bytes that went over."""
    carried = 0
    for _ in range(6):
        for here, there in ((answering, dialled), (dialled, answering)):
            if here.my_turn:
                for frame in here.frames():
                    carried += len(frame)
                    for start in range(0, len(frame), piece_bytes):
                        there.feed(frame[start : start + piece_bytes], NOW)
    assert dialled.finished
    assert answering.finished
    return carried


def acquainted(*nodes: Node) -> None:
    """Let nodes know each other."""
    records = {one.view.name: record_message(one.view.me) for one in nodes}
    for one in nodes:
        others = [record for name, record in records.items() if name != one.view.name]
        one.full_state.merge(others, NOW, stranger=False)
        one.events()


def states(one: Node) -> dict[str, State]:
    return {member.name: member.state for member in one.view.members()}


def of_kind(one: Node, kind: type) -> list[Any]:
    return [event for event in one.events() if isinstance(event, kind)]


@KEYRINGS
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 30])
def test_full_exchange_tells_both_all_about_everybody(keys: Sequence[bytes], piece_bytes: int) -> None:
    one, other = (node(number, keys, Application(b"state of n%d" % number)) for number in range(2))
    acquainted(one, *[node(number) for number in (2, 3)])
    one.advertise([b"key of n0 at it"], NOW)
    one.tick(NOW)
    converse(dial(other, one), one.answer(address(1)), piece_bytes)
    assert states(other) == dict.fromkeys(("n0", "n2", "n3"), State.ALIVE)
    assert set(states(one)) == {"n1", "n2", "n3"}
    assert [member.name for member in other.view.holders(b"key of n0 at it")] == ["n0"]
    assert of_kind(one, StateReceived) == [StateReceived("n1", b"state of n1 joining")]
    assert of_kind(other, StateReceived) == [StateReceived("n0", b"state of n0")]
    assert one.view.fingerprint == other.view.fingerprint


def test_who_hears_in_it_that_it_is_dead_refutes_in_the_same_conversation() -> None:
    one, other = node(0), node(1)
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


@contextmanager
def refused(reason: str) -> Iterator[Any]:
    with pytest.raises(WireError) as ended:
        yield ended
    assert ended.value.reason == reason
