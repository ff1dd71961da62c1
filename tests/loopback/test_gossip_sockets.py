"""Nodes of gossip on real sockets on loopback."""

import asyncio
import hashlib
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from gossip import ConfigError, Gossip, Listen, State, local
from gossip.core.packets.seal import GREETING_BYTES

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
WITHIN_S = 15.0
SOMETHING = hashlib.sha256(b"something").digest()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds, for a bounded time."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


def states(node: Gossip) -> dict[str, State]:
    return {member.name: member.state for member in node.view.members()}


async def cluster(stack: AsyncExitStack, count: int, keys: tuple[bytes, ...] = ()) -> list[Gossip]:
    """So many nodes that all see each other."""
    nodes: list[Gossip] = []
    for number in range(count):
        seeds = [str(nodes[0].address)] if nodes else []
        nodes.append(await stack.enter_async_context(Gossip(f"n{number}", local(), seeds=seeds, keys=keys)))
    await until(lambda: all(list(states(node).values()) == [State.ALIVE] * (count - 1) for node in nodes))
    return nodes


@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_five_nodes_see_each_other_and_each_others_keys(keys: tuple[bytes, ...]) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = await cluster(stack, 5, keys)
            nodes[3].advertise([SOMETHING])
            others = [node for node in nodes if node is not nodes[3]]
            await until(lambda: all([m.name for m in node.view.holders(SOMETHING)] == ["n3"] for node in others))
            assert nodes[3].view.holders(SOMETHING) == []

    run(story())


def test_thousands_of_keys_arrive() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other = await cluster(stack, 2)
            keys = [hashlib.sha256(b"%d" % number).digest() for number in range(5000)]
            one.advertise(keys)
            await until(lambda: all(other.view.holders(key) for key in keys))

    run(story())


def test_one_that_stops_answering_is_found_dead_and_its_keys_stop_counting() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = await cluster(stack, 3)
            nodes[2].advertise([SOMETHING])
            await until(lambda: bool(nodes[0].view.holders(SOMETHING)))
            await nodes[2].close()
            await until(lambda: all(states(node)["n2"] is State.DEAD for node in nodes[:2]))
            assert nodes[0].view.holders(SOMETHING) == []

    run(story())


def test_one_that_leaves_is_seen_to_have_left() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = await cluster(stack, 3)
            await nodes[2].leave()
            await nodes[2].close()
            await until(lambda: all(states(node)["n2"] is State.LEFT for node in nodes[:2]))

    run(story())


def test_one_that_crashed_comes_back_under_its_name_on_another_port() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = await cluster(stack, 3)
            await nodes[2].close()
            again = await stack.enter_async_context(Gossip("n2", local(), seeds=[str(nodes[0].address)]))
            again.advertise([SOMETHING])
            await until(lambda: [member.address for member in nodes[1].view.holders(SOMETHING)] == [again.address])

    run(story())


@pytest.mark.parametrize("keys", [(), (OTHER_KEY,)])
def test_a_stranger_without_the_key_is_neither_heard_nor_answered(keys: tuple[bytes, ...]) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = await cluster(stack, 2, (KEY,))
            stranger = Gossip("stranger", local(), seeds=[str(nodes[0].address)], keys=keys)
            await stack.enter_async_context(stranger)
            await until(lambda: any(nodes[0].counters.rejected.values()))
            assert "stranger" not in states(nodes[0])
            assert stranger.view.members() == []

    run(story())


def test_a_second_key_opens_what_the_first_no_longer_seals() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            old = await stack.enter_async_context(Gossip("old", local(), keys=[KEY, OTHER_KEY]))
            seeds = [str(old.address)]
            new = await stack.enter_async_context(Gossip("new", local(), seeds=seeds, keys=[OTHER_KEY, KEY]))
            await until(lambda: states(old) == {"new": State.ALIVE} and states(new) == {"old": State.ALIVE})

    run(story())


def test_junk_is_counted_and_changes_nothing() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, other = await cluster(stack, 2)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for junk in (b"", b"\x00", b"\xff" * 1400, os.urandom(700), b"\x82" * 40, b"\x9f\x01", bytes(1400)):
                    sender.sendto(junk, (one.address.host, one.address.port))
            for junk in (b"\x00\x00", b"\xff" * 100, bytes(65536), b"GET / HTTP/1.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection(one.address.host, one.address.port)
                writer.write(junk)
                writer.write_eof()
                try:
                    async with asyncio.timeout(WITHIN_S):
                        assert len(await reader.read()) in (GREETING_BYTES, GREETING_BYTES + 4), "perhaps a refusal"
                except ConnectionError:
                    pass
                writer.close()
            await until(lambda: sum(one.counters.rejected.values()) >= 7)
            assert states(one) == {"n1": State.ALIVE}
            other.advertise([SOMETHING])
            await until(lambda: bool(one.view.holders(SOMETHING)))

    run(story())


def test_an_address_in_use_is_named() -> None:
    async def story() -> None:
        async with Gossip("a", local()) as one:
            taken = Gossip("b", local(), listen=Listen(one.address.host, one.address.port))
            with pytest.raises(ConfigError, match=str(one.address.port)):
                await taken.start()

    run(story())


def test_seed_that_no_resolver_can_be_asked_for_does_not_end_the_node() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            (first,) = await cluster(stack, 1)
            second = await stack.enter_async_context(Gossip("b", local(), seeds=["ä" * 60, str(first.address)]))
            await until(lambda: states(second) == {"n0": State.ALIVE})

    run(story())


def test_one_that_is_closed_ends_the_streams_that_it_serves_and_reports_no_error() -> None:
    async def story() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with Gossip("a", local()) as node:
            reader, writer = await asyncio.open_connection(node.address.host, node.address.port)
            await until(lambda: node.counters.streams == 1)
            late_reader, late_writer = await asyncio.open_connection(node.address.host, node.address.port)
        for end, way_out in ((reader, writer), (late_reader, late_writer)):
            async with asyncio.timeout(WITHIN_S):
                with suppress(ConnectionError):
                    await end.read()
            way_out.close()
        assert not errors

    run(story())
