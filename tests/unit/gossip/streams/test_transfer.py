"""What two nodes give each other over a stream."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import record_message
from gossip.core.messages import (
    Entries,
    Entry,
    Message,
    Offer,
    Pull,
    Record,
)
from gossip.core.node import Node
from gossip.core.packets.codec import CHUNK_MAX_BYTES, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
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
