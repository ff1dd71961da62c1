"""Messages of applications: in datagrams, over streams, and pings."""

import random
from collections.abc import Callable, Sequence

import pytest

from gossip.core.errors import ConfigError, StateError
from gossip.core.events import Answered, MessageReceived
from gossip.core.messages import Ack, Broadcast, UserMessage
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.conversing import KEYRINGS, acquainted, address, converse, node, of_kind


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


def test_a_filled_message_takes_the_largest_datagram_and_begins_with_what_was_sent(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.pass_time(node.now + 5)
    node.said()
    node.node.messaging.send("n1", b"hello", fill=True)
    (sent,) = node.node.datagrams()
    assert 1380 <= len(sent.payload) <= 1400, "zeros would be compressed"
    node.node.messaging.send("n1", b"hello", fill=True)
    (message,) = [it for _, it in node.said() if isinstance(it, UserMessage)]
    assert message.payload.startswith(b"hello")
