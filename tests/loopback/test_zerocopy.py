"""Zero-copy bodies under a real uvicorn, over real connections, on both event loops."""

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mirror.app.blob import BlobResponse, LongResponse, of_file
from mirror.app.zerocopy import EXTENSION, ZeroCopyProtocol
from mirror.errors import Reason, SourceError
from mirror.settings import ServerSettings

MIB = 1024 * 1024
SIZE = 5 * MIB + 17

Run = Callable[[Coroutine[Any, Any, None]], None]
Answer = Callable[[Send], Awaitable[None]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random bytes."""
    path = tmp_path_factory.mktemp("zerocopy") / "blob"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


@pytest.fixture(scope="module")
def content(path: Path) -> bytes:
    return path.read_bytes()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, http: type[HttpToolsProtocol] = ZeroCopyProtocol, **settings: Any
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A uvicorn with one application; gives it and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=http, ws="none", lifespan="off", log_config=None, access_log=False, **settings)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def ask(path: str = "/", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def head(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return {"status": lines[0].split(" ")[1], **fields}


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer with a Content-Length; return its body."""
    return await reader.readexactly(int((await head(reader))["content-length"]))


def start(length: int | None) -> Message:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def copied(body: bytes, more_body: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more_body}


def moved(file: Any, offset: int | None, count: int | None, more_body: bool = False) -> Message:
    return {"type": EXTENSION, "file": file, "offset": offset, "count": count, "more_body": more_body}


def sender(*messages: Message) -> ASGIApp:
    """An application that answers every request with these messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def whole(path: Path) -> ASGIApp:
    """An application that answers with the whole file."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with path.open("rb") as file:
            await blob(file.fileno(), [(0, SIZE)])(scope, receive, send)

    return app


def blob(fd: int, extents: Any, length: int = SIZE) -> BlobResponse:
    placed = [(fd, *extent) for extent in extents] if isinstance(extents, list) else of_file(fd, extents)
    return BlobResponse(200, [(b"content-length", b"%d" % length)], placed)


class Witness:
    """An application around a response; tells when the response has ended."""

    def __init__(self, response: Callable[[], LongResponse]) -> None:
        self._response = response
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response()(scope, receive, send)
        finally:
            self.ended.set()


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Warnings and errors in the log, but for the debug mode's remarks about a loop that a busy machine held up."""
    warnings = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return [record for record in warnings if not (record.name == "asyncio" and "Executing" in record.getMessage())]


def test_uvicorn_still_has_the_insides_that_the_protocol_leans_on() -> None:
    protocol = uvicorn.Config(sender(), http=ZeroCopyProtocol, log_config=None)
    protocol.load()

    async def make() -> ZeroCopyProtocol:
        return ZeroCopyProtocol(config=protocol, server_state=uvicorn.server.ServerState(), app_state={})

    made = asyncio.run(make())
    own = {
        "app",
        "loop",
        "scheme",
        "scope",
        "headers",
        "server",
        "transport",
        "flow",
        "parser",
        "cycle",
        "server_state",
    }
    assert own <= vars(made).keys()
    cycle = RequestResponseCycle.__init__.__code__.co_names
    assert {"response_started", "response_complete", "disconnected", "chunked_encoding"} <= set(cycle)
    assert {"keep_alive", "waiting_for_100_continue", "more_body"} <= set(cycle)
    assert "expected_content_length" in RequestResponseCycle.send.__code__.co_names
    assert "read_paused" in FlowControl.__init__.__code__.co_names
    for name in ("drain", "pause_reading", "resume_reading"):
        assert callable(getattr(FlowControl, name))
    for name in ("on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete"):
        assert callable(getattr(HttpToolsProtocol, name))


BODIES: list[list[bytes | tuple[int, int]]] = [
    [(0, SIZE)],
    [(3 * MIB + 5, 1)],
    [(MIB - 1, 2 * MIB + 3)],
    [(4096, SIZE - 4096), (0, 4096)],
    [(0, 0), (10, 2 * MIB), (2 * MIB, 0), (0, 100)],
    [b"before", (17, 2 * MIB), b"x" * 300_000, b"", (5, 70_000), b"after"],
]


@pytest.mark.parametrize("chunked", [False, True])
def test_extents_and_ordinary_bodies_arrive_exactly_and_in_order(
    run: Run, path: Path, content: bytes, chunked: bool
) -> None:
    bodies = [b"".join(part if isinstance(part, bytes) else cut(content, *part) for part in body) for body in BODIES]

    async def main() -> None:
        with path.open("rb") as file:

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                number = int(scope["path"][1:])
                await send(start(None if chunked else len(bodies[number])))
                for part in BODIES[number]:
                    await send(copied(part, True) if isinstance(part, bytes) else moved(file, part[0], part[1], True))
                await send(copied(b""))

            async with serving(app) as (_, port), connected(port) as (reader, writer):
                for number, body in enumerate(bodies):
                    writer.write(ask(f"/{number}"))
                    assert (await unchunked(reader) if chunked else await answer(reader)) == body

    run(main())


def cut(content: bytes, offset: int, count: int) -> bytes:
    return content[offset : offset + count]


async def unchunked(reader: asyncio.StreamReader) -> bytes:
    assert (await head(reader))["transfer-encoding"] == "chunked"
    body = b""
    while length := int(await reader.readline(), 16):
        body += await reader.readexactly(length)
        assert await reader.readline() == b"\r\n"
    assert await reader.readline() == b"\r\n"
    return body


def test_without_offset_and_count_the_rest_of_the_file_goes_and_its_position_moves(
    run: Run, path: Path, content: bytes
) -> None:
    async def main() -> None:
        with path.open("rb", buffering=0) as file:
            file.seek(MIB)
            app = sender(start(SIZE - MIB), moved(file, None, 2 * MIB, True), moved(file.fileno(), None, None))
            async with serving(app) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                assert await answer(reader) == content[MIB:]
            assert file.tell() == SIZE

    run(main())


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(
    run: Run, path: Path, content: bytes
) -> None:
    zero_copy = whole(path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/blob":
            await zero_copy(scope, receive, send)
        else:
            await send(start(5))
            await send(copied(b"small"))

    async def main() -> None:
        async with serving(app) as (_, port), connected(port) as (reader, writer):
            writer.write(ask("/blob") + ask("/other") + ask("/blob", "HEAD") + ask("/blob"))
            assert await answer(reader) == content
            assert await answer(reader) == b"small"
            assert (await head(reader))["content-length"] == str(SIZE)
            assert await answer(reader) == content
            writer.write(ask("/other"))
            assert await answer(reader) == b"small"

    run(main())


@pytest.mark.parametrize("protocol", [ZeroCopyProtocol, HttpToolsProtocol])
def test_head_gets_the_headers_alone(run: Run, path: Path, protocol: type[HttpToolsProtocol]) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            bare = sender(start(SIZE), moved(file, 0, SIZE)) if protocol is ZeroCopyProtocol else whole(path)
            for app in (bare, whole(path)):
                async with serving(app, protocol) as (_, port), connected(port) as (reader, writer):
                    writer.write(ask(method="HEAD"))
                    assert (await head(reader))["content-length"] == str(SIZE)
                    writer.write(ask(method="HEAD"))
                    assert (await head(reader))["content-length"] == str(SIZE)

    run(main())


def test_a_bad_request_during_a_body_does_not_land_in_the_body(run: Run, path: Path, content: bytes) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), [(0, SIZE)] * 50, 50 * SIZE))
            async with serving(app) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                await head(reader)
                writer.write(b"\x00 this is no request \r\n\r\n")
                for _ in range(50):
                    assert await reader.readexactly(SIZE) == content
                await app.ended.wait()
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")

    run(main())


def test_a_client_that_goes_in_the_middle_ends_the_answer_quietly(
    run: Run, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            extents = [(0, SIZE)] * 50
            app = Witness(lambda: blob(file.fileno(), extents, 50 * SIZE))
            async with serving(app) as (_, port):
                async with connected(port) as (reader, writer):
                    writer.write(ask())
                    await head(reader)
                    await reader.readexactly(100_000)
                    writer.transport.abort()
                await app.ended.wait()

    run(main())
    assert [record.getMessage() for record in complaints(caplog)] == []


@pytest.mark.parametrize("protocol", [ZeroCopyProtocol, HttpToolsProtocol])
def test_a_client_that_goes_while_bytes_are_awaited_ends_the_answer_quietly(
    run: Run, path: Path, protocol: type[HttpToolsProtocol], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def extents() -> AsyncIterator[tuple[int, int]]:
            try:
                yield 0, MIB
                await asyncio.Event().wait()
            finally:
                closed.set()

        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), extents()))
            async with serving(app, protocol) as (_, port):
                async with connected(port) as (reader, writer):
                    writer.write(ask())
                    await head(reader)
                    await reader.readexactly(MIB)
                await app.ended.wait()
            assert closed.is_set()

    run(main())
    assert [record.getMessage() for record in complaints(caplog)] == []


def test_the_head_is_sent_before_the_first_extent_is_there(run: Run, path: Path, content: bytes) -> None:
    async def main() -> None:
        arrived = asyncio.Event()

        async def extents() -> AsyncIterator[tuple[int, int]]:
            await arrived.wait()
            yield 0, 2 * MIB
            yield 2 * MIB, SIZE - 2 * MIB

        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), extents()))
            async with serving(app) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                assert (await head(reader))["content-length"] == str(SIZE)
                arrived.set()
                assert await reader.readexactly(SIZE) == content

    run(main())


def broken_extents() -> AsyncIterator[tuple[int, int]]:
    async def extents() -> AsyncIterator[tuple[int, int]]:
        yield 0, 3 * MIB
        raise SourceError(Reason.STALLED, "every source is gone")

    return extents()


@pytest.mark.parametrize("protocol", [ZeroCopyProtocol, HttpToolsProtocol])
def test_a_source_that_fails_makes_a_short_body_with_an_orderly_end(
    run: Run, path: Path, content: bytes, protocol: type[HttpToolsProtocol], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mirror.app.blob")

    async def main() -> None:
        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), broken_extents()))
            async with serving(app, protocol) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                await head(reader)
                assert await reader.read() == content[: 3 * MIB]  # raises if the connection was reset

    run(main())
    told = [record for record in caplog.records if record.name == "mirror.app.blob"]
    assert ["every source is gone" in record.getMessage() for record in told] == [True]
    assert all(record.exc_info is None for record in caplog.records)
    if protocol is ZeroCopyProtocol:
        assert complaints(caplog) == []


def test_a_file_that_ends_early_makes_a_short_body(
    run: Run, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mirror.app.blob")

    async def main() -> None:
        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), [(0, SIZE + MIB)], SIZE + MIB))
            async with serving(app) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                await head(reader)
                assert await reader.read() == content

    run(main())
    assert complaints(caplog) == []
    told = [record.getMessage() for record in caplog.records if record.name == "mirror.app.blob"]
    assert len(told) == 1
    assert f"the file ends at byte {SIZE}" in told[0]


@pytest.mark.parametrize("body", ["file", "copied"])
def test_a_client_that_takes_nothing_is_let_go(
    run: Run, path: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    impatient: Any = partial(ZeroCopyProtocol, settings=ServerSettings(stall_timeout_s=0.05))

    async def main() -> None:
        with path.open("rb") as file:
            extents = [(0, SIZE)] * 50 if body == "file" else [(0, 60_000)] * (50 * SIZE // 60_000)
            app = Witness(lambda: blob(file.fileno(), extents, sum(count for _, count in extents)))
            async with serving(app, impatient) as (_, port), connected(port) as (reader, writer):
                writer.write(ask())
                await head(reader)
                await app.ended.wait()

    run(main())
    assert [record.getMessage() for record in complaints(caplog)] == []


@pytest.mark.parametrize("protocol", [ZeroCopyProtocol, HttpToolsProtocol])
def test_many_clients_at_once_get_every_byte(
    run: Run, path: Path, content: bytes, protocol: type[HttpToolsProtocol]
) -> None:
    async def fetch(port: int) -> str:
        async with connected(port) as (reader, writer):
            writer.write(ask())
            return hashlib.sha256(await answer(reader)).hexdigest()

    async def main() -> None:
        async with serving(whole(path), protocol) as (_, port):
            digests = await asyncio.gather(*(fetch(port) for _ in range(64)))
            assert set(digests) == {hashlib.sha256(content).hexdigest()}

    run(main())


def test_what_is_not_in_the_page_cache_is_sent_too(run: Run, path: Path, content: bytes) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), [(0, SIZE)]))
            async with serving(app) as (_, port), connected(port) as (reader, writer):
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                writer.write(ask())
                assert await answer(reader) == content

    run(main())


def test_a_server_that_is_to_stop_ends_what_it_is_sending(run: Run, path: Path, content: bytes) -> None:
    async def main() -> None:
        async with serving(whole(path)) as (server, port), connected(port) as (reader, writer):
            writer.write(ask())
            fields = await head(reader)
            server.should_exit = True
            body = await reader.readexactly(int(fields["content-length"]))
            assert body == content
            assert await reader.read() == b""

    run(main())


def test_a_server_whose_patience_is_over_cuts_the_answer_without_a_stack_trace(
    run: Run, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            app = Witness(lambda: blob(file.fileno(), [(0, SIZE)] * 50, 50 * SIZE))
            async with (
                serving(app, timeout_graceful_shutdown=0) as (server, port),
                connected(port) as (reader, writer),
            ):
                writer.write(ask())
                await head(reader)
                server.should_exit = True
                await app.ended.wait()

    run(main())
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_a_body_longer_than_announced_is_refused(run: Run, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with path.open("rb") as file:
            async with (
                serving(sender(start(10), moved(file, 0, 11))) as (_, port),
                connected(port) as (reader, writer),
            ):
                writer.write(ask())
                await head(reader)
                assert await reader.read() == b""

    run(main())
    assert any("longer than Content-Length" in str(record.exc_info) for record in caplog.records)
