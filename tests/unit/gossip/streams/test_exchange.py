"""Turns of a conversation, and what ends it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Span, State
from gossip.core.messages import Ack, Alive, Buckets, Done, Entry, Message, Nack, NameClaim, Offer, Ping, Record
from gossip.core.streams.exchange import Exchange
from gossip.core.streams.purpose import Purpose
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.conversing import KEYRINGS, NOW, address, converse, dial, node, states
from tests.unit.gossip.streams.hand import Hand, answering, channel, frame, refused


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
        assert states(other) == {"n0": State.ALIVE}
    else:
        with refused("version"):
            converse(exchange, half)


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


def test_frame_has_48_kib_or_one_longer_message() -> None:
    class Stateful(Delegate):
        def state(self, *, joining: bool) -> bytes:
            return random.Random(1).randbytes(1 << 20)

    one, other = node(0, application=Stateful()), node(1, application=Stateful())
    one.advertise([random.Random(number).randbytes(8) for number in range(30_000)], NOW)
    while (at := one.dissemination.published.due_at()) is not None:
        one.dissemination.published.publish(max(NOW, at))
    one.dissemination.note_own()
    dialled, answer = dial(other, one), one.answer(address(1))
    sizes = []
    for here, there in ((answer, dialled), (dialled, answer), (answer, dialled)):
        for said in here.frames():
            sizes.append(len(said))
            there.feed(said, NOW)
    assert len([size for size in sizes if size > 1 << 20]) == 2
    assert max(size for size in sizes if size < 1 << 20) < 66 * 1024
