"""Two nodes that talk over a stream: how they are made, and what carries their frames across."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import alive_message
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from gossip.core.streams.exchange import Exchange

NOW = 100.0
KEY, NEW_KEY = bytes(range(32)), bytes(32)
KEYRINGS = pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "sealed"])


def address(number: int) -> Address:
    """Where the node of that number listens."""
    return Address(f"10.0.0.{number + 1}", 7946)


def node(
    number: int, keys: Sequence[bytes] = (), application: Delegate | None = None, span: Span = PROTOCOL, **settings: Any
) -> Node:
    """A node that has heard of no one. `number` is in its name and its address, and seeds its random numbers."""
    config = GossipConfig(protocol=span, **settings)
    me = Member(f"n{number}", address(number), 1, 0, State.ALIVE, b"", changed_at=NOW, protocol=span)
    seal = Seal("", Keyring(keys), span, random.Random(number).randbytes, filters=config.filters)
    return Node(config, me, seal, random.Random(number), NOW, application)


def acquainted(*nodes: Node) -> None:
    """Let nodes know each other."""
    for one in nodes:
        for other in nodes:
            if other is not one:
                one.membership.believe(alive_message(other.view.me), NOW)
    for one in nodes:
        one.events()


def deliver(*nodes: Node) -> None:
    """Carry datagrams between nodes until none is left."""
    at = {one.view.me.address: one for one in nodes}
    while sent := [(one, datagram) for one in nodes for datagram in one.datagrams()]:
        for one, datagram in sent:
            if datagram.destination in at:
                at[datagram.destination].receive(datagram.payload, one.view.me.address, NOW)


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


def states(one: Node) -> dict[str, State]:
    """What a node believes of the others, by their names."""
    return {member.name: member.state for member in one.view.members()}


def of_kind(one: Node, kind: type) -> list[Any]:
    """The events of a kind among all since the last call."""
    return [event for event in one.events() if isinstance(event, kind)]
