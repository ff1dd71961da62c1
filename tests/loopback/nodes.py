"""Whole nodes: `Cluster` has several, which pull from each other and from an upstream that counts."""

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import uvicorn
from starlette.types import ASGIApp
from yarl import URL

from mirror.access import PrivatePolicies
from mirror.app import Backend, PeerEndpoint
from mirror.app.pinning import pin_questions
from mirror.app.private import PrivateContent
from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.cluster.homes import Ring, home_piece_size, turned_key
from mirror.cluster.throughput import SlowReports
from mirror.fetch import Record
from mirror.fetch.stack import FetchStack
from mirror.images.cluster_referrers import ClusterReferrers
from mirror.images.holdings import Holdings
from mirror.images.listings import Listings
from mirror.images.manifests import Manifests
from mirror.images.member_tags import MemberTags
from mirror.images.referrer_index import ReferrerIndex
from mirror.images.referrers import Referrers
from mirror.images.tag_trust import TagTrust
from mirror.images.tags import Tags
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.pins.following import KnownTags
from mirror.pins.pinned_tags import PinnedTags
from mirror.pins.stack import PinStack
from mirror.routers import MemberStatus, Peer, RingSeat, Serves, Topic
from mirror.settings import Settings
from mirror.sources.chain import Chain
from mirror.sources.outages import Outages
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.client import PeerClient
from mirror.sources.peers.lists import PeerLists
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.upstream.registries import Registry
from mirror.sources.watched import WatchedGuests, WatchedUpstream
from mirror.sources.words import Words
from mirror.stores.cache import CacheStore
from mirror.stores.marks import Marks
from tests.loopback.lab import STEADY, held_by
from tests.loopback.servers import (
    NOT_FOUND,
    Listeners,
    Part,
    Request,
    Server,
    content_of,
    without_delay,
)


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
    listener = without_delay(socket.create_server(("127.0.0.1", port)))
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
        self.line = asyncio.Event()
        """Unless it is set, nothing is answered."""
        self.line.set()
        self.cut_off: set[str] = set()
        """Nodes that are never answered anything."""
        self.without_ranges = False
        self.refusals: dict[str, bytes] = {}
        """What some nodes are answered, by the node's name."""
        self.behave: Callable[[Request, list[Part]], list[Part]] = lambda request, answer: answer
        self.body_bytes: Counter[str] = Counter()

    async def _ranges(self, start: int, stop: int | None) -> Sequence[Part]:
        raise NotImplementedError

    def go_dark(self) -> None:
        """Answer nothing from now on."""
        self.alive = False
        self.line.clear()

    def come_back(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self.alive = True
        self.line.set()

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

    def gives_a_sign(self, request: Request) -> bool:
        return self.alive and self.asker(request) not in self.cut_off

    async def answer(self, request: Request) -> Sequence[Part]:
        await (asyncio.Event() if self.asker(request) in self.cut_off else self.line).wait()
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

    def look_up(self, key: bytes) -> None:
        return None

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

    def alone(self) -> str:
        return ""

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

    def __init__(
        self, cluster: "Cluster", number: int, folder: Path, capacity: int, offline: Container[str] = frozenset()
    ) -> None:
        self._offline = offline
        self.name = f"n{number}"
        self.folder = folder
        self._cluster = cluster
        self.host = f"127.0.0.{number + 1}"
        """Where it asks upstream."""
        self.url = f"http://{self.host}:{cluster.origin.port}"
        self._capacity = capacity
        self.router = View(cluster, self.name)
        self._stack = AsyncExitStack()
        self.peer = Peer(self.name, "127.0.0.1", 0)
        self.wrong: Callable[[bytes], bytes] | None = None
        self.login: tuple[str, str] | tuple[()] = cluster.login

    async def start(self) -> None:
        enter = self._stack.enter_async_context
        self.metrics, self.auth = Metrics(), PeerAuth(self._cluster.keys, self.name)
        self.marks = marks = Marks((), lambda names: self.private.offers(names))
        self.cache = CacheStore(self.folder, self._capacity, marks=marks)
        self.peers = PeerClient(self.name, self.auth, self._cluster.settings.peers, marks=marks)
        self.chain = Chain("default", self.name, lambda: [seat.peer for seat in self.router.seats()])
        self.budgets = Budgets(tell=partial(self._cluster.tell, self, Topic.BUDGETS))
        registries = [self._cluster.registry or Registry("docker.io", self.url, *self.login)]
        self.upstream = Upstream(registries, passed_on=self.chain.passed_on, budgets=self.budgets, marks=marks)
        timing = self._cluster.settings.outages
        self.outages = outages = Outages(timing)
        self.words = words = Words(
            timing, self.name, {"docker.io"}, partial(self._cluster.tell, self, Topic.OUTAGES), time.time_ns()
        )
        self.watched = WatchedUpstream(self.upstream, outages, timing, self._offline, words)
        self.fetching = FetchStack.build(
            self.name,
            self.router,
            self.cache,
            peers=self.peers,
            upstream=self.watched,
            outages=outages,
            metrics=self.metrics,
            settings=self._cluster.settings,
            words=words,
            is_scarce=self.upstream.is_scarce,
        )
        self.watched.follow(self.fetching.cluster.is_alone)
        self.private = PrivateContent.build(
            self.name,
            self._cluster.private,
            marks,
            self.watched,
            WatchedGuests(self.upstream, self.watched),
            metrics=self.metrics,
            settings=self._cluster.settings,
            outages=outages,
            file=self.folder.with_suffix(".public"),
        )
        self.holdings = Holdings([self.cache, pinned := PinnedTags()], self.router)
        images, self.trust = self._cluster.settings.images, TagTrust(self.metrics, self._cluster.settings.images)
        self.member_tags = member_tags = MemberTags(
            self.fetching.cluster, self.fetching.health, self.peers.tag, self.trust.distrusted, images, outages, words
        )
        self.tags = Tags(
            self.holdings, self.cache, member_tags, self.watched, self.trust, images, how=self._cluster.how_tags
        )
        self.index = ReferrerIndex(self.holdings)
        self.manifests = Manifests(self.holdings, self.fetching.fetches, self.fetching.note, index=self.index)
        self.reports = SlowReports()
        lists = PeerLists(self.peers)
        listings = Listings(self.watched, self.holdings, self.router.members, lists.tags)
        held = ClusterReferrers(self.index, self.manifests, self.fetching.cluster.find_holders, lists.referrers)
        referrers = Referrers(self.watched, held, self.manifests, self.tags)
        self.backend = backend = Backend(
            self.holdings, self.fetching, self.manifests, self.tags, listings, referrers, self.metrics
        )
        client = self.private.endpoint(backend, self.chain)
        self.pins = PinStack.build(
            self.name,
            self.folder.with_name(f"{self.name}-pins"),
            self._cluster.configured_pins.get(self.name, {}),
            "linux/amd64",
            router=self.router,
            tell=self._tell_pin,
            cache=self.cache,
            protection=self.cache.protection,
            holdings=self.holdings,
            manifests=self.manifests,
            fetching=self.fetching,
            tags=self.tags,
            member_tags=member_tags,
            known_tags=KnownTags(self.holdings.references, self.holdings.tags),
            ask=self.peers.source,
            settings=self._cluster.settings.pins,
        )
        pinned.follow(self.pins.pins.book.record)
        self.endpoint = PeerEndpoint(
            backend, self.reports, self.auth, self.private.access.offers, pin_questions(self.pins)
        )
        for part_of_it in (self.peers, self.upstream, self.holdings):
            await part_of_it.start()
            self._stack.push_async_callback(part_of_it.close)
        self._stack.push_async_callback(self.watched.close)
        await self.private.start()
        self._stack.push_async_callback(self.private.close)
        self._stack.push_async_callback(self.fetching.close)
        self._stack.push_async_callback(self.tags.close)
        self._stack.push_async_callback(self.pins.close)
        _, self.client_port = await enter(serving_by(client))
        self.server, port = await enter(serving_by(self._peer_app))
        self.peer = Peer(self.name, "127.0.0.1", port)

    def heard(self, topic: Topic, note: bytes) -> None:
        """Hear what another node says of registries."""
        if topic is Topic.OUTAGES:
            self.watched.heard(note)
        elif topic is Topic.BUDGETS:
            self.budgets.heard(note, asyncio.get_running_loop().time())

    def _tell_pin(self, note: bytes) -> None:
        """Gossip about pins, which reaches the nodes that this one sees."""
        up = {peer.name for peer in self.router.members()}
        for node in self._cluster.nodes:
            if node.name in up:
                node.pins.listener.heard(note)

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
        return self.metrics.registry.get_sample_value("skvaller_corrupt_peers_total") or 0.0

    def served(self) -> float:
        """Bytes that it sent to other nodes."""
        return self.metrics.registry.get_sample_value("skvaller_served_bytes_total", {"endpoint": "peer"}) or 0.0


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
        keys: Sequence[bytes] = (),
    ) -> None:
        self.keys = keys
        self.nodes: list[Node] = []
        self.origin = origin
        self.http = http
        self._stack = stack
        self._folder = folder
        self._capacity = capacity
        self.settings = settings
        self.how_tags: Literal["sample", "verify", "trust"] = "sample"
        self.configured_pins: dict[str, dict[str, int]] = {}
        self.serve_peer: Serve = honestly
        self.private = PrivatePolicies()
        self.login: tuple[str, str] | tuple[()] = ()
        """User and password of the nodes that join from now on."""
        self.registry: Registry | None = None
        """What nodes that join from now on ask instead of the origin."""
        self.is_told = True
        """Whether nodes hear what others say of registries."""

    def tell(self, teller: Node, topic: Topic, note: bytes) -> None:
        """Tell all other nodes, to each of which the registry has another address, as long as this one."""
        for node in self.nodes if self.is_told else ():
            if node is not teller:
                node.heard(topic, note.replace(teller.host.encode(), node.host.encode()))

    async def join(self, capacity: int | None = None, offline: Container[str] = frozenset()) -> Node:
        """One node more, which never asks some registries."""
        number = len(self.nodes)
        folder = self._folder / f"n{number}"
        node = Node(self, number, folder, self._capacity if capacity is None else capacity, offline)
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
        key = turned_key(Reference.parse(reference).key, time.time(), self.settings.images.tag_window_s)
        return [named[name] for name in Ring.of(key, named).members]

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


def pieces_of(body: bytes, homes: int) -> list[tuple[int, int]]:
    unit = home_piece_size(len(body), homes)
    return [(start, min(start + unit, len(body))) for start in range(0, len(body), unit)]


@contextlib.asynccontextmanager
async def cluster(
    folder: Path, count: int, capacity: int = 1 << 30, settings: Settings | None = None, keys: Sequence[bytes] = ()
) -> AsyncIterator[Cluster]:
    """So many nodes that see each other, and sign what they say if there are keys."""
    listeners = Listeners()
    await listeners.serve(origin := Origin(), "0.0.0.0")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(listeners.close)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        )
        made = Cluster(folder, origin, http, stack, capacity, settings or STEADY, keys)
        for _ in range(count):
            await made.join()
        yield made
