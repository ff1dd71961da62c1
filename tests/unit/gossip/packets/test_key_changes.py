"""Orders about keys over streams."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, WireError
from gossip.core.events import KeysChanged
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.membership.statements import record_message
from gossip.core.messages import (
    KeyAction,
    KeyOrder,
    KeyReport,
    Message,
)
from gossip.core.node import Node
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring, key_id
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.exchange import Exchange

NOW = 100.0


KEY, NEW_KEY = bytes(range(32)), bytes(32)


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
