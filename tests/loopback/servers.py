"""Servers that do what a test tells them to, good or bad, and what tests on loopback have in common."""

import asyncio
import contextlib
import functools
import hashlib
import os
import random
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import uvloop

from mirror.cluster.homes import piece_size
from mirror.oci.content import Content
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.reference import Repository
from mirror.sources import RangeReply
from testbed.processes import wait_until

MIB = 1024 * 1024
LARGE = random.Random(1).randbytes(12 * MIB + 345)
SMALL = LARGE[: 3 * MIB]
WITHIN_S = 40.0
CLOSE = b"<close>"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

"""A silent member is noticed soon."""

Part = bytes | asyncio.Event
"""Bytes to send, or an event to wait for before what follows; CLOSE ends the connection."""


class Request(NamedTuple):
    """A request as it came, with the range asked for."""

    method: str
    path: str
    start: int
    stop: int | None
    headers: Mapping[str, str]
    ranged: bool


Script = Callable[[int, int | None], Awaitable[Sequence[Part]]]
"""Given the range asked for, what to answer."""


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a story within bounds; no descriptor may be left open. Servers of other threads close theirs after ours."""
    uvloop.new_event_loop().close()
    before = len(os.listdir("/proc/self/fd"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story, WITHIN_S))
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors to be closed")


class Memory:
    """A sink that keeps what comes.

    Args:
        trouble: what it says instead of taking it.
    """

    def __init__(self, trouble: Exception | None = None) -> None:
        self.body = bytearray()
        self.came = asyncio.Event()
        self.promise: RangeReply | None = None
        self._trouble = trouble
        self._loop = asyncio.get_running_loop()

    async def begin(self, promise: RangeReply) -> None:
        if self._trouble is not None:
            raise self._trouble
        self.promise = promise

    def begin_at_once(self, promise: RangeReply) -> bool:
        self.promise = promise
        return self._trouble is None

    async def wait_for_space(self, position: int) -> None:
        raise NotImplementedError

    def put(self, position: int, part: bytes | memoryview) -> None:
        self.body += part
        self._loop.call_soon_threadsafe(self.came.set)


def content_of(body: bytes, repository: str = "library/x", algorithm: Algorithm = Algorithm.SHA256) -> Content:
    return Content(Repository.parse(repository), "blobs", Digest.of(body, algorithm))


def corrupt(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def inverted(body: bytes) -> bytes:
    """Every byte wrong."""
    return body.translate(bytes(range(255, -1, -1)))


def part(body: bytes, start: int, stop: int | None, **lies: Any) -> list[bytes]:
    """A 206 answer, honest but for the lies."""
    end = min(stop or len(body), len(body))
    said = lies.get("content_range", f"bytes {start}-{end - 1}/{lies.get('size', len(body))}")
    sent = lies.get("sent", body[start:end])
    length = lies.get("length", end - start)
    more = "".join(f"{name}: {value}\r\n" for name, value in lies.get("headers", {}).items())
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: {said}\r\nContent-Length: {length}\r\n{more}\r\n"
    return [head.encode(), sent]


def refusal(status: int, reason: str = "") -> bytes:
    """What a member answers that does not give something."""
    said = f"Skvaller-Reason: {reason}\r\n" if reason else ""
    return f"HTTP/1.1 {status} No\r\n{said}Content-Length: 0\r\n\r\n".encode()


def honest(body: bytes, **lies: Any) -> Script:
    async def script(start: int, stop: int | None) -> Sequence[Part]:
        return part(body, start, stop, **lies)

    return script


def always(*answer: Part) -> Script:
    async def script(start: int, stop: int | None) -> Sequence[Part]:
        return answer

    return script


async def stalls(start: int, stop: int | None) -> Sequence[Part]:
    """Never answers."""
    await asyncio.Event().wait()
    return []


async def breaks_off(start: int, stop: int | None) -> Sequence[Part]:
    """Sends half of LARGE's bytes that it is asked for."""
    head, body = part(LARGE, start, stop)
    return [head, body[: len(body) // 2], CLOSE]


@functools.cache
def prefixes_of(body: bytes) -> bytes:
    """For each whole piece the sha256 of everything up to its end. The event loop that is tested waits meanwhile."""
    unit, sha256, said = piece_size(len(body)), hashlib.sha256(), b""
    for end in range(unit, len(body) + 1, unit):
        sha256.update(memoryview(body)[end - unit : end])
        said += sha256.digest()
    return said


def testimony(body: bytes, request: "Request") -> bytes:
    """What a holder of some content answers to a question about its copy."""
    if request.headers["skvaller-want"] == "prefixes":
        said = prefixes_of(body)
    else:
        said = hashlib.sha256(body[request.start : request.stop]).digest()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


@dataclass
class Server:
    """An HTTP server that follows a script.

    Args:
        script: says what to answer to a range.
        alive: whether it gives a sign of life when asked for one.
    """

    script: Script
    alive: bool = True
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    signs: int = 0
    vouches_for: bytes | None = None
    """What it says that it holds, when it is asked to vouch for bytes of others; None if it does not vouch."""
    vouched: list[str] = field(default_factory=list)
    """What it was asked to say of its copy."""
    told: list[str] = field(default_factory=list)
    """Ranges of which it was told that it sent wrong bytes."""
    on_sign: Callable[[int], None] = lambda count: None
    """Is told how many signs of life it has given."""
    port: int = 0
    answering: set[asyncio.StreamReader] = field(default_factory=set)
    """Connections of requests that are not answered to the end, those for a sign of life apart."""

    @property
    def awaited(self) -> int:
        """How many requests are not answered to the end, and not given up by who asked either."""
        return sum(not reader.at_eof() for reader in self.answering)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = _parsed((await reader.readuntil(b"\r\n\r\n")).decode())
                if request.path == "/v2/" and self.gives_a_sign(request):
                    writer.write(ALIVE)
                    self.signs += 1
                    self.on_sign(self.signs)
                    continue
                if request.path != "/v2/":
                    self.answering.add(reader)
                try:
                    for data in await self.answer(request):
                        if data is CLOSE or reader.at_eof():
                            return
                        if isinstance(data, asyncio.Event):
                            await data.wait()
                        else:
                            writer.write(data)
                            await writer.drain()
                            self.sent(request, data)
                finally:
                    self.answering.discard(reader)
        writer.close()

    def gives_a_sign(self, request: Request) -> bool:
        """Whether it gives a sign of life to who asks for one."""
        return self.alive

    async def answer(self, request: Request) -> Sequence[Part]:
        if request.path == "/v2/":
            await asyncio.Event().wait()
        if (want := request.headers.get("skvaller-want")) is not None:
            self.vouched.append(want)
            return [testimony(self.vouches_for, request) if self.vouches_for else refusal(503, "busy")]
        if (wrong := request.headers.get("skvaller-wrong")) is not None:
            self.told.append(wrong)
            return [NOT_FOUND]
        if request.method == "GET":
            self.asked.append((request.start, request.stop))
        self.requests.append(request)
        answer = await self.script(request.start, request.stop)
        if not request.ranged and answer and isinstance(head := answer[0], bytes):
            answer = [head.replace(b"206 Partial Content", b"200 OK"), *answer[1:]]
        return answer[:1] if request.method == "HEAD" else answer

    def sent(self, request: Request, data: bytes) -> None:
        """Bytes are with the kernel, the head's included."""


def _parsed(text: str) -> Request:
    line, *fields = text.rstrip("\r\n").split("\r\n")
    method, path, _ = line.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in fields)}
    wanted = re.match(r"bytes=(\d+)-(\d*)$", headers.get("range", ""))
    start = int(wanted[1]) if wanted else 0
    stop = int(wanted[2]) + 1 if wanted and wanted[2] else None
    return Request(method, path.split("?")[0], start, stop, headers, wanted is not None)


def without_delay(listener: socket.socket) -> socket.socket:
    """Have its connections send at once, as the agent's and all registries' do: else a body waits 40 ms for an ACK."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class Listeners:
    """Opens scripted servers, and ends them and their connections."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, scripted: Server, host: str = "127.0.0.1") -> None:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await scripted.serve(reader, writer)
            except asyncio.CancelledError:
                pass  # the end of the test
            finally:
                self._tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connection, sock=without_delay(socket.create_server((host, 0))))
        self._servers.append(server)
        scripted.port = server.sockets[0].getsockname()[1]

    async def end(self, scripted: Server) -> None:
        """Let a server be gone before anybody has connected."""
        for server in self._servers:
            if server.sockets and server.sockets[0].getsockname()[1] == scripted.port:
                server.close()
                await server.wait_closed()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
