"""Datagrams: no longer than allowed, and to strangers no longer than what came from there."""

import random
from collections.abc import Callable

import pytest

from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError
from gossip.core.membership.member import PROTOCOL, Address, Span
from gossip.core.messages import (
    Ack,
    Alive,
    Broadcast,
    Packet,
    Suspect,
    UserMessage,
)
from gossip.core.packets.codec import U32_MAX, decode_packet, encode_message
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.outbox import Datagram, Outbox, Stamp
from gossip.core.packets.rumours import Rumours, Topic
from gossip.core.packets.seal import Seal
from tests.unit.gossip.conftest import Peer


def test_the_longest_of_all_that_is_passed_on_fits_the_smallest_datagram(peer: Callable[..., Peer]) -> None:
    node, longest = peer(datagram_max_bytes=1024), "n" * 128
    noise = random.Random(1).randbytes(512)
    node.hear("n1", Alive(longest, 2**64 - 1, U32_MAX, Address("fd00::1", 65535), noise, Span(1, 15)))
    node.hear("n1", Broadcast(longest, 2**64 - 1, U32_MAX, noise), Suspect(longest, 2**64 - 1, U32_MAX, "m" * 128))
    node.pass_time(node.now + 0.2)
    sent = node.node.datagrams()
    assert sent
    assert max(len(datagram.payload) for datagram in sent) <= 1024
    with pytest.raises(ConfigError, match="datagram_max_bytes"):
        GossipConfig(datagram_max_bytes=1023)


ROOM_BYTES = 1000
THERE, ELSEWHERE = Address("10.0.0.2", 7946), Address("10.0.0.3", 7946)


def outbox(rumours: Rumours | None = None) -> Outbox:
    seal = Seal("", Keyring(), PROTOCOL, random.Random(1).randbytes)
    return Outbox(
        seal,
        rumours or Rumours(8, ROOM_BYTES),
        stamp=lambda: Stamp("me", 7, bytes(8)),
        copies=lambda: 3,
        room_bytes=ROOM_BYTES,
    )


def packet(datagram: Datagram) -> Packet:
    seal = Seal("", Keyring(), PROTOCOL, random.Random(2).randbytes)
    return decode_packet(seal.unwrap(datagram.payload).packet, 65536)


def noise(seed: int, size: int) -> UserMessage:
    return UserMessage(random.Random(seed).randbytes(size))


def test_messages_go_in_as_many_datagrams_as_they_need_and_each_is_given_once() -> None:
    out, messages = outbox(), [noise(seed, 400) for seed in range(5)]
    out.send(THERE, messages)
    sent = out.drain()
    assert [len(packet(datagram).messages) for datagram in sent] == [2, 2, 1]
    assert [message for datagram in sent for message in packet(datagram).messages] == messages
    assert {datagram.destination for datagram in sent} == {THERE}
    assert out.drain() == []


def test_packet_bears_the_stamp_of_the_moment() -> None:
    out = outbox()
    out.send(THERE, [])
    ((sender, epoch, fingerprint),) = [(p.sender, p.epoch, p.fingerprint) for p in map(packet, out.drain())]
    assert (sender, epoch, fingerprint) == ("me", 7, bytes(8))


def test_rumours_fill_the_last_datagram_and_ride_on_no_bare_one() -> None:
    rumours = Rumours(8, ROOM_BYTES)
    rumour = noise(9, 300)
    rumours.add(Topic.USER, 1, encode_message(rumour))
    out = outbox(rumours)
    out.send_bare(THERE, [Ack(1)])
    out.send(THERE, [noise(seed, 400) for seed in range(3)])
    carried = [packet(datagram).messages for datagram in out.drain()]
    assert [rumour in messages for messages in carried] == [False, False, True]


def test_rumour_that_is_a_message_of_the_same_packet_is_not_in_it_twice() -> None:
    rumours = Rumours(8, ROOM_BYTES)
    rumours.add(Topic.USER, 1, encode_message(noise(1, 100)))
    out = outbox(rumours)
    out.send(THERE, [noise(1, 100)])
    assert packet(out.drain()[0]).messages == (noise(1, 100),)


def test_without_rumours_no_datagram_of_them() -> None:
    out = outbox()
    assert not out.send_rumours(THERE)
    assert out.drain() == []


def test_stranger_gets_the_longest_answer_that_what_it_sent_pays_for() -> None:
    out = outbox()
    long, short = [noise(1, 60)], [Ack(1)]
    for size, answered in ((10, ()), (60, short), (200, long)):
        out.credit(THERE, size)
        assert out.answer(THERE, long, short) == answered
        assert sum(len(datagram.payload) for datagram in out.drain()) <= size


def test_what_one_paid_for_is_spent_and_nobody_elses() -> None:
    out = outbox()
    out.credit(THERE, 100)
    assert out.answer(ELSEWHERE, [Ack(1)]) == ()
    answers = 0
    while out.answer(THERE, [Ack(1)]):
        answers += 1
    assert answers >= 1
    assert sum(len(datagram.payload) for datagram in out.drain()) <= 100
