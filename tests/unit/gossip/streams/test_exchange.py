"""Turns of a conversation, and what ends it."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.messages import (
    Ack,
    Alive,
    Buckets,
    Done,
    Entry,
    Message,
    Nack,
    NameClaim,
    Offer,
    Ping,
    Record,
)
from gossip.core.node import Node
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.exchange import Exchange
from gossip.core.streams.purpose import Purpose

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
    return {member.name: member.state for member in one.view.members()}


@KEYRINGS
@pytest.mark.parametrize(("target", "answered"), [("n1", True), ("n9", False)])
def test_probe_is_answered_by_the_one_it_is_for(keys: Sequence[bytes], target: str, answered: bool) -> None:
    one, other, heard = node(0, keys), node(1, keys), list[Message]()
    local = replace(one.conversations.local, hear=lambda message, *_: heard.append(message))
    probe = Exchange(local, channel(keys), address(1), purpose=Purpose.PROBE, opening=(Ping(7, target),))
    half = other.answer(address(0))
    if answered:
        converse(probe, half)
        assert heard == [Ack(7)]
    else:
        for here, there in ((half, probe), (probe, half), (half, probe)):
            for frame in here.frames():
                there.feed(frame, NOW)
        assert heard == []


def channel(keys: Sequence[bytes] = (), *, dialled: bool = True) -> Channel:
    return Seal("", Keyring(keys), PROTOCOL, random.Random(9).randbytes).channel(dialled=dialled)


class Hand:
    """The end of a stream that a node answers, in the hand of the test, past the greetings."""

    def __init__(self, answering: Node, name: str = "x") -> None:
        self.half = answering.answer(Address("192.0.2.1", 9))
        self._name = name
        self._channel = channel()
        (greeting,) = self.half.frames()
        self._channel.greet(greeting)
        self.half.feed(self._channel.greeting, NOW)

    def frame(self, *messages: Message) -> bytes:
        packet = encode_packet(self._name, 1, bytes(8), map(encode_message, messages))
        payload = self._channel.wrap(packet)
        return len(payload).to_bytes(4, "big") + payload

    def say(self, *messages: Message) -> None:
        self.half.feed(self.frame(*messages), NOW)

    def rename(self, name: str) -> None:
        self._name = name


@contextmanager
def refused(reason: str) -> Iterator[Any]:
    with pytest.raises(WireError) as ended:
        yield ended
    assert ended.value.reason == reason


@pytest.mark.parametrize("messages", [[Ping(1, "n0")], [Done()], []], ids=str)
def test_what_is_said_out_of_turn_ends_the_conversation(messages: list[Message]) -> None:
    hand = Hand(node(0))
    hand.say(Ping(1, "n0"), Done())
    assert hand.half.my_turn
    with refused("order"):
        hand.say(*messages)


def test_what_is_said_after_the_end_ends_the_conversation() -> None:
    hand = Hand(node(0))
    hand.say(Ping(1, "n0"), Done())
    list(hand.half.frames())
    assert hand.half.finished
    with refused("order"):
        hand.say(Done())


def test_conversation_is_with_one_and_not_with_oneself() -> None:
    hand = Hand(node(0))
    hand.say(Record("x", 1, 0, State.ALIVE, address(5), b"", PROTOCOL))
    hand.rename("y")
    with refused("order"):
        hand.say(Done())


def test_namesake_hears_a_word_and_nothing_of_it_is_taken() -> None:
    answering = node(0)
    hand = Hand(answering, "n0")
    hand.say(Alive("x", 1, 0, address(5), b"", PROTOCOL))
    assert hand.half.my_turn
    assert list(hand.half.frames())
    assert hand.half.finished
    assert answering.view.members() == []


def test_messages_of_datagrams_do_not_belong_into_streams() -> None:
    for message in (Offer(Entry("x", 1, 0, 0, 0)), Buckets(bytes(256)), Nack(1), NameClaim(1, 1)):
        with refused("order"):
            Hand(node(0)).say(message)


@pytest.mark.parametrize(("span", "spoken"), [(Span(1, 3), True), (Span(3, 4), False)])
def test_ends_without_a_version_in_common_do_not_talk(span: Span, spoken: bool) -> None:
    one, other = node(0, span=Span(1, 2)), node(1, span=span)
    exchange, half = dial(other, one), one.answer(address(1))
    if spoken:
        converse(exchange, half)
        assert states(one) == {"n1": State.ALIVE}
    else:
        with refused("version"):
            converse(exchange, half)


Peer = Any


ELSEWHERE = Address("192.0.2.1", 9)


def speaker() -> Seal:
    return Seal("", Keyring(), PROTOCOL, random.Random(5).randbytes)


def packet(sender: str, *messages: Message, epoch: int = 1) -> bytes:
    return speaker().wrap(encode_packet(sender, epoch, bytes(8), map(encode_message, messages)))


def answering(peer: Peer) -> Any:
    """The half that a node answers with, past its greeting."""
    half = peer.node.answer(ELSEWHERE)
    list(half.frames())
    half.feed(b"\x11" + bytes(16), peer.now)
    return half


def frame(*messages: Message) -> bytes:
    payload = packet("n1", *messages)
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    "messages", [[Done()] * 4, [Done(), Ping(1, "n0")], [Ping(1, "n0"), Ping(2, "n0"), Done()]], ids=str
)
def test_nothing_is_said_after_the_end_of_a_turn_nor_asked_twice(
    peer: Callable[..., Peer], messages: list[Message]
) -> None:
    node = peer()
    half = answering(node)
    with pytest.raises(WireError) as refused:
        half.feed(frame(*messages), node.now)
    assert refused.value.reason == "order"
