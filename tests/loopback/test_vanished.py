"""Hosts that are gone without a word: what they owe others bring meanwhile, and who asks next does not ask them first.

In all stories nobody is ever found to be gone, and no wait ends by itself.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mirror.errors import PeerError, Reason
from mirror.routers import Peer
from mirror.settings import PeerSettings
from mirror.sources import Role
from mirror.sources.peers.connections import ConnectionPool
from mirror.sources.peers.reach import is_there
from tests.loopback.lab import STEADY, Lab, before_me, lab
from tests.loopback.servers import LARGE, SMALL, WITHIN_S, Listeners, Part, Server, content_of, honest, part, run
from tests.loopback.test_outage import black_hole

CONTENT = content_of(LARGE)
FOR_EVER_S = 1e3
SETTINGS = replace(
    STEADY,
    peers=PeerSettings(
        silent_s=0.05,
        knock_s=0.0,
        hedge_s=0.05,
        watch_interval_s=0.01,
        sign_of_life_s=FOR_EVER_S,
        connect_s=FOR_EVER_S,
        head_s=FOR_EVER_S,
    ),
    fetch=replace(STEADY.fetch, opinion_s=FOR_EVER_S, size_s=FOR_EVER_S),
)


@pytest.fixture(autouse=True)
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host is there: on loopback the kernel would take every connection."""

    async def is_there(peer: Peer) -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr("mirror.sources.peers.client.is_there", is_there)


async def pauses(start: int, stop: int | None) -> Sequence[Part]:
    """Sends half of what it is asked for."""
    head, body = part(LARGE, start, stop)
    return [head, body[: len(body) // 2], asyncio.Event()]


async def never(start: int, stop: int | None) -> Sequence[Part]:
    return [asyncio.Event()]


async def no_bytes(start: int, stop: int | None) -> Sequence[Part]:
    """Says how long it is."""
    return [part(LARGE, start, stop)[0], asyncio.Event()]


@contextlib.asynccontextmanager
async def gone(folder: Path, kind: str, role: Role) -> AsyncIterator[tuple[Lab, str]]:
    """A node beside a member that is gone, and the name of that one."""
    async with contextlib.AsyncExitStack() as stack:
        it = await stack.enter_async_context(lab(folder, honest(LARGE), settings=SETTINGS))
        (name,) = before_me(CONTENT, 1)
        if kind == "takes no connection":
            port = stack.enter_context(black_hole()).getsockname()[1]
        else:
            server = await it.serve(pauses if kind == "stops in the middle" else never)
            server.alive, port = False, server.port
        members = it.router.homes if role is Role.HOME else it.router.holders
        members.append(Peer(name, "127.0.0.1", port))
        yield it, name


KINDS = ["takes no connection", "says nothing", "stops in the middle"]


@pytest.mark.parametrize("role", [Role.HOLDER, Role.HOME])
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_owes_others_bring_meanwhile(tmp_path: Path, role: Role, kind: str) -> None:
    async def story() -> None:
        async with gone(tmp_path, kind, role) as (it, name):
            assert await it.read(CONTENT) == LARGE
            assert it.record.sources["upstream"] >= len(LARGE) - it.record.sources.get(name, 0)
            assert it.fetching.health.silent() == {name}
            assert not any("gave no sign of life" in failure for failure in it.record.failures)

    run(story())


def test_the_next_fetch_does_not_begin_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with gone(tmp_path, "says nothing", Role.HOLDER) as (it, _):
            assert await it.read(CONTENT) == LARGE
            it.registry.script = honest(SMALL)
            assert await it.read(content_of(SMALL)) == SMALL
            assert it.record.sources == {"upstream": len(SMALL)}

    run(story())


def test_where_nobody_else_has_it_a_silent_holder_that_is_only_late_sends_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), settings=SETTINGS) as it:
            late, answered = asyncio.Event(), list[object]()

            async def says_how_long_it_is(start: int, stop: int | None) -> Sequence[Part]:
                is_get = len(it.registry.asked) > len(answered)
                answered[:] = it.registry.asked
                return [asyncio.Event()] if is_get else part(LARGE, start, stop)

            async def at_last(start: int, stop: int | None) -> Sequence[Part]:
                return [late, *part(LARGE, start, stop)]

            holder = await it.holder(at_last)
            holder.alive = False
            it.registry.script = says_how_long_it_is
            reading = asyncio.create_task(it.read(CONTENT))
            while not it.registry.asked:
                await asyncio.sleep(0.01)
            late.set()
            assert await reading == LARGE
            assert it.record.sources == {"m1": len(LARGE)}

    run(story())


@pytest.mark.parametrize("kind", ["takes no connection", "says nothing"])
def test_a_size_is_asked_of_the_next_who_may_know_it(tmp_path: Path, kind: str) -> None:
    async def story() -> None:
        async with gone(tmp_path, kind, Role.HOLDER) as (it, name):
            assert await it.fetching.sizes.size(CONTENT) == len(LARGE)
            assert it.fetching.health.silent() == {name}

    run(story())


def test_what_a_member_is_asked_ends_as_soon_as_it_is_found_to_be_gone(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(SETTINGS, peers=replace(SETTINGS.peers, sign_of_life_s=0.05))
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            server = await it.serve(never)
            server.alive = False
            peer = Peer("a", "127.0.0.1", server.port)
            with pytest.raises(PeerError) as caught:
                await it.peers.size(peer, CONTENT, Role.HOME)
            assert caught.value.reason is Reason.STALLED
            assert "a" in it.fetching.health.unusable()

    run(story())


def test_unused_connections_to_a_member_that_is_gone_are_closed(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(SETTINGS, peers=replace(SETTINGS.peers, sign_of_life_s=0.05))
        async with lab(tmp_path, no_bytes, settings=settings) as it:
            holder = await it.holder(honest(LARGE))
            assert await it.read(CONTENT) == LARGE
            ended = asyncio.Event()
            holder.script, holder.alive = never, False
            with it.fetching.health.followed(ended.set):
                asking = asyncio.create_task(it.peers.size(Peer("m1", "127.0.0.1", holder.port), CONTENT))
                while not it.fetching.health.awaits(["m1"]) or it.fetching.health.silent():
                    await ended.wait()
                    ended.clear()
                    await asyncio.sleep(0)
            await asyncio.gather(asking, return_exceptions=True)
            connections = holder.connections
            reading = asyncio.create_task(it.read(content_of(SMALL)))
            while holder.connections == connections:
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    run(story())


def test_a_connection_that_did_not_come_is_not_kept_and_one_that_is_awaited_can_be_given_up() -> None:
    async def story() -> None:
        pool = ConnectionPool(SETTINGS.peers)
        with socket.create_server(("127.0.0.1", 0)) as door:
            closed = door.getsockname()[1]
        with pytest.raises(ConnectionRefusedError), pool.connection("127.0.0.1", closed) as connection:
            await pool.run(connection, partial(connection.get, "/", {}))
        assert not pool.idle_count
        with black_hole() as hole:
            port = hole.getsockname()[1]
            with pool.connection("127.0.0.1", port) as connection:
                asking = asyncio.create_task(pool.run(connection, partial(connection.get, "/", {})))
                while connection.quiet_s() == math.inf:  # there is no socket yet
                    await asyncio.sleep(0.01)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
        assert not pool.idle_count
        pool.close()

    run(story())


def test_the_kernel_knows_how_long_a_packet_takes_once_there_is_a_connection() -> None:
    async def story() -> None:
        listeners, server, pool = Listeners(), Server(honest(LARGE)), ConnectionPool(SETTINGS.peers)
        await listeners.serve(server)
        with pool.connection("127.0.0.1", server.port) as connection:
            assert connection.round_trip_s() == 0.0
            await pool.run(connection, partial(connection.get, "/v2/", {}))
            assert 0.0 < connection.round_trip_s() < WITHIN_S
        pool.close()
        await listeners.close()

    run(story())


def test_a_host_is_there_if_it_takes_or_refuses_a_connection() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door, black_hole() as hole:
            port = door.getsockname()[1]
            assert await is_there(Peer("a", "127.0.0.1", port))
            knocking = asyncio.create_task(is_there(Peer("a", "127.0.0.1", hole.getsockname()[1])))
            door.close()
            assert await is_there(Peer("a", "127.0.0.1", port))
            assert not await is_there(Peer("a", "[", 1))
            assert not knocking.done()
            knocking.cancel()
            await asyncio.gather(knocking, return_exceptions=True)

    run(story())
