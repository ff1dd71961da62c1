"""Bodies that an application takes as they come, over real connections."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.settings import ServerSettings
from tests.loopback.test_zerocopy import answer, connected, head, serving

BODY = random.Random(5).randbytes(1_500_000)
LENGTH = f"Content-Length: {len(BODY)}\r\n"


class Streaming(ZeroCopyProtocol):
    """A connection whose application takes all bodies below `/take` as they come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = ServerSettings(linger_s=5.0, linger_max_bytes=4_000_000, stall_timeout_s=5.0)
        streams = lambda method, path: path.startswith("/take")  # noqa: E731
        super().__init__(*args, **kwargs, settings=settings, streams=streams)


@contextlib.asynccontextmanager
async def asked(app: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with serving(app, Streaming) as (_, port), connected(port) as pair:
        yield pair


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body; of `/take/none` and `/none` it reads nothing."""
    body = b""
    while not scope["path"].endswith("/none"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def request(fields: str = LENGTH, path: str = "/take") -> bytes:
    return f"PUT {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send until the other end has enough."""
    while True:
        writer.write(BODY)
        await writer.drain()


def in_chunks(body: bytes, size: int) -> bytes:
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def test_bodies_of_both_kinds_come_one_after_the_other_on_one_connection() -> None:
    async def story() -> None:
        async with asked(count) as (reader, writer):
            chunked = request("Transfer-Encoding: chunked\r\n") + in_chunks(BODY, 70_001)
            writer.write(request() + BODY + chunked + request("") + request("Content-Length: 3\r\n", "/else") + b"abc")
            assert await answer(reader) == BODY
            assert await answer(reader) == BODY
            assert await answer(reader) == b""
            assert await answer(reader) == b"abc"

    run(story)


def test_who_waits_to_be_told_to_go_on_is_told() -> None:
    async def story() -> None:
        async with asked(count) as (reader, writer):
            writer.write(request(LENGTH + "Expect: 100-continue\r\n"))
            assert (await head(reader))["status"] == "100"
            writer.write(BODY)
            assert await answer(reader) == BODY

    run(story)


@pytest.mark.parametrize(("path", "length"), [("/take/none", len(BODY)), ("/none", 2000)])
def test_an_answer_before_the_end_of_a_body_reaches_a_client_that_still_sends(path: str, length: int) -> None:
    """And says that it is the last on this connection, on which the client would ask the next time."""

    async def story() -> None:
        async with asked(count) as (reader, writer):
            writer.write(request(f"Content-Length: {length}\r\n", path) + BODY[:1000])
            answered = await head(reader)
            assert (answered["status"], answered["connection"]) == ("200", "close")
            writer.write(BODY[1000:length])
            await writer.drain()
            assert await reader.read() == b"", "the connection ends, and is not reset"

    run(story)


def test_what_still_comes_after_such_an_answer_is_bounded() -> None:
    async def story() -> None:
        async with asked(count) as (reader, writer):
            writer.write(request("Content-Length: 100000000\r\n", "/take/none"))
            await head(reader)
            with pytest.raises(ConnectionError):
                await flood(writer)

    run(story)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
    ],
)
def test_a_body_that_others_might_read_otherwise_is_refused(fields: str, status: str) -> None:
    async def story() -> None:
        async with asked(count) as (reader, writer):
            writer.write(request(fields) + b"3\r\nabc\r\n0\r\n\r\n")
            assert (await head(reader))["status"] == status
            await reader.read()  # to the end of the connection

    run(story)


def test_what_are_no_chunks_ends_the_connection_and_the_application_hears_of_it() -> None:
    async def story() -> None:
        ended = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await count(scope, receive, send)
            ended.set()

        async with asked(app) as (reader, writer):
            writer.write(request("Transfer-Encoding: chunked\r\n") + b"3\r\nabcd\r\n")
            assert await reader.read() == b""
            await ended.wait()

    run(story)
