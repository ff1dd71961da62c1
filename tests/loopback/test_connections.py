"""Threads that receive: connections used again, found closed, or given up in the middle, and disks that are full."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from mirror.errors import StorageFailed
from mirror.fetch.spool import backing
from mirror.settings import PeerSettings
from mirror.sources.peers.connections import Connection, ConnectionPool, LocalProtocolError, RemoteProtocolError
from tests.loopback.lab import lab
from tests.loopback.servers import CLOSE, MIB, Listeners, Part, Script, Server, content_of, honest, part, run

SETTINGS = PeerSettings()
BODY = bytes(range(256)) * 4096
assert len(BODY) == MIB


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Server]:
    listeners = Listeners()
    server = Server(script)
    await listeners.serve(server)
    try:
        yield server
    finally:
        await listeners.close()


@asynccontextmanager
async def connections(settings: PeerSettings = SETTINGS) -> AsyncIterator[ConnectionPool]:
    made = ConnectionPool(settings)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[int]:
    fd = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


class Writing(list[int]):
    """Writes what comes to a file, and keeps the ends of it all."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def __call__(self, position: int, part: bytes | memoryview) -> None:
        os.pwrite(self._fd, part, position)
        self.append(position + len(part))


async def receive(pool: ConnectionPool, server: Server, fd: int, stop: int = MIB) -> int:
    """Fetch the beginning of the body as a transfer does; return how much came."""
    with pool.connection("127.0.0.1", server.port) as connection:
        answer = await pool.run(
            connection, partial(connection.get, "/x", {"Host": "x", "Range": f"bytes=0-{stop - 1}"})
        )
        assert answer.status == 206
        return await pool.run(connection, partial(connection.read_body, Writing(fd), 0, stop))


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, connections() as pool, target(tmp_path) as fd:
            for _ in range(3):
                assert await receive(pool, server, fd) == MIB
                assert os.pread(fd, MIB, 0) == BODY
            assert server.connections == 1
            await asyncio.gather(*(receive(pool, server, fd) for _ in range(4)))
            assert server.connections <= 4

    run(story())


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew(tmp_path: Path) -> None:
    async def story() -> None:
        closed = asyncio.Event()

        async def once(start: int, stop: int | None) -> Sequence[Part]:
            rest: list[Part] = [closed, CLOSE] if server.connections == 1 else []
            return [*part(BODY, start, stop), *rest]

        async with serving(once) as server, connections() as pool, target(tmp_path) as fd:
            assert await receive(pool, server, fd) == MIB
            closed.set()
            assert await receive(pool, server, fd) == MIB
            assert server.connections == 2

    run(story())


def test_one_that_breaks_off_beside_one_that_does_not_leaves_no_connection_open(tmp_path: Path) -> None:
    async def story() -> None:
        apart = asyncio.Event()

        async def script(start: int, stop: int | None) -> Sequence[Part]:
            answer = part(BODY, start, stop)
            return [*answer[:1], CLOSE] if stop == 7 else [answer[0], apart, answer[1]]

        async with serving(script) as server, connections() as pool, target(tmp_path) as fd:
            lasting = asyncio.create_task(receive(pool, server, fd))
            assert await receive(pool, server, fd, 7) == 0
            apart.set()
            assert await lasting == MIB
            apart.set()
            assert await receive(pool, server, fd) == MIB
            assert server.connections == 2  # the one that lasted is used again

    run(story())


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_transfer_that_is_cancelled_ends_though_nothing_comes(tmp_path: Path, where: str) -> None:
    async def story() -> None:
        asked = asyncio.Event()

        async def script(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            asked.set()
            return [asyncio.Event()] if where == "head" else [head, body[:1000], asyncio.Event()]

        async with serving(script) as server, connections() as pool, target(tmp_path) as fd:
            task = asyncio.create_task(receive(pool, server, fd))
            await asked.wait()
            while not task.done():  # wherever it is
                task.cancel()
                await asyncio.wait([task], timeout=0.01)
            assert task.cancelled()
            assert pool.idle_count == 0

    run(story())


def test_who_hangs_up_before_the_thread_has_begun_keeps_it_from_asking(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, connections() as pool:
            with pool.connection("127.0.0.1", server.port) as connection:
                connection.abort()
                with pytest.raises(OSError, match="given up"):
                    await pool.run(connection, partial(connection.get, "/x", {"Host": "x"}))
            assert server.requests == []

    run(story())


def test_what_comes_with_an_error_is_read_where_it_is_short_so_that_the_connection_can_be_used_again() -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, connections() as pool:
            for stop, kept in ((1000, True), (MIB, False)):
                with pool.connection("127.0.0.1", server.port) as connection:
                    await pool.run(
                        connection, partial(connection.get, "/x", {"Host": "x", "Range": f"bytes=0-{stop - 1}"})
                    )
                    await pool.run(connection, connection.drain)
                    assert connection.is_idle is kept
            assert pool.idle_count == 0
            assert server.connections == 1

    run(story())


def test_positions_are_told_as_the_bytes_come_and_end_with_the_last(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, connections() as pool, target(tmp_path) as fd:
            with pool.connection("127.0.0.1", server.port) as connection:
                await pool.run(
                    connection, partial(connection.get, "/x", {"Host": "x", "Range": f"bytes=100-{MIB - 1}"})
                )
                positions = Writing(fd)
                assert await pool.run(connection, partial(connection.read_body, positions, 100, MIB - 100)) == MIB - 100
            assert positions == sorted(set(positions))
            assert positions[-1] == MIB
            assert os.pread(fd, MIB, 100) == BODY[100:]

    run(story())


def test_bytes_that_trickle_all_come(tmp_path: Path) -> None:
    async def story() -> None:
        async def trickle(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            return [head, *(body[at : at + 5000] for at in range(0, len(body), 5000))]

        async with serving(trickle) as server, connections() as pool, target(tmp_path) as fd:
            assert await receive(pool, server, fd) == MIB
            assert os.pread(fd, MIB, 0) == BODY

    run(story())


def test_bytes_that_have_come_are_not_held_back_for_those_that_have_not(tmp_path: Path) -> None:
    async def story() -> None:
        rest, loop, told = asyncio.Event(), asyncio.get_running_loop(), asyncio.Event()

        async def in_two(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            return [head, body[: MIB // 2], rest, body[MIB // 2 :]]

        def arrived(position: int, part: bytes | memoryview) -> None:
            if position + len(part) >= MIB // 2:
                loop.call_soon_threadsafe(told.set)

        async with serving(in_two) as server, connections() as pool:
            with pool.connection("127.0.0.1", server.port) as connection:
                await pool.run(connection, partial(connection.get, "/x", {"Host": "x", "Range": f"bytes=0-{MIB - 1}"}))
                pouring = asyncio.create_task(pool.run(connection, partial(connection.read_body, arrived, 0, MIB)))
                await told.wait()
                rest.set()
                assert await pouring == MIB

    run(story())


JUNK = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "another HTTP": b"HTTP/2 200\r\n\r\n",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_what_is_no_answer_is_told_and_its_connection_closed(junk: bytes) -> None:
    async def story() -> None:
        async def script(start: int, stop: int | None) -> Sequence[Part]:
            return [junk]

        async with serving(script) as server, connections() as pool:
            with pool.connection("127.0.0.1", server.port) as connection:
                with pytest.raises(RemoteProtocolError):
                    await pool.run(connection, partial(connection.get, "/x", {"Host": "x", "Range": "bytes=0-9"}))
                assert not connection.is_idle
            assert pool.idle_count == 0

    run(story())


def test_a_fetch_whose_disk_takes_no_more_tells_so_and_shuns_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        async with lab(tmp_path, honest(BODY)) as it:
            await it.holder(honest(BODY))
            with monkeypatch.context() as patch:
                patch.setattr(backing, "write_all", full)
                with pytest.raises(StorageFailed, match="No space left"):
                    await it.read(content_of(BODY))
            assert it.fetching.health.unusable() == set()
            assert it.leftovers() == []
            assert await it.read(content_of(BODY)) == BODY

    run(story())


@pytest.mark.parametrize("odd", ["a\r\nb: c", "a\nb", "a\0b", "\u0107"])
@pytest.mark.parametrize("where", ["target", "header"])
def test_what_would_be_more_than_one_line_of_a_request_is_not_sent(odd: str, where: str) -> None:
    async def story() -> None:
        target, value = (odd, "x") if where == "target" else ("/x", odd)
        async with serving(honest(BODY)) as server, connections() as pool:
            with (
                pool.connection("127.0.0.1", server.port) as connection,
                pytest.raises(LocalProtocolError, match="cannot be sent"),
            ):
                await pool.run(connection, partial(connection.get, target, {"Host": value}))
            assert server.connections == 0

    run(story())


def test_a_connection_that_was_closed_is_idle_no_more() -> None:
    connection = Connection("127.0.0.1", 9, SETTINGS)
    connection.close()
    assert not connection.is_idle


@pytest.mark.parametrize(("idle_s", "is_kept"), [(1000.0, True), (-1.0, False)])
def test_connections_to_members_that_have_gone_are_closed(idle_s: float, *, is_kept: bool) -> None:
    async def story() -> None:
        settings = PeerSettings(idle_connection_s=idle_s)
        async with serving(honest(BODY)) as server, connections(settings) as pool:
            with pool.connection("127.0.0.1", server.port) as connection:
                head = await pool.run(connection, partial(connection.get, "/v2/library/x/blobs/b", {"Host": "x"}))
                await pool.run(
                    connection, partial(connection.read_body, lambda _offset, _part: None, 0, head.length or 0)
                )
            assert (connection.is_idle, pool.idle_count) == (True, 1)
            pool.expire()
            assert (connection.is_idle, pool.idle_count) == (is_kept, is_kept)

    run(story())
