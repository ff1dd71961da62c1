"""Filters from their chunks."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.messages import (
    Alive,
    Chunk,
    Entry,
    Message,
)
from gossip.core.node import Node
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Channel, Seal

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
