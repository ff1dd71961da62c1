"""Messages of applications: in datagrams, over streams, and pings."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, StateError
from gossip.core.events import Answered, MessageReceived
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import record_message
from gossip.core.messages import Ack, Broadcast, UserMessage
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from gossip.core.streams.exchange import Exchange

Peer = Any


@pytest.mark.parametrize("datagram_max_bytes", [1400, 1024])
def test_too_long_messages_are_refused_with_what_would_fit(peer: Callable[..., Peer], datagram_max_bytes: int) -> None:
    node = peer(datagram_max_bytes=datagram_max_bytes)
    node.hear("n1", node.alive("n1"))
    with pytest.raises(ConfigError, match=r"at most \d+ bytes") as refused:
        node.node.messaging.broadcast(bytes(513), node.now)
    longest = next(int(word) for word in str(refused.value).split() if word.isdigit())
    assert 400 < longest <= 512
    node.node.messaging.broadcast(random.Random(1).randbytes(longest), node.now)
    node.pass_time(node.now + 1)
    assert any(isinstance(message, Broadcast) for _, message in node.said())
    with pytest.raises(ConfigError, match="send it reliably"):
        node.node.messaging.send("n1", bytes(datagram_max_bytes))
    with pytest.raises(ConfigError, match="1048576"):
        node.node.messaging.send_reliably("n1", bytes(2**20 + 1))


def test_longest_message_fits_one_datagram(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.pass_time(node.now + 5)
    node.said()
    noise = random.Random(1).randbytes(1400)
    with pytest.raises(ConfigError) as refused:
        node.node.messaging.send("n1", noise)
    longest = next(int(word) for word in str(refused.value).split() if word.isdigit() and int(word) < 1400)
    node.node.messaging.send("n1", noise[:longest])
    (sent,) = node.node.datagrams()
    assert 1380 <= len(sent.payload) <= 1400


def test_message_to_nobody_is_refused(peer: Callable[..., Peer]) -> None:
    node = peer()
    for send in (node.node.messaging.send, node.node.messaging.send_reliably):
        with pytest.raises(StateError, match="no member 'n1'"):
            send("n1", b"hello")


def test_message_is_received(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", UserMessage(b"hello"))
    assert node.events(MessageReceived) == [MessageReceived("n1", b"hello")]


def test_ping_measures_the_round_trip_of_the_one_that_was_asked(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"), node.alive("n2"))
    number = node.node.messaging.ping("n1", node.now)
    node.now += 0.25
    node.hear("n2", Ack(number))
    assert node.events(Answered) == []
    node.hear("n1", Ack(number, b"payload"))
    (answer,) = node.events(Answered)
    assert (answer.member.name, answer.rtt_s, answer.payload) == ("n1", 0.25, b"payload")
    assert node.node.view.rtt_s("n1") == 0.25
    node.hear("n1", Ack(number))
    assert node.events(Answered) == []


NOW = 100.0


KEY, NEW_KEY = bytes(range(32)), bytes(32)


KEYRINGS = pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "sealed"])


def address(number: int) -> Address:
    return Address(f"10.0.0.{number + 1}", 7946)


def node(
    number: int, keys: Sequence[bytes] = (), application: Delegate | None = None, span: Span = PROTOCOL, **settings: Any
) -> Node:
    config = GossipConfig(protocol=span, **settings)
    me = Member(f"n{number}", address(number), 1, 0, State.ALIVE, b"", changed_at=NOW, protocol=span)
    seal = Seal("", Keyring(keys), span, random.Random(number).randbytes)
    return Node(config, me, seal, random.Random(number), NOW, application)


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


def of_kind(one: Node, kind: type) -> list[Any]:
    return [event for event in one.events() if isinstance(event, kind)]


@KEYRINGS
@pytest.mark.parametrize("size", [0, 5, 1024 * 1024])
def test_message_is_delivered_and_that_is_confirmed(keys: Sequence[bytes], size: int) -> None:
    one, other = node(0, keys), node(1, keys)
    acquainted(one, other)
    message = random.Random(1).randbytes(size)
    tell = one.messaging.send_reliably("n1", message)
    converse(tell, other.answer(address(0)))
    assert tell.answers == [Ack(0)]
    assert of_kind(other, MessageReceived) == [MessageReceived("n0", message)]
    with pytest.raises(ConfigError, match="1048576"):
        one.messaging.send_reliably("n1", bytes(1024 * 1024 + 1))
    with pytest.raises(StateError):
        one.messaging.send_reliably("n7", b"")
