"""What fuzzing found, each as the shortest input that shows it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, WireError
from gossip.core.events import Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.messages import (
    KEY_BYTES,
    Ack,
    Alive,
    Broadcast,
    Buckets,
    Dead,
    Done,
    Entries,
    Entry,
    Left,
    Message,
    Ops,
    Ping,
    ProbeRequest,
    Pull,
    Record,
    Suspect,
    UserMessage,
)
from gossip.core.node import Node
from gossip.core.packets.codec import U32_MAX, decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.replay import Window
from gossip.core.packets.seal import Seal
from gossip.net.snapshot_file import load_snapshot
from gossip.net.sockets import parse_address

Peer = Any
KEY = bytes(range(32))
ELSEWHERE = Address("192.0.2.1", 9)


def alive(peer: Peer, name: str, metadata: bytes = b"", *, epoch: int = 1) -> Alive:
    return Alive(name, epoch, 0, peer.address(name), metadata, PROTOCOL)


def speaker() -> Seal:
    return Seal("", Keyring(), PROTOCOL, random.Random(5).randbytes)


def packet(sender: str, *messages: Message, epoch: int = 1) -> bytes:
    return speaker().wrap(encode_packet(sender, epoch, bytes(8), map(encode_message, messages)))


def rejections(peer: Peer) -> list[str]:
    return [event.reason for event in peer.node.events() if isinstance(event, Rejected)]


# Datagrams


def test_additions_too_long_for_a_rumour_are_learned_and_not_passed_on(peer: Callable[..., Peer]) -> None:
    """Equal keys compress: 8,000 bytes of them come in a datagram of 60, and fit no rumour."""
    node = peer()
    node.hear("n1", alive(node, "n1"))
    node.hear("n1", Ops("n1", 1, 1, 14, 0, bytes(1000 * KEY_BYTES)))
    assert [member.name for member in node.node.view.holders(bytes(8))] == ["n1"]
    node.pass_time(node.now + 1)
    assert not any(isinstance(message, Ops) for _, message in node.said())


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


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Ping(0, "n0"), id="ping"),
        pytest.param(ProbeRequest(0, "n1"), id="probe request"),
        pytest.param(Entries(0, (Entry("x", 9, 9, 9, 9),)), id="entries"),
        pytest.param(Buckets(bytes(256)), id="buckets"),
        pytest.param(Pull((Entry("n1", 0, 0, 0, 0),)), id="pull"),
        pytest.param(Ops("n1", 1, 0, 14, 9, bytes(8)), id="additions after a gap"),
    ],
)
@pytest.mark.parametrize("times", [1, 500])
def test_whoever_is_not_at_a_members_address_is_sent_no_more_than_it_sent(
    peer: Callable[..., Peer], message: Message, times: int
) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1", random.Random(1).randbytes(512)))
    node.said()
    for sender in ("x", "n1"):
        payload = packet(sender, *[message] * times)
        node.node.receive(payload, ELSEWHERE, node.now)
        answers = [datagram for datagram in node.node.datagrams() if datagram.destination == ELSEWHERE]
        assert sum(len(answer.payload) for answer in answers) <= len(payload)


def test_stranger_with_a_real_clock_is_answered(peer: Callable[..., Peer]) -> None:
    """What real nodes send is long enough for an answer."""
    node = peer()
    node.node.receive(packet("x", Ping(7, "n0"), epoch=1_700_000_000_000), ELSEWHERE, node.now)
    assert node.said() == [(ELSEWHERE, Ack(7))]


def test_member_gets_one_answer_to_a_packet_however_often_it_asks(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"), alive(node, "n2"))
    node.pass_time(node.now + 3)
    node.said()
    question = Pull((Entry("n1", 0, 0, 0, 0),))
    node.hear("n2", *[Ping(0, "n0")] * 500, *[question] * 300, *[Ops("n1", 1, 0, 14, 9, bytes(8))] * 100)
    said = [message for address, message in node.said() if address == node.address("n2")]
    assert [message for message in said if isinstance(message, Ack)] == [Ack(0)]
    assert [message for message in said if isinstance(message, Pull)] == [Pull((Entry("n1", 1, 0, 0, 0),))]
    assert len(said) < 10


@pytest.mark.parametrize("sequence", [0, 1000, 300_000])
def test_filter_far_too_large_for_its_keys_takes_no_memory(peer: Callable[..., Peer], sequence: int) -> None:
    """60 bytes in a datagram would have made this node keep 2**26 rows."""
    node = peer()
    node.hear("n1", alive(node, "n1"))
    node.hear("n1", Ops("n1", 1, 1, 26, 0, b""))
    assert rejections(node) == ["size"]
    with pytest.raises(WireError):
        node.node.dissemination.install(Entry("n1", 1, 0, 1, sequence), 26, bytes(1 << 23), node.now)
    assert node.node.view.replica("n1").filter.bits_log2 == 14


@pytest.mark.parametrize("bits_per_key", [8, 64])
@pytest.mark.parametrize("key_count", [0, 1, 150, 3000])
def test_filters_that_nodes_make_are_not_too_large(
    peer: Callable[..., Peer], bits_per_key: int, key_count: int
) -> None:
    owner, other = peer(filter_bits_per_key=bits_per_key), peer()
    owner.node.advertise((random.Random(i).randbytes(8) for i in range(key_count)), owner.now)
    owner.pass_time(owner.now + 1)
    own = owner.node.view.published
    other.hear("n1", alive(other, "n1"))
    entry = Entry("n1", 1, 0, own.generation, own.sequence)
    other.node.dissemination.install(entry, own.filter.bits_log2, bytes(own.filter.bits), other.now)
    assert other.node.view.replica("n1").version == (1, own.generation, key_count)


def test_count_of_keys_stays_within_what_can_be_said(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"))
    node.node.dissemination.install(Entry("n1", 1, 0, 1, U32_MAX), 14, bytes(2048), node.now)
    node.hear("n1", Ops("n1", 1, 1, 14, U32_MAX, bytes(8)))
    assert rejections(node) == ["size"]
    assert node.node.view.replica("n1").sequence == U32_MAX


def test_metadata_can_change_at_the_highest_incarnation(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"), Suspect("n0", 1, U32_MAX - 1, "n1"))
    assert (node.node.view.me.epoch, node.node.view.me.incarnation) == (1, U32_MAX)
    node.node.update(b"new", node.now)
    assert (node.node.view.me.epoch, node.node.view.me.incarnation) == (2, 0)


def test_graves_are_bounded_however_many_die_at_once(peer: Callable[..., Peer]) -> None:
    node = peer(gone_max=2)
    names = [f"n{i}" for i in range(1, 13)]
    for name in names:
        node.hear("n1", alive(node, name))
    for name in names:
        node.hear("n1", Left(name, 1, 0) if name > "n5" else Dead(name, 1, 0, "n1"))
    assert len(node.node.view.members()) == 2


def test_what_waited_for_a_proof_is_answered_on_no_account_but_its_own() -> None:
    """The credit of the datagram that proves a run is not spent on another source."""
    speaker = Seal("", Keyring([KEY]), PROTOCOL, random.Random(5).randbytes)
    seal = Seal("", Keyring([KEY]), PROTOCOL, random.Random(6).randbytes)
    me = Member("n0", Address("10.9.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)
    node, elsewhere = Node(GossipConfig(), me, seal, random.Random(7), 0.0), Address("192.0.2.2", 9)

    def hear(source: Address, *messages: Message) -> list[Address]:
        packet = encode_packet("x", 1, bytes(8), map(encode_message, messages))
        node.receive(speaker.wrap(packet), source, 0.0)
        sent = node.datagrams()
        for datagram in sent:
            opened = decode_packet(speaker.unwrap(datagram.payload).packet, 65536)
            asked.extend(message.number for message in opened.messages if isinstance(message, Ping))
        return [datagram.destination for datagram in sent]

    asked: list[int] = []
    assert hear(ELSEWHERE, Entries(0, (Entry("x", 9, 9, 9, 9),) * 4)) == [ELSEWHERE]
    assert elsewhere not in hear(ELSEWHERE, Entries(0, (Entry("x", 9, 9, 9, 9),)))
    assert hear(elsewhere, Ack(asked[0]), UserMessage(bytes(100))) == []


def test_number_far_behind_costs_nothing() -> None:
    """Half a gigabyte for a broadcast, and an exception for a sealed packet, before they were found to be too old."""
    window = Window()
    assert window.admit(2**64 - 1)
    assert not window.admit(0)


# Streams


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


@pytest.mark.parametrize("kind", ["pull", "entries", "records"])
def test_no_more_members_are_spoken_of_than_a_cluster_has(peer: Callable[..., Peer], kind: str) -> None:
    """Repeated entries compress: without a bound a short stream could fill the memory."""
    node = peer(members_max=10)
    half = answering(node)
    repeated: dict[str, Message] = {
        "pull": Pull((Entry("x", 0, 0, 0, 0),)),
        "entries": Entries(0, (Entry("x", 1, 0, 0, 0),)),
        "records": Record("x", 1, 0, State.ALIVE, ELSEWHERE, b"", PROTOCOL),
    }
    half.feed(frame(*[repeated[kind]] * 11), node.now)
    with pytest.raises(WireError) as refused:
        half.feed(frame(repeated[kind]), node.now)
    assert refused.value.reason == "size"


# Files and addresses


@pytest.mark.parametrize("members", ["[1]", "[null]", "[[]]", '[{"a": 1}]', '"10.0.0.1"', '{"10.0.0.1": 1}', "7"])
def test_damaged_snapshot_is_one_line(tmp_path: Path, members: str) -> None:
    path = tmp_path / "snapshot"
    path.write_text(f'{{"epoch": 1, "members": {members}}}')
    with pytest.raises(ConfigError, match="is damaged"):
        load_snapshot(path)


@pytest.mark.parametrize("text", ["a:" + "1" * 5000, "[::1]:" + "9" * 5000, "a:²", "a:-1", "a:0", "a:65536"])
def test_impossible_port_is_one_short_line(text: str) -> None:
    with pytest.raises(ConfigError, match="must be host") as refused:
        parse_address(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "text", ["a..b", ".a", "a b", "a\0", "x" * 64, "[a]:1", "[10.0.0.1]:1", "a:b:c", "[", "[::1]x"]
)
def test_impossible_host_is_refused_before_anybody_resolves_it(text: str) -> None:
    with pytest.raises(ConfigError, match="must be host"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("node_1.example-x.", ("node_1.example-x.", 7946)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("::1", ("::1", 7946)),
        ("[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("[::1]", ("::1", 7946)),
    ],
)
def test_possible_addresses_are_taken(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
