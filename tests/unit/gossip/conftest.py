import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.messages import Ack, Alive, Message, Packet, Ping
from gossip.core.node import Node
from gossip.core.packets.codec import decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.outbox import Datagram
from gossip.core.packets.seal import Seal

START = 100.0


ANY = Span(1, 15)


def plain(protocol: Span = ANY) -> Seal:
    return Seal("", Keyring(), protocol, random.Random(3).randbytes)


class Peer:
    """A node under test, and hands to play its peers.

    `answering`: whether those of whom the node hears answer at once, wherever they are said to be.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.now = START
        self.answering = True

    @staticmethod
    def address(name: str) -> Address:
        return Address(f"10.9.0.{int(name[1:]) + 1}", 7946)

    def hear(self, name: str, *messages: Message, epoch: int = 1, fingerprint: bytes | None = None) -> None:
        """Let a packet of another member arrive from its address."""
        view = self.node.view.fingerprint if fingerprint is None else fingerprint
        packet = encode_packet(name, epoch, view, map(encode_message, messages))
        self.node.receive(plain(Span(1, self.node.view.protocol)).wrap(packet), self.address(name), self.now)
        self.introduce_all()

    def introduce_all(self) -> None:
        """Let all those answer of whom the node has heard and who have yet to answer."""
        while self.answering and (questions := self.node.introductions.questions):
            for ping, heard in questions:
                packet = encode_packet(heard.name, heard.epoch, bytes(8), [encode_message(Ack(ping.number))])
                self.node.receive(plain(Span(1, self.node.view.protocol)).wrap(packet), heard.address, self.now)

    def alive(
        self,
        name: str,
        incarnation: int = 0,
        *,
        epoch: int = 1,
        metadata: bytes = b"",
        protocol: Span = PROTOCOL,
    ) -> Alive:
        """What a member says of itself."""
        return Alive(name, epoch, incarnation, self.address(name), metadata, protocol)

    def events(self, kind: type) -> list[Any]:
        """The events of a kind among all since the last call."""
        return [event for event in self.node.events() if isinstance(event, kind)]

    def said(self) -> list[tuple[Address, Message]]:
        """Everything sent since the last call, with its destination; without questions to those just heard of."""
        packets = [(sent.destination, opened(sent).messages) for sent in self.node.datagrams()]
        if self.answering:
            packets = [(address, messages) for address, messages in packets if not is_introduction(messages)]
        return [(address, message) for address, messages in packets for message in messages]

    def pass_time(self, until: float) -> None:
        """Tick at every deadline up to a time."""
        while (deadline := self.node.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.node.tick(self.now)
        self.now = until


def is_introduction(messages: Sequence[Message]) -> bool:
    """Whether this is what a node asks those of whom it has just heard."""
    return [type(message) for message in messages] == [Ping, Alive] and messages[1].name == "n0"  # type: ignore[union-attr]


def opened(datagram: Datagram) -> Packet:
    return decode_packet(plain().unwrap(datagram.payload).packet, 65536)


@pytest.fixture
def peer() -> Callable[..., Peer]:
    """Makes a node `n0` that has heard of no one, on settings that suit small sums."""

    def make(*, delegate: Delegate | None = None, seed: int = 7, **settings: Any) -> Peer:
        config = GossipConfig(**settings)
        me = Member("n0", Peer.address("n0"), 1, 0, State.ALIVE, b"", changed_at=START, protocol=config.protocol)
        return Peer(Node(config, me, plain(config.protocol), random.Random(seed), START, delegate))

    return make
