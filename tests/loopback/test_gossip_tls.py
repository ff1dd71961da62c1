"""Gossip's streams by TLS: who may open one, and the way of a running cluster there."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gossip import DeliveryError, Gossip, State, StreamTls, local
from gossip.net.listener import drop
from mirror.channels import PeerTls
from mirror.channels.certificates import KeyIssuer
from mirror.channels.contexts import Channels
from tests.loopback.channels import DAY_S, ONE, TWO, channels

WITHIN_S = 20.0
KEY = bytes(32)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, WITHIN_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def stream_tls(ways: Channels) -> StreamTls | None:
    """As the router makes it."""
    server, client = ways.server, ways.dialling
    if server is None or client is None:
        return None

    def believes(certificate: Mapping[str, Any]) -> bool:
        return bool(ways.proven(certificate))

    return StreamTls(lambda: server, lambda: client, believes, required=ways.step is PeerTls.ON)


@asynccontextmanager
async def node(name: str, ways: Channels, *seeds: Gossip) -> AsyncIterator[Gossip]:
    addresses = [str(seed.address) for seed in seeds]
    async with Gossip(name, local(), keys=[KEY], seeds=addresses, stream_tls=stream_tls(ways)) as gossip:
        yield gossip


def alive(node: Gossip) -> set[str]:
    return {member.name for member in node.view.members() if member.state is State.ALIVE}


def sees(one: Gossip, other: str) -> bool:
    return other in alive(one) and one.settled


async def hears(one: Gossip, other: Gossip) -> bool:
    """Whether a message passes over a stream from one node to another."""
    try:
        await one.send_reliably(other.name, b"x" * 100_000)
    except DeliveryError:
        return False
    return True


STEPS = [(PeerTls.OFF, PeerTls.PREFER), (PeerTls.PREFER, PeerTls.PREFER), (PeerTls.PREFER, PeerTls.ON)]


@pytest.mark.parametrize(
    ("mine", "theirs"), [*STEPS, *((b, a) for a, b in STEPS if a is not b), (PeerTls.ON, PeerTls.ON)]
)
def test_each_step_from_clear_streams_to_tls_understands_the_one_before(mine: PeerTls, theirs: PeerTls) -> None:
    async def story() -> None:
        async with node("a", channels("a", step=mine)) as a, node("b", channels("b", step=theirs), a) as b:
            await until(lambda: alive(a) == {"b"} and alive(b) == {"a"})
            assert await hears(a, b)
            assert await hears(b, a)

    run(story())


@pytest.mark.parametrize(
    ("stranger", "why"),
    [
        (channels("b", step=PeerTls.OFF), "clear text"),
        (channels("b", TWO), "another authority"),
        (channels("denied"), "denied"),
    ],
)
def test_a_stream_that_may_not_be_is_refused(stranger: Channels, why: str) -> None:
    async def story() -> None:
        ways = channels("a", ONE, denied=["denied"])
        async with node("a", ways) as a, node("b", stranger, a) as b:
            await until(lambda: sum(a.counters.failures.values()) > 0)
            for member in a.view.members(), b.view.members():
                assert all(one.state is State.ALIVE for one in member)
            if alive(b):
                assert not await hears(b, a), why

    run(story())


@pytest.mark.parametrize(("days", "why"), [(-30, "has expired"), (30, "not yet valid")])
def test_a_clock_that_is_weeks_wrong_is_told_from_a_wrong_key(days: int, why: str, tmp_path: Path) -> None:
    identity = KeyIssuer("a", "127.0.0.1", (ONE,), 7 * DAY_S, DAY_S).issue(time.time() + days * DAY_S)
    assert identity is not None
    (tmp_path / "chain").write_bytes(identity.chain + identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain")
    usual = stream_tls(channels("a"))
    assert usual is not None

    async def story() -> None:
        out_of_time = replace(usual, server=lambda: context)
        async with Gossip("a", local(), keys=[KEY], stream_tls=out_of_time) as a, node("b", channels("b"), a) as b:
            await until(lambda: "by this node's clock" in b.alone)
            assert why in b.alone

    run(story())


def test_strangers_that_say_nothing_do_not_keep_members_out() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            a = await stack.enter_async_context(node("a", channels("a")))
            for _ in range(30):
                stranger = socket.socket()
                stack.enter_context(stranger)
                stranger.bind(("127.0.0.9", 0))
                stranger.setblocking(False)
                with suppress(BlockingIOError):
                    stranger.connect((a.address.host, a.address.port))
            for number in range(5):
                b = await stack.enter_async_context(node(f"b{number}", channels(f"b{number}"), a))
                await until(partial(sees, b, "a"))
                assert await hears(b, a)

    run(story())


def test_a_stranger_has_no_more_than_its_time() -> None:
    async def story() -> None:
        async with node("a", channels("a")) as a:
            reader, writer = await asyncio.open_connection(a.address.host, a.address.port)
            writer.write(b"\x16\x03\x01\x02\x00")
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    run(story())


def test_a_stream_that_was_closed_already_can_be_dropped() -> None:
    async def story() -> None:
        ways = channels("a")
        async with node("a", ways) as a:
            writer = (await asyncio.open_connection(a.address.host, a.address.port, ssl=ways.dialling))[1]
            writer.close()
            writer.close()
            drop(writer)

    run(story())
