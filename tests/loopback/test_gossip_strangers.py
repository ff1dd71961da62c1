"""Strangers without a key at a node's sockets: invented members, forged news, streams of every bad kind."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from gossip import Address, Gossip, MemberSuspected, NameConflict, Rejection, State, local
from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Alive, Chunk, Done, Entry, Message, NameClaim, Ops, Pull
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import GREETING_BYTES, Seal
from gossip.net import driver

WITHIN_S = 20.0
SPEAKER = Seal("", Keyring(), PROTOCOL, random.Random(5).randbytes)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


def packet(sender: str, *messages: Message, epoch: int = 1) -> bytes:
    return SPEAKER.wrap(encode_packet(sender, epoch, bytes(8), map(encode_message, messages)))


def frame(sender: str, *messages: Message, epoch: int = 1) -> bytes:
    payload = packet(sender, *messages, epoch=epoch)
    return struct.pack(">I", len(payload)) + payload


class Stranger:
    """A socket for forged datagrams."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, target: Gossip, *payloads: bytes) -> None:
        for payload in payloads:
            self._socket.sendto(payload, target.address)

    def close(self) -> None:
        self._socket.close()


async def pair(stack: AsyncExitStack, **settings: Any) -> tuple[Gossip, Gossip, Stranger]:
    config = replace(local(), **settings)
    one = await stack.enter_async_context(Gossip("n1", config))
    other = await stack.enter_async_context(Gossip("n2", config, seeds=[str(one.address)]))
    await until(lambda: alive(one) == {"n2"} and alive(other) == {"n1"})
    stranger = Stranger()
    stack.callback(stranger.close)
    return one, other, stranger


def alive(node: Gossip) -> set[str]:
    return {member.name for member in node.view.members() if member.state is State.ALIVE}


# Datagrams


def test_train_of_two_thousand_invented_members_adds_nothing_and_is_forgotten() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other, stranger = await pair(stack)
            nobody = [Address(f"127.77.{number // 250}.{1 + number % 250}", 9) for number in range(2000)]
            train = [Alive(f"x{number}", 1, 0, where, b"", PROTOCOL) for number, where in enumerate(nobody)]
            stranger.send(one, *(packet("x", *train[first : first + 16]) for first in range(0, len(train), 16)))
            await until(lambda: one.view.candidates > 0)
            while one.view.candidates:
                assert alive(one) == {"n2"} == {member.name for member in one.view.members()}
                await asyncio.sleep(0.05)
            assert alive(other) == {"n1"}
            late = await stack.enter_async_context(Gossip("n3", local(), seeds=[str(one.address)]))
            await until(lambda: alive(late) == {"n1", "n2"} and alive(other) == {"n1", "n3"})

    run(story())


def test_forged_move_of_a_live_member_moves_nothing() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other, stranger = await pair(stack)
            other.advertise([bytes(32)])
            await until(lambda: bool(one.view.holders(bytes(32))))
            epoch = other.view.me.epoch
            forged = [Alive("n2", epoch + by, 9, Address("127.77.0.1", 9), b"evil", PROTOCOL) for by in (0, 1, 10**6)]
            stranger.send(one, packet("x", *forged))
            await until(lambda: one.view.candidates > 0)
            while one.view.candidates:
                (member,) = one.view.members()
                assert (member.address, member.metadata) == (other.address, b"")
                assert [holder.address for holder in one.view.holders(bytes(32))] == [other.address]
                await asyncio.sleep(0.02)

    run(story())


def test_forged_namesake_stops_nobody() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other, stranger = await pair(stack)
            received = one.counters.events[NameConflict]
            for _ in range(5):
                stranger.send(one, packet("n1", NameClaim(0, 1)))
                await asyncio.sleep(0)
            other.broadcast(b"after that")
            await until(lambda: one.view.me.state is State.ALIVE and alive(other) == {"n1"})
            assert (one.view.gave_way_to, one.counters.events[NameConflict]) == (None, received)
            await one.ping("n2", timeout=WITHIN_S)

    run(story())


def test_filter_too_large_is_refused_and_counted_and_its_sender_stays_a_member() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other, stranger = await pair(stack)
            epoch = other.view.me.epoch
            stranger.send(one, packet("n2", Ops("n2", epoch, 1, 26, 0, bytes(8)), epoch=epoch))
            await until(lambda: one.counters.rejected[Rejection.FILTER] == 1)
            reader, writer = await asyncio.open_connection(*one.address)
            await reader.readexactly(GREETING_BYTES)
            huge = Chunk(Entry("n2", epoch, 0, 1, 3_000_000), 26, 0, bytes(65536))
            writer.write(b"\x11" + bytes(16) + frame("x", huge))
            await until(lambda: one.counters.rejected[Rejection.FILTER] == 2)
            writer.close()
            assert alive(one) == {"n2"}
            assert one.view.replica("n2").blank  # type: ignore[union-attr]

    run(story())


# Streams


async def gone(reader: asyncio.StreamReader) -> None:
    """Wait until the other end has closed the stream."""
    async with asyncio.timeout(WITHIN_S):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass


GREETING = b"\x11" + bytes(16)
STREAMS = {
    "idle": [b""],
    "greets and is silent": [GREETING],
    "half a frame": [GREETING, struct.pack(">I", 1000) + bytes(500)],
    "a frame of 2 GiB": [GREETING, struct.pack(">I", 1 << 31)],
    "junk": [random.Random(1).randbytes(4000)],
    "HTTP": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200],
    "asks for everything and reads nothing": [GREETING, frame("x", Pull(()), Done())],
}


@pytest.mark.parametrize("said", STREAMS.values(), ids=STREAMS)
def test_many_bad_streams_are_ended_and_keep_no_member_out(said: Sequence[bytes]) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other, _ = await pair(stack, greeting_timeout_s=0.2, stream_timeout_s=1.0, streams_max=8)
            readers = []
            for _ in range(60):
                reader, writer = await asyncio.open_connection(*one.address)
                stack.callback(writer.close)
                writer.write(b"".join(said))
                readers.append(reader)
            await asyncio.gather(*map(gone, readers))
            late = await stack.enter_async_context(Gossip("n3", local(), seeds=[str(one.address)]))
            await until(lambda: alive(late) == {"n1", "n2"} and alive(other) == {"n1", "n3"})

    run(story())


def test_what_takes_long_to_hear_is_heard_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """With slices of no time, whatever else runs has a turn after every message and every datagram."""
    monkeypatch.setattr(driver, "SLICE_S", 0.0)

    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, _, stranger = await pair(stack)
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            additions = [Ops("x", 1, 1, 14, 0, bytes(8192))] * 10
            counting = asyncio.create_task(count())
            reader, writer = await asyncio.open_connection(*one.address)
            await reader.readexactly(GREETING_BYTES)
            before = turns
            writer.write(GREETING + frame("x", *additions) * 10 + frame("x", Done()))
            async with asyncio.timeout(WITHIN_S):
                await reader.readexactly(4)
            assert turns - before > 100
            writer.close()
            before, received = turns, one.counters.rejected[Rejection.CBOR]
            stranger.send(one, *[SPEAKER.wrap(b"\0junk")] * 50)
            await until(lambda: one.counters.rejected[Rejection.CBOR] == received + 50)
            assert turns - before > 25
            counting.cancel()
            assert one.counters.events[MemberSuspected] == 0

    run(story())
