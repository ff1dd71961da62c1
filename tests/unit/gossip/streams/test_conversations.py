"""Which conversations a node opens."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import Rejection, WireError
from gossip.core.events import Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from gossip.core.streams.exchange import Exchange

NOW = 100.0


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


def of_kind(one: Node, kind: type) -> list[Any]:
    return [event for event in one.events() if isinstance(event, kind)]


def test_same_place_is_not_dialled_twice_at_once_and_again_later() -> None:
    one = node(0)
    one.join([address(1)], NOW)
    (first,) = one.dials()
    one.join([address(1)], NOW)
    assert one.dials() == []
    one.hang_up(first, NOW)
    one.join([address(1)], NOW)
    assert len(one.dials()) == 1


def test_streams_that_a_node_opens_at_once_are_bounded() -> None:
    one = node(0, streams_max=3)
    one.join([address(number) for number in range(1, 9)], NOW)
    assert len(one.dials()) == 3


@contextmanager
def refused(reason: str) -> Iterator[Any]:
    with pytest.raises(WireError) as ended:
        yield ended
    assert ended.value.reason == reason


def test_error_of_a_conversation_is_reported_and_oneself_is_recognised() -> None:
    one = node(0)
    exchange = dial(one, node(1))
    with refused("self") as ended:
        converse(exchange, one.answer(address(0)))
    one.hang_up(exchange, NOW, ended.value)
    assert of_kind(one, Rejected) == [Rejected(Rejection.SELF, address(1))]
