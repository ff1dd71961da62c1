"""A proxy in front of a registry that fails in the ways in which registries do; it counts what it lets pass."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
from aiohttp import web

from .network import Address, enter

_PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "Docker-Content-Digest")
_CHUNK_BYTES = 64 * 1024
_SEND_BUFFER_BYTES = 128 * 1024
"""Bounds what the kernel keeps of an answer that nobody reads, in bytes: by itself it takes up to 4 MB of each, and
that would count as served. A connection to a real registry holds about as much: 50 Mbit/s for 20 ms."""
_LIMITED = '{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit reached"}]}'


class Wrong(NamedTuple):
    """A byte that was changed in an answer.

    Args:
        node: who asked.
        what: the digest of the content.
        offset: of the byte in the content.
    """

    node: str
    what: str
    offset: int


class FaultyUpstream:
    """The proxy, with an address for each node, so that it knows who asks. Its faults are set while it runs.

    Args:
        registry: address of the registry behind it.
        nodes: names of the nodes that ask.
        host: IP address where it listens.
        netns: network namespace that it runs in.
    """

    def __init__(
        self, registry: Address, nodes: Sequence[str], *, host: str = "127.0.0.1", netns: str | None = None
    ) -> None:
        self.served: Counter[str] = Counter()
        """Bytes of content, by digest."""
        self.refused: Counter[str] = Counter()
        """Answers 429, by node."""
        self.dropped = 0
        self.drop_every, self.drop_after = 0, 0
        """Every `drop_every`th answer with a blob ends after `drop_after` bytes; 0: none does."""
        self.ranges = True
        """Whether it knows ranges; if not, it answers 200 with everything."""
        self.limited: set[str] = set()
        """Nodes that get answers 429."""
        self.meanings: list[str] = []
        """Tags that are served instead of the one asked for, in turn, the last one forever; empty: none is."""
        self.hold_after: int | None = None
        """Number of bytes of blobs after which nothing more comes until `go_on`; None: no limit."""
        self.wrong_answers = 0
        """How many of the next answers have one wrong byte."""
        self.wrongs: list[Wrong] = []
        """The bytes that were changed so far."""
        self.urls: dict[str, str] = {}
        self._registry = registry
        self._nodes = nodes
        self._host = host
        self._netns = netns
        self._blobs = 0
        self._going = asyncio.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()

    @contextmanager
    def running(self) -> Iterator["FaultyUpstream"]:
        """Run it in a thread."""
        thread = threading.Thread(target=self._run_inside)
        thread.start()
        assert self._ready.wait(10)
        assert self._loop is not None
        try:
            yield self
        finally:
            self.go_on()
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(10)

    def go_on(self) -> None:
        """Hold nothing back any more."""
        assert self._loop is not None
        self.hold_after = None
        self._loop.call_soon_threadsafe(self._going.set)

    def _run_inside(self) -> None:
        if self._netns is not None:
            enter(self._netns)
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            for node in self._nodes:
                runner = web.ServerRunner(web.Server(self._handler(session, node)), shutdown_timeout=1)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                listener = socket.create_server((self._host, 0))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
                await web.SockSite(runner, listener).start()
                self.urls[node] = f"http://{self._host}:{runner.addresses[0][1]}"
            self._ready.set()
            await self._stopping.wait()

    def _handler(
        self, session: aiohttp.ClientSession, node: str
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if node in self.limited:
                self.refused[node] += 1
                return web.Response(status=429, headers={"Retry-After": "2"}, text=_LIMITED)
            try:
                return await self._pass(session, request, node)
            except aiohttp.ClientError:  # the registry has gone away
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=502)

        return handle

    async def _pass(self, session: aiohttp.ClientSession, request: web.BaseRequest, node: str) -> web.StreamResponse:
        folder, _, what = request.path.rpartition("/")
        if self.meanings and folder.endswith("/manifests") and ":" not in what:
            what = self.meanings.pop(0) if len(self.meanings) > 1 else self.meanings[0]
        passed = ("Accept", "Range") if self.ranges else ("Accept",)
        headers = {name: request.headers[name] for name in passed if name in request.headers}
        url = f"http://{self._registry}{folder}/{what}"
        async with session.request(request.method, url, headers=headers) as answer:
            given = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            reply = web.StreamResponse(status=answer.status, headers=given)
            with contextlib.suppress(ConnectionError):  # the client has gone away
                await reply.prepare(request)
                if request.method == "GET":
                    wrong = self._spoil(answer, node, what)
                    await self._pour(answer, reply, what, request, wrong)
        return reply

    def _spoil(self, answer: aiohttp.ClientResponse, node: str, what: str) -> bool:
        """Whether this answer is to have a wrong byte: the first one, for any size has that."""
        if not self.wrong_answers or answer.status not in (200, 206):
            return False
        self.wrong_answers -= 1
        first = answer.headers.get("Content-Range", "bytes 0-").removeprefix("bytes ").partition("-")[0]
        self.wrongs.append(Wrong(node, answer.headers.get("Docker-Content-Digest", what), int(first)))
        return True

    async def _pour(
        self,
        answer: aiohttp.ClientResponse,
        reply: web.StreamResponse,
        what: str,
        request: web.BaseRequest,
        wrong: bool,
    ) -> None:
        left = self._limit() if "/blobs/" in request.path else None
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            while self.hold_after is not None and self.served.total() >= self.hold_after:
                await self._going.wait()
            if request.transport is None:  # who asked has gone meanwhile, and is sent no more
                return
            part = chunk if left is None else chunk[:left]
            if wrong:
                part, wrong = bytes([part[0] ^ 1]) + part[1:], False
            await reply.write(part)
            self.served[what] += len(part)
            if left is not None and (left := left - len(part)) == 0:
                self.dropped += 1
                assert request.transport is not None
                request.transport.close()
                return
        await reply.write_eof()

    def _limit(self) -> int | None:
        """After how many bytes the next answer with a blob ends; None: at its end."""
        self._blobs += 1
        return self.drop_after if self.drop_every and self._blobs % self.drop_every == 0 else None
