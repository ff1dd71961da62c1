"""Conversations over streams, as their two halves, fed by hand."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, Rejection, StateError, WireError
from gossip.core.events import KeysChanged, MessageReceived, Rejected, StateReceived
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import record_message
from gossip.core.messages import (
    Ack,
    Alive,
    Buckets,
    Chunk,
    Done,
    Entry,
    KeyAction,
    KeyOrder,
    KeyReport,
    Message,
    Nack,
    NameClaim,
    Offer,
    Ping,
    Record,
)
from gossip.core.node import Node
from gossip.core.packets.codec import CHUNK_MAX_BYTES, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring, key_id
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.exchange import Exchange
from gossip.core.streams.frames import FRAME_MAX_BYTES
from gossip.core.streams.purpose import Purpose

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


# Full exchanges


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


# Filters


@KEYRINGS
def test_filter_of_several_chunks_is_fetched(keys: Sequence[bytes]) -> None:
    one, other = node(0, keys, filter_bits_per_key=64), node(1, keys)
    held = [random.Random(number).randbytes(8) for number in range(10_000)]
    acquainted(one, other)
    one.advertise(held, NOW)
    while one.view.unpublished:
        one.tick(NOW)
    assert len(one.view.published.filter.bits) > CHUNK_MAX_BYTES
    other.dissemination.hear_offer(Offer(one.view.published.entry("n0", 0)), address(0), NOW)
    other.tick(NOW + 0.4)
    (fetch,) = [exchange for exchange in other.dials() if exchange.purpose is Purpose.FETCH]
    carried = converse(fetch, one.answer(address(1)))
    copy = other.view.replica("n0")
    assert copy is not None
    assert (copy.version, copy.filter.bits) == (one.view.published.version, one.view.published.filter.bits)
    assert all(other.view.holders(key) for key in held[:100])
    assert carried < 2 * len(one.view.published.filter.bits)


# One question, one answer


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


def test_order_about_keys_is_carried_out_or_refused_with_a_reason() -> None:
    one, other = node(0, (KEY,)), node(1, (KEY,))
    acquainted(one, other)
    both = key_id(KEY) + key_id(NEW_KEY)
    for action, key, ids, refusal in (
        (KeyAction.USE, key_id(NEW_KEY), key_id(KEY), "not installed"),
        (KeyAction.INSTALL, NEW_KEY, both, ""),
        (KeyAction.REMOVE, key_id(KEY), both, "the one that seals"),
        (KeyAction.LIST, b"", both, ""),
    ):
        order = one.order_keys("n1", action, key)
        converse(order, other.answer(address(0)))
        (report,) = order.answers
        assert isinstance(report, KeyReport)
        assert report.ids == ids
        assert refusal in report.refusal
        assert bool(report.refusal) is bool(refusal)
    assert of_kind(other, KeysChanged) == [KeysChanged((key_id(KEY), key_id(NEW_KEY)))]


def test_nobody_speaks_of_keys_in_the_open() -> None:
    one, other = node(0), node(1)
    acquainted(one, other)
    with pytest.raises(ConfigError, match="sealed"):
        one.order_keys("n1", KeyAction.LIST)
    half = Hand(other)
    with pytest.raises(WireError) as refused:
        half.say(KeyOrder(KeyAction.INSTALL, NEW_KEY))
    assert refused.value.reason == "seal"


# What is against the rules


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


ENTRY = Entry("x", 1, 0, 1, 1000)


def introduced() -> Hand:
    """A hand that a node knows as a member, so that a filter of it can arrive."""
    answering = node(0)
    hand = Hand(answering)
    hand.say(Alive("x", 1, 0, address(5), b"", PROTOCOL))
    assert answering.view.member("x") is not None
    return hand


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([Chunk(ENTRY, 14, 100, b"x")], id="not from the start"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 14, 101, b"x")], id="a gap"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 14, 99, b"x")], id="twice"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(2049))], id="longer than the filter"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 15, 100, b"x")], id="another size"),
        pytest.param(
            [Chunk(ENTRY, 14, 0, bytes(100)), Chunk(Entry("x", 1, 0, 1, 1001), 14, 100, b"x")], id="another version"
        ),
    ],
)
def test_chunk_of_another_place_or_filter_ends_the_conversation(chunks: list[Chunk]) -> None:
    hand = introduced()
    for chunk in chunks[:-1]:
        hand.say(chunk)
    with refused("order"):
        hand.say(chunks[-1])


def test_half_a_filter_is_none_and_may_begin_anew() -> None:
    answering = node(0)
    hand, bits = Hand(answering), random.Random(1).randbytes(2048)
    hand.say(Alive("x", 1, 0, address(5), b"", PROTOCOL), Chunk(ENTRY, 14, 0, bytes(2000)))
    assert answering.view.replica("x").sequence == 0  # type: ignore[union-attr]
    hand.say(Chunk(ENTRY, 14, 0, bits[:1000]), Chunk(ENTRY, 14, 1000, bits[1000:]))
    assert bytes(answering.view.replica("x").filter.bits) == bits  # type: ignore[union-attr]


def test_frame_too_long_is_refused_by_its_head() -> None:
    hand = Hand(node(0))
    with refused("size"):
        hand.half.feed((FRAME_MAX_BYTES + 1).to_bytes(4, "big"), NOW)


def test_frame_is_taken_when_its_last_byte_is_there() -> None:
    answering = node(0)
    hand = Hand(answering)
    frame = hand.frame(Alive("x", 1, 0, address(5), b"", PROTOCOL))
    hand.half.feed(frame[:-1], NOW)
    assert answering.view.members() == []
    hand.half.feed(frame[-1:], NOW)
    assert len(answering.view.members()) == 1


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


def test_error_of_a_conversation_is_reported_and_oneself_is_recognised() -> None:
    one = node(0)
    exchange = dial(one, node(1))
    with refused("self") as ended:
        converse(exchange, one.answer(address(0)))
    one.hang_up(exchange, NOW, ended.value)
    assert of_kind(one, Rejected) == [Rejected(Rejection.SELF, address(1))]
