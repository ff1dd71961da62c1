"""The bytes of a stream as frames."""

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
    Message,
)
from gossip.core.node import Node
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.frames import FRAME_MAX_BYTES

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
