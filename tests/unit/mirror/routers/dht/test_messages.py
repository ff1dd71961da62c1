"""Questions to a peer: one stream for all of them, and a new one when its answers can no longer be trusted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

pytest.importorskip("libp2p")

import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import decode_uvarint, encode_uvarint

from mirror.routers.dht.messages import Messages
from mirror.routers.dht.network import tcp_address

KEY = b"\x12\x20" + bytes(32)
PEERS = [ID.from_pubkey(create_new_key_pair(bytes([number] * 32)).public_key) for number in range(1, 4)]
ME = PeerInfo(PEERS[2], [tcp_address("10.0.0.1", 4001)])


class Stream:
    """A stream whose other end repeats questions, until it ends or falls silent."""

    def __init__(self) -> None:
        self.questions: list[Any] = []
        self.is_ended = self.is_silent = self.is_reset = False
        self._answer = bytearray()

    async def write(self, sent: bytes) -> None:
        if self.is_ended:
            raise OSError("ended")
        question = Message()
        size = decode_uvarint(sent)
        question.ParseFromString(sent[-size:])
        self.questions.append(question)
        self._answer += encode_uvarint(size) + sent[-size:]

    async def read(self, count: int) -> bytes:
        if self.is_silent:
            await trio.sleep_forever()
        part = bytes(self._answer[:count])
        del self._answer[:count]
        return part

    async def reset(self) -> None:
        self.is_reset = True


class Host:
    """A host that opens such streams."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []

    async def new_stream(self, peer: ID, protocols: Sequence[str]) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]


def play(story: Callable[[Host, Messages], Awaitable[None]], most: int = 10) -> None:
    async def played() -> None:
        host = Host()
        await story(host, Messages(cast("Any", host), most))

    trio.run(played)


def test_all_questions_to_a_peer_go_over_one_stream() -> None:
    async def story(host: Host, messages: Messages) -> None:
        await messages.provide(PEERS[0], KEY, ME)
        assert await messages.providers(PEERS[0], KEY) == []
        (stream,) = host.streams
        told, asked = stream.questions
        assert (told.type, told.key) == (Message.ADD_PROVIDER, KEY)
        assert [(peer.id, list(peer.addrs)) for peer in told.providerPeers] == [
            (ME.peer_id.to_bytes(), [ME.addrs[0].to_bytes()])
        ]
        assert (asked.type, asked.key) == (Message.GET_PROVIDERS, KEY)

    play(story)


def test_a_stream_that_has_ended_meanwhile_is_replaced_once() -> None:
    async def story(host: Host, messages: Messages) -> None:
        await messages.providers(PEERS[0], KEY)
        host.streams[0].is_ended = True
        await messages.providers(PEERS[0], KEY)
        assert len(host.streams) == 2

    play(story)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next() -> None:
    async def story(host: Host, messages: Messages) -> None:
        await messages.providers(PEERS[0], KEY)
        host.streams[0].is_silent = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(messages.providers, PEERS[0], KEY)
            await trio.testing.wait_all_tasks_blocked()
            assert len(host.streams[0].questions) == 2
            nursery.cancel_scope.cancel()
        await messages.providers(PEERS[0], KEY)
        assert host.streams[0].is_reset
        assert len(host.streams) == 2

    play(story)


def test_streams_are_bounded_and_forgotten_with_their_peers() -> None:
    async def story(host: Host, messages: Messages) -> None:
        for peer in (PEERS[0], PEERS[1], PEERS[1]):
            await messages.providers(peer, KEY)
        assert len(host.streams) == 2
        await messages.providers(PEERS[0], KEY)
        assert len(host.streams) == 3, "it made room for the other"
        messages.forget(PEERS[0])
        await messages.providers(PEERS[0], KEY)
        assert len(host.streams) == 4

    play(story, most=1)
