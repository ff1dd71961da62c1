"""What a node asks of others: which answers it believes, how long it waits, and whom it blames."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from mirror.errors import PeerError
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.settings import PeerSettings
from mirror.sources import RangeRequest, Role
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.client import PeerClient
from mirror.sources.peers.connections import Connection
from mirror.sources.peers.protocol import ORIGIN_HEADER
from tests.loopback.lab import STEADY
from tests.loopback.servers import MIB, Listeners, Memory, Part, Script, Server, content_of, honest, part, run, stalls

BODY = bytes(range(256)) * 4096
CONTENT = content_of(BODY)
TAG = Reference.parse("library/x:1")
SAID: dict[str, Script] = {
    "an endless length": honest(BODY, length="9" * 5000),
    "a length in other digits": honest(BODY, length="\u0661"),
    "a bare line feed": honest(BODY, headers={"X": "a\nContent-Length: 1"}),
    "a bare carriage return": honest(BODY, headers={"X": "a\rb"}),
    "a NUL": honest(BODY, headers={"X": "a\0b"}),
}
NOWHERE = {
    "a bracket": Peer("odd", "[", 1),
    "a surrogate": Peer("odd", "\ud800", 1),
    "a NUL": Peer("odd", "127.0.0.1\0", 1),
    "a header more": Peer("odd", "127.0.0.1\r\nX: y", 1),
    "a port too high": Peer("odd", "127.0.0.1", 70000),
}


class Members:
    """A client, and servers for it to ask."""

    def __init__(self, client: PeerClient, listeners: Listeners) -> None:
        self.client = client
        self._listeners = listeners

    async def member(self, name: str, script: Script, *, alive: bool = True) -> tuple[Peer, Server]:
        server = Server(script, alive=alive)
        await self._listeners.serve(server)
        return Peer(name, "127.0.0.1", server.port), server

    async def receive(self, peer: Peer, *, role: Role = Role.HOLDER, sink: Memory | None = None) -> Memory:
        sink = sink or Memory()
        await self.client.download(peer, CONTENT, RangeRequest(0, MIB, role), sink)
        return sink


@asynccontextmanager
async def members(kind: type[PeerClient] = PeerClient, **settings: Any) -> AsyncIterator[Members]:
    client, listeners = kind("me", PeerAuth(), replace(STEADY.peers, **settings)), Listeners()
    await client.start()
    try:
        yield Members(client, listeners)
    finally:
        await client.close()
        await listeners.close()


async def reason_of(work: asyncio.Future[object] | asyncio.Task[object]) -> str:
    with pytest.raises(PeerError) as caught:
        await work
    return caught.value.reason


@pytest.mark.parametrize("script", SAID.values(), ids=SAID.keys())
def test_a_head_that_makes_no_sense_is_the_peers_fault(script: Script) -> None:
    async def story() -> None:
        async with members() as it:
            peer, _ = await it.member("odd", script)
            assert await reason_of(asyncio.create_task(it.receive(peer))) in ("broken", "length")
            assert await reason_of(asyncio.create_task(it.client.size(peer, CONTENT))) in ("broken", "status")

    run(story())


@pytest.mark.parametrize("peer", NOWHERE.values(), ids=NOWHERE.keys())
def test_a_peer_that_cannot_be_asked_at_all_is_told_from_a_bug(peer: Peer) -> None:
    async def story() -> None:
        async with members() as it:
            for work in (it.receive(peer), it.client.size(peer, CONTENT), it.client.tag(peer, TAG)):
                assert await reason_of(asyncio.create_task(work)) in ("broken", "unreachable")
            await it.client.notify_slow(peer, 0.5)

    run(story())


@pytest.mark.parametrize("size", [(1 << 50) + 1, 10**19 - 1])
def test_a_size_that_nothing_has_is_not_believed(size: int) -> None:
    async def story() -> None:
        async with members() as it:
            peer, _ = await it.member("odd", honest(BODY, size=size))
            assert await reason_of(asyncio.create_task(it.receive(peer))) == "range"

            async def head(start: int, stop: int | None) -> Sequence[Part]:
                return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size]

            peer, _ = await it.member("odd", head)
            assert await reason_of(asyncio.create_task(it.client.size(peer, CONTENT))) in ("range", "broken")

    run(story())


@pytest.mark.parametrize(
    ("said", "believed"),
    [("n1", "n1"), ("upstream", "upstream"), ("a,b", None), ("-", None), ("n" * 64, None), ("\xe9", None), ("", None)],
)
def test_whose_word_something_is_is_believed_where_it_is_a_name(said: str, believed: str | None) -> None:
    async def story() -> None:
        async with members() as it:
            peer, _ = await it.member("n0", honest(BODY, headers={ORIGIN_HEADER: said}))
            sink = await it.receive(peer)
            assert sink.promise is not None
            assert (sink.promise.origin, bytes(sink.body)) == (believed, BODY)

    run(story())


def test_trouble_of_this_node_is_not_the_peers() -> None:
    async def story() -> None:
        async with members() as it:
            peer, _ = await it.member("n0", honest(BODY))
            trouble = OSError(5, "Input/output error")
            with pytest.raises(OSError, match="Input/output") as caught:
                await it.receive(peer, sink=Memory(trouble))
            assert caught.value is trouble

    run(story())


@pytest.mark.parametrize(("alive", "reason"), [(True, "unable"), (False, "stalled")])
def test_a_home_that_is_late_with_an_answer_is_blamed_only_if_it_does_not_live(reason: str, *, alive: bool) -> None:
    async def story() -> None:
        async with members(head_s=0.2 if alive else 20.0, sign_of_life_s=10.0 if alive else 0.2) as it:
            peer, _ = await it.member("n0", stalls, alive=alive)
            sizing = asyncio.create_task(it.client.size(peer, CONTENT, Role.HOME))
            tagging = asyncio.create_task(it.client.tag(peer, TAG, Role.HOME))
            assert [await reason_of(work) for work in (sizing, tagging)] == [reason, reason]

    run(story())


def test_who_waits_for_a_thread_is_not_blamed_for_it() -> None:
    async def story() -> None:
        gate, long = asyncio.Event(), asyncio.Event()

        async def held_back(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            return [head, gate, body]

        async with members(waiting_threads=1, sign_of_life_s=0.1) as it:
            first, server = await it.member("n0", held_back)
            server.on_sign = lambda count: long.set() if count > 4 else None
            second, _ = await it.member("n1", honest(BODY), alive=False)
            waiting = [asyncio.create_task(it.receive(peer, role=Role.PARTIAL)) for peer in (first, second)]
            await long.wait()
            gate.set()
            assert [bytes((await task).body) for task in waiting] == [BODY, BODY]

    run(story())


def test_what_waits_for_other_nodes_leaves_threads_for_what_they_wait_for() -> None:
    async def story() -> None:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held_back(start: int, stop: int | None) -> Sequence[Part]:
            asked.set()
            return [gate, *part(BODY, start, stop)]

        async with members(waiting_threads=2, direct_threads=1) as it:
            home, _ = await it.member("n0", held_back)
            holder, _ = await it.member("n1", honest(BODY))
            waiting = [asyncio.create_task(it.receive(home, role=Role.PARTIAL)) for _ in range(5)]
            await asked.wait()
            assert bytes((await it.receive(holder)).body) == BODY
            waiting[-1].cancel()  # it has no thread yet, and does not wait for one to end
            await asyncio.wait([waiting[-1]])
            assert [task.done() for task in waiting] == [False] * 4 + [True]
            gate.set()
            assert [bytes((await task).body) for task in waiting[:4]] == [BODY] * 4

    run(story())


class Stumbling(PeerClient):
    """Fails in a way that it should not, the first two times that it looks for a sign of life."""

    failed = 0

    async def is_alive(self, peer: Peer) -> bool:
        self.failed += 1
        if self.failed <= 2:
            raise RuntimeError("a bug")
        return await super().is_alive(peer)


def test_the_watch_over_transfers_goes_on_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with members(Stumbling, sign_of_life_s=0.1) as it:
            silent, _ = await it.member("n0", stalls, alive=False)
            with caplog.at_level(logging.ERROR):
                assert await reason_of(asyncio.create_task(it.receive(silent))) == "stalled"
            assert isinstance(it.client, Stumbling)
            assert it.client.failed > 2
            assert len([record for record in caplog.records if record.name == "mirror.sources.peers.watch"]) == 1

    run(story())


def test_a_peer_that_lives_and_sends_nothing_is_not_waited_for_for_ever() -> None:
    async def story() -> None:
        async with members(stall_s=0.3) as it:
            lives, _ = await it.member("n0", stalls)
            assert await reason_of(asyncio.create_task(it.receive(lives))) == "unable"

    run(story())


def test_a_sign_of_life_is_taken_from_a_head_whatever_follows_it() -> None:
    async def story() -> None:
        sent = 0

        async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            with contextlib.suppress(ConnectionError):
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while sent < 64 * MIB:
                    writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                    await writer.drain()
                    sent += 65536
            writer.close()

        async with members() as it:
            server = await asyncio.start_server(endless, "127.0.0.1")
            async with server:
                odd = Peer("odd", "127.0.0.1", server.sockets[0].getsockname()[1])
                assert await it.client.is_alive(odd)
                await it.client.notify_slow(odd, 0.5)
            assert sent < 64 * MIB

    run(story())


def test_a_peer_at_an_odd_host_is_silent_and_does_not_end_the_watch_over_others() -> None:
    async def story() -> None:
        async with members() as it:
            assert not await it.client.is_alive(Peer("odd", "[", 1))

    run(story())


def test_a_connection_that_goes_away_while_it_is_aborted_is_no_trouble() -> None:
    """The thread lets go of the socket between any two looks at it."""
    looks = 0

    class Fleeting(Connection):
        def __getattribute__(self, name: str) -> object:
            nonlocal looks
            if name == "_sock":
                looks += 1
                return shut if looks == 1 else None
            return super().__getattribute__(name)

    class Shut:
        def shutdown(self, how: int) -> None:
            done.set()

    shut, done = Shut(), threading.Event()
    Fleeting("127.0.0.1", 9, PeerSettings()).abort()
    assert done.is_set()
