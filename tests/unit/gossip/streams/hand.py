"""The end of a stream that a node answers, in the hand of the test, which may say what no node would."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Message
from gossip.core.node import Node
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.exchange import Exchange
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.conversing import NOW
from tests.unit.gossip.handmade import ELSEWHERE, packet


def channel(keys: Sequence[bytes] = (), *, dialled: bool = True) -> Channel:
    """What seals the frames of one end of a stream."""
    return Seal("", Keyring(keys), PROTOCOL, random.Random(9).randbytes).channel(dialled=dialled)


class Hand:
    """The end of a stream that a node answers, in the hand of the test, past the greetings."""

    def __init__(self, answering: Node, name: str = "x") -> None:
        self.half = answering.answer(ELSEWHERE)
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
def refused(reason: str) -> Iterator[pytest.ExceptionInfo[WireError]]:
    """Expects that what is said within ends the conversation for that reason."""
    with pytest.raises(WireError) as ended:
        yield ended
    assert ended.value.reason == reason


def answering(peer: Peer) -> Exchange:
    """The half that a node answers with, past its greeting."""
    half = peer.node.answer(ELSEWHERE)
    list(half.frames())
    half.feed(b"\x11" + bytes(16), peer.now)
    return half


def frame(*messages: Message) -> bytes:
    """A frame of member n1, as it is on a stream without keys."""
    payload = packet("n1", *messages)
    return len(payload).to_bytes(4, "big") + payload
