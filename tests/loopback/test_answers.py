"""What a server sends in answer neither stalls the event loop nor fills memory, on both event loops."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from mirror.settings import AnswerSettings
from mirror.sources.answers import AnswerRefused, BoundedConnector

MIB = 1024 * 1024
BOUNDS = AnswerSettings()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Run = Callable[[Coroutine[Any, Any, None]], None]


class Parsed:
    """What aiohttp was given to parse: how many bytes, in which turn of the event loop."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = []
        self.turn = 0

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    @property
    def sizes(self) -> list[int]:
        return [size for size, _ in self.parts]

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def is_in_turns(self) -> bool:
        """Whether the event loop had a turn after each full read."""
        return all(
            later > turn for (size, turn), (_, later) in pairwise(self.parts) if size == BOUNDS.read_bytes
        ) and all(size <= BOUNDS.read_bytes for size in self.sizes)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Parsed:
    seen, original = Parsed(), ResponseHandler.data_received

    def data_received(self: ResponseHandler, data: bytes) -> None:
        if data:
            seen.parts.append((len(data), seen.turn))
        original(self, data)

    monkeypatch.setattr(ResponseHandler, "data_received", data_received)
    return seen


class Server:
    """Answers each request by the next of its answers, and the last one for ever; counts connections."""

    def __init__(self, *answers: bytes, for_ever: bytes = b"") -> None:
        self.answers = list(answers)
        self.for_ever = for_ever
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(self.answers.pop(0))
                await writer.drain()
                while self.for_ever and not self.answers:
                    writer.write(self.for_ever)
                    await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def talking(server: Server, parsed: Parsed | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with a server that runs."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    counting = asyncio.create_task(parsed.count_turns()) if parsed else None
    try:
        async with aiohttp.ClientSession(
            connector=BoundedConnector(BOUNDS), auto_decompress=False, read_bufsize=256 * 1024
        ) as session:
            yield session
    finally:
        if counting:
            counting.cancel()
        listening.close()


async def whole(session: aiohttp.ClientSession, server: Server) -> bytes:
    async with session.get(server.url) as answer:
        return await answer.read()


async def drained(session: aiohttp.ClientSession, server: Server) -> None:
    """Read an answer to its end, and keep nothing."""
    async with session.get(server.url) as answer:
        while await answer.content.readany():
            pass


def in_chunks(body: bytes, size: int) -> bytes:
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def test_aiohttp_still_has_the_insides_that_the_connector_leans_on() -> None:
    async def main() -> None:
        connector = aiohttp.TCPConnector()
        handler = vars(connector)["_factory"]()
        assert type(handler) is ResponseHandler
        await connector.close()

    asyncio.run(main())
    for name in ("connection_made", "connection_lost", "eof_received", "pause_writing", "resume_writing"):
        assert callable(getattr(ResponseHandler, name))
    for name in ("data_received", "feed_data", "set_response_params", "set_exception", "abort"):
        assert callable(getattr(ResponseHandler, name))
    assert "feed_data" in ResponseHandler.data_received.__code__.co_names
    assert "_create_connection" in aiohttp.TCPConnector.connect.__code__.co_names
    assert {"code", "chunked", "headers"} <= set(dir(aiohttp.http.RawResponseMessage))
    assert "total_bytes" in aiohttp.StreamReader.__init__.__code__.co_names
    assert list(inspect.signature(aiohttp.StreamReader.is_eof).parameters) == ["self"]


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 40_000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * MIB),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n", b"X-%b: y\r\n" % (b"y" * 8000) * 30),
        (b"", b"\r\n" * 100_000),
    ],
    ids=["hints", "continue", "lines", "a line", "wide lines", "empty lines"],
)
def test_a_head_without_end_is_refused_early(run: Run, parsed: Parsed, begin: bytes, part: bytes) -> None:
    async def main() -> None:
        server = Server(begin, for_ever=part)
        async with talking(server, parsed) as session:
            with pytest.raises(aiohttp.ClientError):
                await whole(session, server)
        assert parsed.total <= BOUNDS.head_max_bytes + BOUNDS.read_bytes
        assert parsed.is_in_turns()

    run(main())


def test_the_refusal_says_what_was_too_much(run: Run) -> None:
    async def main() -> None:
        server = Server(b"", for_ever=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000)
        async with talking(server) as session:
            with pytest.raises(AnswerRefused, match="head of its answer has more than 32768 bytes"):
                await whole(session, server)

    run(main())


@pytest.mark.parametrize(
    "part",
    [in_chunks(bytes(40_000), 1), in_chunks(bytes(200_000), 50), b"1;%b\r\nx\r\n" % (b"e" * 4000) * 50],
    ids=["of one byte", "of fifty bytes", "with long extensions"],
)
def test_absurdly_small_chunks_are_parsed_in_turns_and_refused(run: Run, parsed: Parsed, part: bytes) -> None:
    async def main() -> None:
        server = Server(CHUNKED, for_ever=part)
        async with talking(server, parsed) as session:
            with pytest.raises(AnswerRefused, match="chunks that are too small"):
                await drained(session, server)
        assert parsed.total <= 3 * MIB
        assert parsed.is_in_turns()

    run(main())


def test_trailers_without_end_are_refused(run: Run, parsed: Parsed) -> None:
    async def main() -> None:
        server = Server(CHUNKED + b"1\r\nx\r\n0\r\n", for_ever=b"X: y\r\n" * 40_000)
        async with talking(server, parsed) as session:
            with pytest.raises(aiohttp.ClientError):
                await whole(session, server)
        assert parsed.total <= BOUNDS.framing_bytes + 2 * BOUNDS.read_bytes
        assert parsed.is_in_turns()

    run(main())


def test_what_servers_send_passes_over_one_connection(run: Run, parsed: Parsed) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 16 * 1024
        wide = b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nhi" % (b"X: %b\r\n" % (b"y" * 7000) * 4)
        answers = {
            CHUNKED + in_chunks(body, 2048) + b"0\r\n\r\n": body,
            CHUNKED + in_chunks(body, 100_000) + b"0\r\nTrailer: x\r\n\r\n": body,
            CHUNKED + in_chunks(body[:8000], 1) + b"0\r\n\r\n": body[:8000],
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx": b"x",
            wide: b"hi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": b"",
            b"HTTP/1.1 204 No Content\r\n\r\n": b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body): body,
        }
        server = Server(*answers)
        async with talking(server, parsed) as session:
            for expected in answers.values():
                assert await whole(session, server) == expected
        assert server.connections == 1
        assert max(parsed.sizes) > BOUNDS.read_bytes, "a body of known length is read in large parts"

    run(main())


def test_a_body_that_the_end_of_the_connection_ends_is_read_to_it(run: Run) -> None:
    async def main() -> None:
        server = Server()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 * MIB))
            writer.close()

        server.serve = serve  # type: ignore[method-assign]
        async with talking(server) as session:
            assert await whole(session, server) == bytes(2 * MIB)

    run(main())


def test_a_reader_that_pauses_gets_every_byte(run: Run, parsed: Parsed) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 16 * 1024
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        server = Server(head + body, CHUNKED + in_chunks(body, 4000) + b"0\r\n\r\n")
        async with talking(server, parsed) as session:
            for _ in range(2):
                async with session.get(server.url) as answer:
                    got = b""
                    while part := await answer.content.read(100_000):
                        got += part
                        for _ in range(20):
                            await asyncio.sleep(0)
                    assert got == body

    run(main())


def test_what_follows_an_answer_unasked_closes_the_connection(run: Run, parsed: Parsed) -> None:
    async def main() -> None:
        first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        server = Server(first, for_ever=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000)
        async with talking(server, parsed) as session:
            assert await whole(session, server) == b"hi"
            server.for_ever = b""
            server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain"]
            assert await whole(session, server) == b"again"
        assert parsed.total <= 3 * BOUNDS.read_bytes
        assert parsed.is_in_turns()

    run(main())
