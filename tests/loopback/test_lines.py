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
from mirror.sources.peers import connections as transfer
from mirror.sources.peers.connections import BadAnswer, Head, Line, Lines
from tests.loopback.conftest import CLOSE, MIB, Listeners, Part, Script, Server, content_of, honest, lab, part, run

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
async def lines() -> AsyncIterator[Lines]:
    made = Lines()
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

    def __call__(self, position: int, part: bytes) -> None:
        os.pwrite(self._fd, part, position)
        self.append(position + len(part))


async def receive(many: Lines, server: Server, fd: int, stop: int = MIB) -> int:
    """Fetch the beginning of the body as a transfer does; return how much came."""
    with many.line("127.0.0.1", server.port) as line:
        answer = await many.run(line, partial(line.ask, "/x", {"Host": "x", "Range": f"bytes=0-{stop - 1}"}))
        assert answer.status == 206
        return await many.run(line, partial(line.pour, Writing(fd), 0, stop))


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, lines() as many, target(tmp_path) as fd:
            for _ in range(3):
                assert await receive(many, server, fd) == MIB
                assert os.pread(fd, MIB, 0) == BODY
            assert server.connections == 1
            await asyncio.gather(*(receive(many, server, fd) for _ in range(4)))
            assert server.connections <= 4

    run(story())


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew(tmp_path: Path) -> None:
    async def story() -> None:
        closed = asyncio.Event()

        async def once(start: int, stop: int | None) -> Sequence[Part]:
            rest: list[Part] = [closed, CLOSE] if server.connections == 1 else []
            return [*part(BODY, start, stop), *rest]

        async with serving(once) as server, lines() as many, target(tmp_path) as fd:
            assert await receive(many, server, fd) == MIB
            closed.set()
            assert await receive(many, server, fd) == MIB
            assert server.connections == 2

    run(story())


def test_one_that_breaks_off_beside_one_that_does_not_leaves_no_connection_open(tmp_path: Path) -> None:
    async def story() -> None:
        apart = asyncio.Event()

        async def script(start: int, stop: int | None) -> Sequence[Part]:
            answer = part(BODY, start, stop)
            return [*answer[:1], CLOSE] if stop == 7 else [answer[0], apart, answer[1]]

        async with serving(script) as server, lines() as many, target(tmp_path) as fd:
            lasting = asyncio.create_task(receive(many, server, fd))
            assert await receive(many, server, fd, 7) == 0
            apart.set()
            assert await lasting == MIB
            apart.set()
            assert await receive(many, server, fd) == MIB
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

        async with serving(script) as server, lines() as many, target(tmp_path) as fd:
            task = asyncio.create_task(receive(many, server, fd))
            await asked.wait()
            while not task.done():  # wherever it is
                task.cancel()
                await asyncio.wait([task], timeout=0.01)
            assert task.cancelled()
            assert many._kept == {}

    run(story())


def test_who_hangs_up_before_the_thread_has_begun_keeps_it_from_asking(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, lines() as many:
            with many.line("127.0.0.1", server.port) as line:
                line.hang_up()
                with pytest.raises(OSError, match="given up"):
                    await many.run(line, partial(line.ask, "/x", {"Host": "x"}))
            assert server.requests == []

    run(story())


def test_what_comes_with_an_error_is_read_where_it_is_short_so_that_the_connection_can_be_used_again() -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, lines() as many:
            for stop, kept in ((1000, True), (MIB, False)):
                with many.line("127.0.0.1", server.port) as line:
                    await many.run(line, partial(line.ask, "/x", {"Host": "x", "Range": f"bytes=0-{stop - 1}"}))
                    await many.run(line, line.drain)
                    assert line.idle is kept
            assert many._kept == {}
            assert server.connections == 1

    run(story())


def test_positions_are_told_as_the_bytes_come_and_end_with_the_last(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, lines() as many, target(tmp_path) as fd:
            with many.line("127.0.0.1", server.port) as line:
                await many.run(line, partial(line.ask, "/x", {"Host": "x", "Range": f"bytes=100-{MIB - 1}"}))
                positions = Writing(fd)
                assert await many.run(line, partial(line.pour, positions, 100, MIB - 100)) == MIB - 100
            assert positions == sorted(set(positions))
            assert positions[-1] == MIB
            assert os.pread(fd, MIB, 100) == BODY[100:]

    run(story())


def test_bytes_that_trickle_all_come(tmp_path: Path) -> None:
    async def story() -> None:
        async def trickle(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            return [head, *(body[at : at + 5000] for at in range(0, len(body), 5000))]

        async with serving(trickle) as server, lines() as many, target(tmp_path) as fd:
            assert await receive(many, server, fd) == MIB
            assert os.pread(fd, MIB, 0) == BODY

    run(story())


def test_bytes_that_have_come_are_not_held_back_for_those_that_have_not(tmp_path: Path) -> None:
    async def story() -> None:
        rest, loop, told = asyncio.Event(), asyncio.get_running_loop(), asyncio.Event()

        async def in_two(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(BODY, start, stop)
            return [head, body[: MIB // 2], rest, body[MIB // 2 :]]

        def arrived(position: int, part: bytes) -> None:
            if position + len(part) >= MIB // 2:
                loop.call_soon_threadsafe(told.set)

        async with serving(in_two) as server, lines() as many:
            with many.line("127.0.0.1", server.port) as line:
                await many.run(line, partial(line.ask, "/x", {"Host": "x", "Range": f"bytes=0-{MIB - 1}"}))
                pouring = asyncio.create_task(many.run(line, partial(line.pour, arrived, 0, MIB)))
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

        async with serving(script) as server, lines() as many:
            with many.line("127.0.0.1", server.port) as line:
                with pytest.raises(BadAnswer):
                    await many.run(line, partial(line.ask, "/x", {"Host": "x", "Range": "bytes=0-9"}))
                assert not line.idle
            assert many._kept == {}

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
            assert it.fetcher.shunned() == set()
            assert it.leftovers() == []
            assert await it.read(content_of(BODY)) == BODY

    run(story())


@pytest.mark.parametrize(
    ("said", "length"),
    [("0", 0), ("12", 12), ("9" * 19, 10**19 - 1), ("9" * 20, None), ("9" * 5000, None), ("-1", None), ("\xb2", None)],
)
def test_a_length_is_read_where_it_is_one(said: str, length: int | None) -> None:
    head = Head.parse(f"HTTP/1.1 200 OK\r\nContent-Length: {said}".encode("latin-1"))
    assert head.length == length


@pytest.mark.parametrize("odd", ["a\r\nb: c", "a\nb", "a\0b", "\u0107"])
@pytest.mark.parametrize("where", ["target", "header"])
def test_what_would_be_more_than_one_line_of_a_request_is_not_sent(odd: str, where: str) -> None:
    async def story() -> None:
        target, value = (odd, "x") if where == "target" else ("/x", odd)
        async with serving(honest(BODY)) as server, lines() as many:
            with many.line("127.0.0.1", server.port) as line, pytest.raises(BadAnswer, match="cannot be asked"):
                await many.run(line, partial(line.ask, target, {"Host": value}))
            assert server.connections == 0

    run(story())


def test_a_line_that_was_closed_is_idle_no_more() -> None:
    line = Line("127.0.0.1", 9)
    line.close()
    assert not line.idle


def test_connections_to_members_that_have_gone_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with serving(honest(BODY)) as server, lines() as made:
            with made.line("127.0.0.1", server.port) as line:
                head = await made.run(line, partial(line.ask, "/v2/library/x/blobs/b", {"Host": "x"}))
                await made.run(line, partial(line.pour, lambda _offset, _part: None, 0, head.length or 0))
            made.expire()
            assert line.idle
            monkeypatch.setattr(transfer, "_KEPT_S", -1.0)
            made.expire()
            assert not line.idle
            assert not made._kept

    run(story())
