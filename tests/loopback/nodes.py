"""Nodes on loopback, and servers that do what a test tells them to, good or bad.

`Lab` is what fetches on one node, among members and an upstream that follow scripts. `Cluster` is several whole nodes,
which pull from each other and from an upstream that counts. Where the product waits in seconds, they make it wait less.
"""

import asyncio
import contextlib
import hashlib
import math
import os
import random
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvicorn
import uvloop
from starlette.types import ASGIApp
from yarl import URL

from mirror.app import Backend, ClientEndpoint, PeerEndpoint
from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.cluster.homes import Ring, piece_size
from mirror.cluster.throughput import SlowReports
from mirror.fetch import Record
from mirror.fetch.fetch import Fetch
from mirror.fetch.spool import Reader
from mirror.fetch.stack import FetchStack
from mirror.images.holdings import Holdings
from mirror.images.manifests import Manifests
from mirror.images.member_tags import MemberTags
from mirror.images.tags import Tags
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.routers import MemberStatus, Peer, RingSeat, Serves
from mirror.settings import PeerSettings, PlanSettings, Settings
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.client import PeerClient
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.registries import Registry
from mirror.stores.cache import CacheStore

MIB = 1024 * 1024
LARGE = random.Random(1).randbytes(12 * MIB + 345)
SMALL = LARGE[: 3 * MIB]
WITHIN_S = 40.0
CLOSE = b"<close>"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

STEADY = Settings(
    peers=PeerSettings(silent_s=0.1, watch_interval_s=0.02),
    plan=PlanSettings(late_s=math.inf),
)
"""A silent member is noticed soon; one that a busy machine makes slow is not taken for late."""
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
    """Run a story within bounds; no descriptor may be left open."""
    uvloop.new_event_loop().close()
    before = len(os.listdir("/proc/self/fd"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story, WITHIN_S))
    assert len(os.listdir("/proc/self/fd")) <= before


def content_of(body: bytes, repository: str = "library/x") -> Content:
    return Content(Repository.parse(repository), "blobs", Digest.of(body))


def corrupt(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def inverted(body: bytes) -> bytes:
    """Every byte wrong."""
    return body.translate(bytes(range(255, -1, -1)))


# Servers that follow scripts ------------------------------------------------------------------------------------------


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
    on_sign: Callable[[int], None] = lambda count: None
    """Is told how many signs of life it has given."""
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = _parsed((await reader.readuntil(b"\r\n\r\n")).decode())
                if request.path == "/v2/" and self.alive:
                    writer.write(ALIVE)
                    self.signs += 1
                    self.on_sign(self.signs)
                    continue
                for data in await self.answer(request):
                    if data is CLOSE:
                        return
                    if isinstance(data, asyncio.Event):
                        await data.wait()
                    else:
                        writer.write(data)
                        await writer.drain()
                        self.sent(request, data)
        writer.close()

    async def answer(self, request: Request) -> Sequence[Part]:
        if request.path == "/v2/":
            await asyncio.Event().wait()
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

        server = await asyncio.start_server(connection, host, 0)
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


# One node's fetches among scripts -------------------------------------------------------------------------------------


class Chart:
    """A router of which a test says who is thought to hold everything, and who are homes beside this node."""

    def __init__(self) -> None:
        self.holders: list[Peer] = []
        self.homes: list[Peer] = []
        self.advertised: set[bytes] = set()

    def ready(self) -> bool:
        return True

    def locate(self, key: bytes) -> Sequence[Peer]:
        return list(self.holders)

    def advertise(self, keys: Collection[bytes]) -> None:
        self.advertised.update(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        self.advertised.difference_update(keys)

    def members(self) -> Sequence[Peer]:
        return [*self.holders, *self.homes]

    def seats(self) -> Sequence[RingSeat]:
        return [RingSeat(peer) for peer in (Peer("me", "127.0.0.1", 1), *self.homes)]

    def set_serving(self, willing: bool) -> None:
        raise NotImplementedError

    def statuses(self) -> Sequence[MemberStatus]:
        return []

    appeared = advertise
    vanished = withdraw


def before_me(content: Content, count: int) -> list[str]:
    """Names of so many members that come before this node on a ring, in its order."""
    ring = Ring.of(content.digest.key, ["me", *(f"h{number}" for number in range(100))]).members
    names = ring[: ring.index("me")][:count]
    assert len(names) == count
    return list(names)


class Lab:
    """The parts of a node that fetch, among servers that follow scripts."""

    def __init__(self, folder: Path, capacity: int, settings: Settings) -> None:
        self.folder = folder
        self._settings = settings
        self.router = Chart()
        self.cache = CacheStore(folder, capacity)
        self.listeners = Listeners()
        self.metrics = Metrics()

    async def start(self, upstream: Script) -> None:
        self.registry = await self.serve(upstream)
        self.peers = PeerClient("me", PeerAuth(), self._settings.peers)
        self.upstream = Upstream([Registry("docker.io", f"http://127.0.0.1:{self.registry.port}")])
        await self.cache.start(self.router)
        await self.peers.start()
        await self.upstream.start()
        self.fetching = self.stack()

    async def ask(self, registries: Iterable[Registry]) -> None:
        """Ask other registries from now on."""
        await self.upstream.close()
        self.upstream = Upstream(registries)
        await self.upstream.start()
        self.fetching = self.stack()

    def stack(self) -> FetchStack:
        return FetchStack.build(
            "me",
            self.router,
            self.cache,
            peers=self.peers,
            upstream=self.upstream,
            metrics=self.metrics,
            settings=self._settings,
        )

    async def close(self) -> None:
        await self.fetching.close()
        await self.peers.close()
        await self.upstream.close()
        await self.cache.close()
        await self.listeners.close()

    async def serve(self, script: Script) -> Server:
        server = Server(script, alive=script is not stalls)
        await self.listeners.serve(server)
        return server

    async def holder(self, script: Script) -> Server:
        """A member that is thought to hold everything."""
        server = await self.serve(script)
        self.router.holders.append(Peer(f"m{len(self.router.holders) + 1}", "127.0.0.1", server.port))
        return server

    async def home(self, name: str, script: Script) -> Server:
        """A member that serves as a home."""
        server = await self.serve(script)
        self.router.homes.append(Peer(name, "127.0.0.1", server.port))
        return server

    async def read(self, content: Content, start: int = 0, stop: int | None = None) -> bytes:
        """Read as a client does."""
        with self.fetching.fetches.read(content) as reader:
            size = await reader.size()
            return await collect(reader, start, size if stop is None else stop)

    async def whole(self, content: Content) -> None:
        """Wait for the whole, verified, whatever a reader would get meanwhile."""
        with self.fetching.fetches.read(content) as reader:
            await reader.completed()

    @property
    def record(self) -> Record:
        return self.fetching.fetches.records[-1]

    def held(self, content: Content) -> bool:
        return held_by(self.cache, content)

    def leftovers(self) -> list[str]:
        return [name for name in os.listdir(self.folder / "spool") if not name.startswith("discarded")]

    def lies(self) -> float:
        return self.metrics.registry.get_sample_value("mirror_corrupt_peers_total") or 0.0


def running(node: "Lab | Node", content: Content) -> Fetch:
    """The fetch of some content that is under way on a node."""
    fetch = node.fetching.fetches.current(content)
    assert fetch is not None
    return fetch


def held_by(cache: CacheStore, content: Content) -> bool:
    """Whether a cache has some content, and it is right."""
    held = cache.open(content.digest)
    if held is None:
        return False
    with held:
        return hashlib.sha256(os.pread(held.fd, held.size, 0)).hexdigest() == content.digest.hex


async def collect(reader: Reader, start: int, stop: int, into: bytearray | None = None) -> bytes:
    got = bytearray() if into is None else into
    async with contextlib.aclosing(reader.extents(start, stop)) as extents:
        async for offset, count in extents:
            got += os.pread(reader.fd, count, offset)
    return bytes(got)


@contextlib.asynccontextmanager
async def lab(
    folder: Path, upstream: Script, capacity: int = 1 << 30, settings: Settings | None = None
) -> AsyncIterator[Lab]:
    made = Lab(folder, capacity, settings or STEADY)
    await made.start(upstream)
    try:
        yield made
    finally:
        await made.close()


# Whole nodes ----------------------------------------------------------------------------------------------------------


class Prompt(uvicorn.Server):
    """A server that stops when it is told to; uvicorn's own looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stop.wait()


@contextlib.asynccontextmanager
async def serving_by(app: ASGIApp, port: int = 0) -> AsyncIterator[tuple[Prompt, int]]:
    """A uvicorn with one application; gives it and its port."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app, http=ZeroCopyProtocol, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False
    )
    server = Prompt(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.stop.set()
        await task


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """A uvicorn with one application; gives its port."""
    async with serving_by(app) as (_, port):
        yield port


class Origin(Server):
    """An upstream of a cluster: has blobs and manifests, and counts who asks for what and what it sends.

    Nodes ask it under an address each, so that the Host header names them.
    """

    def __init__(self) -> None:
        super().__init__(self._ranges)
        self.bodies: dict[str, bytes] = {}
        self.gates: dict[int, asyncio.Event] = {}
        """Where in a body to wait for what."""
        self.without_ranges = False
        self.refusals: dict[str, bytes] = {}
        """What some nodes are answered, by the node's name."""
        self.behave: Callable[[Request, list[Part]], list[Part]] = lambda request, answer: answer
        self.body_bytes: Counter[str] = Counter()

    async def _ranges(self, start: int, stop: int | None) -> Sequence[Part]:
        raise NotImplementedError

    def has(self, body: bytes, kind: str = "blobs", repository: str = "library/x") -> Content:
        path = Repository.parse(f"docker.io/{repository}")
        content = Content(path, "manifests" if kind == "manifests" else "blobs", Digest.of(body))
        self.bodies[f"/v2/{content.path}"] = body
        return content

    def tag(self, tag: str, manifest: bytes) -> str:
        path = f"/v2/library/x/manifests/{tag}"
        self.bodies[path] = manifest
        return path

    @staticmethod
    def asker(request: Request) -> str:
        """The name of the node that asks."""
        return f"n{int(request.headers['host'].split(':')[0].rpartition('.')[2]) - 1}"

    async def answer(self, request: Request) -> Sequence[Part]:
        self.requests.append(request)
        body = self.bodies.get(request.path)
        refused = self.refusals.get(self.asker(request))
        if body is None or refused is not None:
            return [refused or NOT_FOUND]
        start, stop = (0, None) if self.without_ranges else (request.start, request.stop)
        ranged = request.ranged and not self.without_ranges
        end = min(stop or len(body), len(body))
        kind = "application/vnd.oci.image.manifest.v1+json" if "/manifests/" in request.path else "application/x"
        head = [
            "HTTP/1.1 206 Partial Content" if ranged else "HTTP/1.1 200 OK",
            *([f"Content-Range: bytes {start}-{end - 1}/{len(body)}"] if ranged else []),
            f"Content-Length: {end - start}",
            f"Content-Type: {kind}",
            f"Docker-Content-Digest: {Digest.of(body)}",
        ]
        answer: list[Part] = ["\r\n".join([*head, "", ""]).encode()]
        if request.method == "HEAD":
            return answer
        at = start
        for gate in sorted(self.gates):
            if at <= gate < end:
                answer += [body[at:gate], self.gates[gate]]
                at = gate
        return self.behave(request, [*answer, body[at:end]])

    def sent(self, request: Request, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 "):
            self.body_bytes[request.path] += len(data)

    def bytes_of(self, content: Content) -> int:
        """How many bytes of some content it sent to all."""
        return self.body_bytes[f"/v2/{content.path}"]

    def asked_for(self, content: Content, method: str = "GET") -> list[Request]:
        return [it for it in self.requests if (it.method, it.path) == (method, f"/v2/{content.path}")]

    def ranges_of(self, content: Content) -> list[tuple[int, int | None]]:
        """What was asked of some content, in order of its bytes."""
        return sorted((it.start, it.stop) for it in self.asked_for(content))


class View:
    """One node's router: what all nodes hold, as far as this one sees them."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self._cluster = cluster
        self._name = name
        self.keys: set[bytes] = set()
        self.unseen: set[str] = set()
        """Nodes that this one has never heard of."""
        self.down: set[str] = set()
        """Nodes that it takes for dead; they keep their seats."""
        self.declines = False

    def ready(self) -> bool:
        return True

    def locate(self, key: bytes) -> Sequence[Peer]:
        return [node.peer for node in self._up() if key in node.router.keys]

    def advertise(self, keys: Collection[bytes]) -> None:
        self.keys.update(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        self.keys.difference_update(keys)

    def members(self) -> Sequence[Peer]:
        return [node.peer for node in self._up()]

    def seats(self) -> Sequence[RingSeat]:
        seen = [node for node in self._cluster.nodes if node.name not in self.unseen]
        return [RingSeat(node.peer, Serves.NO if node.router.declines else Serves.YES) for node in seen]

    def set_serving(self, willing: bool) -> None:
        self.declines = not willing

    def statuses(self) -> Sequence[MemberStatus]:
        return []

    def _up(self) -> list["Node"]:
        gone = self.unseen | self.down | {self._name}
        return [node for node in self._cluster.nodes if node.name not in gone]

    appeared = advertise
    vanished = withdraw


class Answer(NamedTuple):
    """What a node's endpoint answered; `complete` says whether its body is as long as announced."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool


class Node:
    """A whole node, but for gossip."""

    def __init__(self, cluster: "Cluster", number: int, folder: Path, capacity: int) -> None:
        self.name = f"n{number}"
        self.folder = folder
        self._cluster = cluster
        self._url = f"http://127.0.0.{number + 1}:{cluster.origin.port}"
        self._capacity = capacity
        self.router = View(cluster, self.name)
        self._stack = AsyncExitStack()
        self.peer = Peer(self.name, "127.0.0.1", 0)
        self.wrong: Callable[[bytes], bytes] | None = None

    async def start(self) -> None:
        enter = self._stack.enter_async_context
        self.metrics, self.auth = Metrics(), PeerAuth()
        self.cache = CacheStore(self.folder, self._capacity)
        self.peers = PeerClient(self.name, self.auth, self._cluster.settings.peers)
        self.upstream = Upstream([Registry("docker.io", self._url)])
        self.fetching = FetchStack.build(
            self.name,
            self.router,
            self.cache,
            peers=self.peers,
            upstream=self.upstream,
            metrics=self.metrics,
            settings=self._cluster.settings,
        )
        self.holdings = Holdings([self.cache], self.router)
        member_tags = MemberTags(self.fetching.cluster, self.fetching.health, self.peers.tag)
        self.tags = Tags(self.holdings, self.cache, member_tags, self.upstream)
        self.manifests = Manifests(self.holdings, self.fetching.fetches)
        self.reports = SlowReports()
        backend = Backend(self.holdings, self.fetching, self.manifests, self.tags, self.metrics)
        client = ClientEndpoint(backend)
        self.endpoint = PeerEndpoint(backend, self.reports, self.auth)
        for part_of_it in (self.peers, self.upstream, self.holdings):
            await part_of_it.start()
            self._stack.push_async_callback(part_of_it.close)
        self._stack.push_async_callback(self.fetching.close)
        self._stack.push_async_callback(self.tags.close)
        _, self.client_port = await enter(serving_by(client))
        self.server, port = await enter(serving_by(self._peer_app))
        self.peer = Peer(self.name, "127.0.0.1", port)

    async def _peer_app(self, scope: Any, receive: Any, send: Any) -> None:
        """The peer endpoint; a test can have it served otherwise."""
        await self._cluster.serve_peer(self, scope, receive, send)

    async def stop(self) -> None:
        await self._stack.aclose()

    def die(self) -> None:
        """Be killed, as far as the others can tell: no answers, no connections."""
        for listener in self.server.servers:
            listener.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()

    async def get(self, content: Content, *, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        return await self.ask(f"/v2/{content.path}", headers=headers, method=method)

    async def ask(
        self, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", peer: bool = False
    ) -> Answer:
        url = URL(f"http://127.0.0.1:{self.peer.port if peer else self.client_port}{path}?ns=docker.io")
        body, complete = bytearray(), True
        async with self._cluster.http.request(method, url, headers=headers) as answer:
            try:
                async for chunk in answer.content.iter_any():
                    body += chunk
            except aiohttp.ClientPayloadError:
                complete = False
            return Answer(answer.status, answer.headers, bytes(body), complete)

    async def pull(self, content: Content) -> bytes:
        """Pull as a client does."""
        answer = await self.get(content)
        assert (answer.status, answer.complete) == (200, True), answer.body[:300]
        return answer.body

    async def insist(self, content: Content) -> bytes:
        """Pull as a client does that begins anew where it was cut short."""
        while True:
            answer = await self.get(content)
            if answer.status == 200 and answer.complete:
                return answer.body

    def held(self, content: Content) -> bool:
        return held_by(self.cache, content)

    def record(self, content: Content) -> Record:
        """Of the last fetch of some content."""
        return next(
            record for record in reversed(self.fetching.fetches.records) if record.digest == str(content.digest)
        )

    def lies(self) -> float:
        return self.metrics.registry.get_sample_value("mirror_corrupt_peers_total") or 0.0

    def served(self) -> float:
        """Bytes that it sent to other nodes."""
        return self.metrics.registry.get_sample_value("mirror_served_bytes_total", {"endpoint": "peer"}) or 0.0


Serve = Callable[[Node, Any, Any, Any], Awaitable[None]]


class Cluster:
    """Whole nodes that see each other, and an upstream."""

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        http: aiohttp.ClientSession,
        stack: AsyncExitStack,
        capacity: int,
        settings: Settings,
    ) -> None:
        self.nodes: list[Node] = []
        self.origin = origin
        self.http = http
        self._stack = stack
        self._folder = folder
        self._capacity = capacity
        self.settings = settings
        self.serve_peer: Serve = honestly

    async def join(self, capacity: int | None = None) -> Node:
        """One node more."""
        number = len(self.nodes)
        folder = self._folder / f"n{number}"
        node = Node(self, number, folder, self._capacity if capacity is None else capacity)
        self._stack.push_async_callback(node.stop)
        await node.start()
        self.nodes.append(node)
        return node

    def ring(self, content: Content) -> list[Node]:
        """The nodes in the order of a ring."""
        named = {node.name: node for node in self.nodes}
        return [named[name] for name in Ring.of(content.digest.key, named).members]

    def ring_of_tag(self, reference: str) -> list[Node]:
        named = {node.name: node for node in self.nodes}
        return [named[name] for name in Ring.of(Reference.parse(reference).key, named).members]

    async def pull(self, content: Content, nodes: Iterable[Node] | None = None) -> None:
        """Have nodes pull at once, and get what is right."""
        nodes = self.nodes if nodes is None else list(nodes)
        bodies = await asyncio.gather(*(node.pull(content) for node in nodes))
        assert {Digest.of(body) for body in bodies} == {content.digest}
        assert all(node.held(content) for node in nodes)

    async def give(self, node: Node, body: bytes) -> Content:
        """Let a node hold a blob."""
        content = content_of(body)
        writer = await node.cache.begin(content.digest, len(body))
        os.pwrite(writer.fd, body, 0)
        os.close(writer.fd)
        writer.commit()
        return content


async def honestly(node: Node, scope: Any, receive: Any, send: Any) -> None:
    """Serve a node's peers as it is meant to."""
    await node.endpoint(scope, receive, send)


def pieces_of(body: bytes) -> list[tuple[int, int]]:
    unit = piece_size(len(body))
    return [(start, min(start + unit, len(body))) for start in range(0, len(body), unit)]


@contextlib.asynccontextmanager
async def cluster(
    folder: Path, count: int, capacity: int = 1 << 30, settings: Settings | None = None
) -> AsyncIterator[Cluster]:
    """So many nodes that see each other."""
    listeners = Listeners()
    await listeners.serve(origin := Origin(), "0.0.0.0")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(listeners.close)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        )
        made = Cluster(folder, origin, http, stack, capacity, settings or STEADY)
        for _ in range(count):
            await made.join()
        yield made
