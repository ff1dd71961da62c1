"""The client and the peer endpoint under a real uvicorn: what is asked, what is answered, to the header."""

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import pytest
from starlette.datastructures import Headers as RequestHeaders
from yarl import URL

from mirror.access import AccessStack, PrivatePolicies
from mirror.app import Backend, ClientEndpoint, Find, NodeStatus, PeerEndpoint, StatusEndpoint, client_app
from mirror.cluster.throughput import SlowReports
from mirror.errors import PeerError, Reason
from mirror.fetch.stack import FetchStack
from mirror.images.cluster_referrers import ClusterReferrers
from mirror.images.completeness import Completeness
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
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.manifest import DOCKER_LIST, MANIFEST_MAX_BYTES, OCI_INDEX, OCI_MANIFEST, SCHEMA_1
from mirror.oci.reference import Reference, Repository
from mirror.routers import Peer
from mirror.service import Service
from mirror.settings import ImageSettings, Settings
from mirror.sources import HOP_HEADER, Standing
from mirror.sources.chain import MARKS_MAX, VIA_HEADER, Chain, mark_of
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.auth import Request as AuthRequest
from mirror.sources.peers.client import PeerClient
from mirror.sources.peers.lists import PeerLists
from mirror.sources.peers.protocol import TAG_AGE_HEADER, TAG_AUTHORITY_HEADER
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.registries import Registry
from mirror.stores import Held, Listener, Tag
from mirror.stores.cache import CacheStore
from mirror.stores.marks import Marks
from tests.loopback.nodes import serving
from tests.static_router import StaticRouter

WITHIN_S = 30.0
BLOB = bytes(range(256)) * 4000
MANIFEST = json.dumps({"schemaVersion": 2, "config": {"digest": "x"}, "layers": []}).encode()
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
LIST = json.dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}).encode()
ABSENT = Digest.of(b"nobody has this")
KEY = bytes(range(32))
ME = Peer("me", "127.0.0.1", 1)


def name(body: bytes) -> str:
    return str(Digest.of(body))


class Unwatched(Upstream):
    """Upstream without anybody who finds out whether it answers."""

    def standing(self, registry: str) -> Standing:
        return Standing.ASKED


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        (error,) = json.loads(self.body)["errors"]
        assert error["message"]
        return str(error["code"])


class Runtime:
    """A store that knows tags and nothing else, as a runtime's can."""

    name = "runtime"

    def __init__(self) -> None:
        self.known: dict[str, Tag] = {}

    async def start(self, listener: Listener) -> None:
        pass

    async def close(self) -> None:
        pass

    def open(self, digest: Digest) -> Held | None:
        return None

    def tag(self, reference: Reference) -> Tag | None:
        return self.known.get(str(reference))

    def references(self) -> list[Reference]:
        return [*map(Reference.parse, self.known)]

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        pass


class Registries:
    """An upstream: answers by method and path, or does not answer at all."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.default: tuple[int, dict[str, str], bytes] = (404, {}, b"")
        self.asked: list[str] = []
        self.queries: list[str] = []
        self.headers: list[Mapping[str, str]] = []

    def has(self, path: str, body: bytes, media_type: str = OCI_MANIFEST) -> None:
        self.answers[path] = (200, {"Content-Type": media_type, "Docker-Content-Digest": name(body)}, body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(f"{scope['method']} {scope['path']}")
        self.queries.append(scope["query_string"].decode())
        self.headers.append(RequestHeaders(scope=scope))
        status, headers, body = self.answers.get(scope["path"], self.default)
        raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        raw.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def no_pins() -> list[Any]:
    return []


class Node:
    """One node: its endpoints, and what they stand on."""

    def __init__(
        self,
        folder: Path,
        held: tuple[bytes, ...],
        upstream_port: int,
        keys: tuple[bytes, ...],
        ahead_s: float = 0.0,
        denied: Literal["refuse", "serve"] = "refuse",
        me: Peer = ME,
    ) -> None:
        for body in held:
            digest = Digest.of(body).hex
            path = folder / "blobs" / "sha256" / digest[:2] / digest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        self.auth = PeerAuth(keys, "n0", clock=lambda: time.time() + ahead_s)
        self.router = StaticRouter(me)
        self.chain = Chain("default", me.name, lambda: [seat.peer for seat in self.router.seats()])
        self.cache = CacheStore(folder, 1 << 30)
        self.runtime = Runtime()
        self.metrics = Metrics({"docker.io"}, {"docker.io"})
        registry = Registry("docker.io", f"http://127.0.0.1:{upstream_port}")
        self.upstream = Unwatched([registry], passed_on=self.chain.passed_on, tally=self.metrics)
        self.peers = PeerClient("me", self.auth)
        self.fetching = FetchStack.build(
            "me",
            self.router,
            self.cache,
            peers=self.peers,
            upstream=self.upstream,
            metrics=self.metrics,
            settings=Settings(),
        )
        trust = TagTrust(self.metrics)
        member_tags = MemberTags(self.fetching.cluster, self.fetching.health, self.peers.tag, trust.distrusted)
        self.holdings = Holdings([self.cache, self.runtime], self.router)
        self.tags = Tags(self.holdings, self.cache, member_tags, self.upstream, trust, denied=denied)
        self.index = ReferrerIndex(self.holdings)
        manifests = self.manifests = Manifests(
            self.holdings, self.fetching.fetches, self.fetching.note, index=self.index
        )
        lists = PeerLists(self.peers)
        listings = Listings(self.upstream, self.holdings, self.router.members, lists.tags)
        cluster = ClusterReferrers(self.index, manifests, self.fetching.cluster.find_holders, lists.referrers)
        referrers = Referrers(self.upstream, cluster, manifests, self.tags)
        self.taken: list[str] = []
        backend = Backend(
            self.holdings, self.fetching, manifests, self.tags, listings, referrers, self.metrics, taking=self._taking
        )
        access = AccessStack.build(PrivatePolicies(), Marks(), self.upstream, self.upstream)
        self.pulls, client = backend.pulls, ClientEndpoint(backend, self.chain, access.gate)
        node = NodeStatus(
            name="me",
            is_ready=self.router.ready,
            statuses=self.router.statuses,
            alone=self.router.alone,
            distrusted=trust.distrusted,
            records=lambda: self.fetching.fetches.records,
            key_count=lambda: len(self.holdings),
            cache_bytes=lambda: self.cache.used_bytes,
            keeps_nothing=lambda: self.cache.keeps_nothing,
            withheld=lambda: self.cache.withheld,
            pinned=dict,
            budgets=list,
            outages=list,
            version="1",
            service=Service.SYSTEMD,
            cache_limit_bytes=1 << 30,
            troubles=dict,
            pace=lambda source: 0.0,
            fetches=self.fetching.fetches.progress,
            clients=lambda: self.pulls.now(),
            pins=no_pins,
        )
        find = Find(
            "me",
            self.holdings,
            member_tags.known,
            self.fetching.cluster.find_holders,
            self.peers.size,
            parts=Completeness(manifests, self.holdings).parts,
            member_parts=lambda peer, content: self.peers.source(peer).parts(content),
        )
        status = StatusEndpoint(node, find, self.metrics)
        self.client = client_app(client, status, *status.routes())
        self.peer = PeerEndpoint(backend, SlowReports(), self.auth, access.offers)

    @contextlib.contextmanager
    def _taking(self, digest: Digest) -> Iterator[None]:
        self.taken.append(str(digest))
        yield

    def counted(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0

    def signed(self, target: str) -> dict[str, str]:
        """Headers of a question that a member asks this node."""
        return dict(self.auth.ask("n0", AuthRequest("GET", target)).headers)

    async def start(self, stack: contextlib.AsyncExitStack, http: aiohttp.ClientSession) -> None:
        await self.peers.start()
        stack.push_async_callback(self.peers.close)
        await self.upstream.start()
        stack.push_async_callback(self.upstream.close)
        await self.holdings.start()
        stack.push_async_callback(self.holdings.close)
        await self.cache.upkeep.verified.wait()  # files that lie there have no proof yet
        stack.push_async_callback(self.fetching.close)
        stack.push_async_callback(self.tags.close)
        self.http = http
        self.client_port = await stack.enter_async_context(serving(self.client))
        self.peer_port = await stack.enter_async_context(serving(self.peer))

    def knows(self, *others: "Node") -> None:
        peers = [Peer(f"n{number}", "127.0.0.1", other.peer_port) for number, other in enumerate(others)]
        self.router.peers = tuple(peers)

    async def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, peer: bool = False
    ) -> Answer:
        url = URL(f"http://127.0.0.1:{self.peer_port if peer else self.client_port}{path}", encoded=True)
        async with self.http.request(method, url, headers=headers, allow_redirects=False) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


class World:
    """Nodes and an upstream."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack, http: aiohttp.ClientSession, port: int) -> None:
        self._folder, self._stack, self._http, self._port = folder, stack, http, port
        self._count = 0

    async def node(
        self,
        *held: bytes,
        keys: tuple[bytes, ...] = (),
        upstream: int | None = None,
        ahead_s: float = 0.0,
        denied: Literal["refuse", "serve"] = "refuse",
        me: Peer = ME,
    ) -> Node:
        self._count += 1
        node = Node(self._folder / f"node{self._count}", held, upstream or self._port, keys, ahead_s, denied, me)
        await node.start(self._stack, self._http)
        return node


Story = Callable[[World, Registries], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story in a world of its own."""

    async def main(story: Story) -> None:
        registries = Registries()
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            port = await stack.enter_async_context(serving(registries))
            await asyncio.wait_for(story(World(tmp_path, stack, http, port), registries), WITHIN_S)

    return lambda story: asyncio.run(main(story))


def content_type_of(body: bytes) -> str:
    return {MANIFEST: OCI_MANIFEST, INDEX: OCI_INDEX, LIST: DOCKER_LIST}.get(body, "application/octet-stream")


def test_what_is_held_is_served_whole_with_exact_headers(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB, MANIFEST, INDEX, LIST)
        for kind, body in (("blobs", BLOB), ("manifests", MANIFEST), ("manifests", INDEX), ("manifests", LIST)):
            for peer in (False, True):
                for method in ("GET", "HEAD"):
                    answer = await node.ask(f"/v2/library/x/{kind}/{name(body)}", method, peer=peer)
                    assert answer.status == 200
                    assert answer.body == (body if method == "GET" else b"")
                    assert answer.headers["Content-Type"] == content_type_of(body)
                    assert answer.headers["Content-Length"] == str(len(body))
                    assert answer.headers["Docker-Content-Digest"] == name(body)
                    assert answer.headers["ETag"] == f'"{name(body)}"'
                    assert answer.headers["Accept-Ranges"] == "bytes"
                    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
                    assert "Content-Encoding" not in answer.headers
        assert registries.asked == []

    play(story)


@pytest.mark.parametrize("peer", [False, True])
def test_what_is_given_is_noted_and_what_is_only_asked_about_is_not(play: Callable[[Story], None], peer: bool) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB, MANIFEST)
        for kind, body in (("manifests", MANIFEST), ("blobs", BLOB)):
            node.taken.clear()
            for method, taken in (("HEAD", []), ("GET", [name(body)])):
                assert (await node.ask(f"/v2/library/x/{kind}/{name(body)}", method, peer=peer)).status == 200
                assert node.taken == taken

    play(story)


def test_what_is_named_by_its_sha512_comes_from_upstream_once_and_from_members_then(
    play: Callable[[Story], None],
) -> None:
    layer, image = Digest.of(BLOB, Algorithm.SHA512), Digest.of(MANIFEST, Algorithm.SHA512)
    paths = {"/v2/library/x/manifests/1": MANIFEST, f"/v2/library/x/manifests/{image}": MANIFEST}
    paths[f"/v2/library/x/blobs/{layer}"] = BLOB

    async def story(world: World, registries: Registries) -> None:
        node, member, late = await world.node(), await world.node(), await world.node()
        for path, body in paths.items():
            headers = {
                "Content-Type": content_type_of(body),
                "Docker-Content-Digest": str(Digest.of(body, image.algorithm)),
            }
            registries.answers[path] = (200, headers, body)
        for asked in (node, member):
            for path, body in paths.items():
                answer = await asked.ask(path)
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers["Docker-Content-Digest"] == str(Digest.of(body, image.algorithm))
                assert answer.headers["ETag"] == f'"{answer.headers["Docker-Content-Digest"]}"'
            member.knows(node)
            registries.answers = {}
            registries.default = (500, {}, b"")
        assert node.holdings.has(layer)
        assert node.holdings.has(image)
        registries.default = (200, {}, BLOB[:-1] + b"!")
        path = f"/v2/library/x/blobs/{layer}"
        with pytest.raises(aiohttp.ClientPayloadError):
            await late.ask(path)
        assert not late.holdings.has(layer)

    play(story)


def test_a_pull_is_one_line_of_the_log(play: Callable[[Story], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mirror.app")

    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB, MANIFEST)
        for path in (f"manifests/{name(MANIFEST)}", f"blobs/{name(BLOB)}", "manifests/none"):
            for method in ("HEAD", "GET"):
                await node.ask(f"/v2/library/x/{path}", method)
        await node.ask(f"/v2/library/x/blobs/{name(BLOB)}", headers={"Range": "bytes=5-9"})
        node.pulls.close()

    play(story)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mirror.app.pulls"]
    assert line.startswith("a client did not get all; `skvaller why` says more image=docker.io/library/x:none seconds=")
    count = len(BLOB) + len(MANIFEST) + 5
    assert f" bytes={count} sources=cache:{count} upstream_bytes=0 home_bytes=0 why_upstream= " in line
    assert " client=127.0.0.1 requests=7 failed=2 error=" in line


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-", 206, 0, len(BLOB)),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1000-1999", 206, 1000, 2000),
        (f"bytes=5-{len(BLOB) * 9}", 206, 5, len(BLOB)),
        ("bytes=700000-", 206, 700000, len(BLOB)),
        ("bytes=-10", 206, len(BLOB) - 10, len(BLOB)),
        (f"bytes=-{len(BLOB) * 9}", 206, 0, len(BLOB)),
        ("bytes=9-3", 200, 0, len(BLOB)),
        ("bytes=abc", 200, 0, len(BLOB)),
        ("pages=1-2", 200, 0, len(BLOB)),
    ],
)
@pytest.mark.parametrize("held", [True, False])
def test_ranges(play: Callable[[Story], None], wanted: str, status: int, start: int, stop: int, held: bool) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.answers[f"/v2/library/x/blobs/{name(BLOB)}"] = (200, {}, BLOB)
        node = await world.node(BLOB) if held else await world.node()
        answer = await node.ask(f"/v2/library/x/blobs/{name(BLOB)}", headers={"Range": wanted})
        assert (answer.status, answer.body) == (status, BLOB[start:stop])
        expected = f"bytes {start}-{stop - 1}/{len(BLOB)}" if status == 206 else None
        assert answer.headers.get("Content-Range") == expected

    play(story)


def test_ranges_that_cannot_be(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB)
        path = f"/v2/library/x/blobs/{name(BLOB)}"
        beyond = await node.ask(path, headers={"Range": f"bytes={len(BLOB)}-"})
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BLOB)}")
        several = await node.ask(path, headers={"Range": "bytes=0-1,5-6,0-,0-"})
        assert (several.status, several.body) == (200, BLOB)
        head = await node.ask(path, "HEAD", headers={"Range": "bytes=5-6"})
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(BLOB)))

    play(story)


def test_a_client_that_has_it_is_told_so(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB, MANIFEST)
        for kind, body in (("blobs", BLOB), ("manifests", MANIFEST)):
            path = f"/v2/library/x/{kind}/{name(body)}"
            same = await node.ask(path, headers={"If-None-Match": f'"{name(body)}"'})
            assert (same.status, same.body) == (304, b"")
            assert (await node.ask(path, headers={"If-None-Match": '"other"'})).status == 200

    play(story)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v2/library/nginx/manifests/1.27?ns=docker.io", "library/nginx"),
        ("/v2/nginx/manifests/1.27?ns=docker.io", "library/nginx"),
        ("/v2/docker.io/library/nginx/manifests/1.27", "library/nginx"),
        ("/v2/docker.io/nginx/manifests/1.27", "library/nginx"),
        ("/v2/index.docker.io/nginx/manifests/1.27", "library/nginx"),
        ("/v2/registry-1.docker.io/org/app/manifests/1.27", "org/app"),
        ("/v2/library/nginx/manifests/1.27", "library/nginx"),
        ("/v2/nginx/manifests/1.27", "library/nginx"),
        ("/v2/org/app/manifests/1.27?ns=index.docker.io", "org/app"),
        ("/v2/docker.io/library/nginx/manifests/1.27?ns=docker.io", "library/nginx"),
        ("/v2/docker.io/nginx/manifests/1.27?ns=registry-1.docker.io", "library/nginx"),
    ],
)
def test_every_way_to_name_a_registry_is_understood(play: Callable[[Story], None], path: str, asked: str) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.has(f"/v2/{asked}/manifests/1.27", MANIFEST)
        registries.has(f"/v2/{asked}/manifests/{name(MANIFEST)}", MANIFEST)
        node = await world.node()
        head = await node.ask(path, "HEAD")
        answer = await node.ask(path)
        assert (head.status, answer.status, answer.body) == (200, 200, MANIFEST)
        assert head.headers["Docker-Content-Digest"] == answer.headers["Docker-Content-Digest"] == name(MANIFEST)
        assert registries.asked == [f"HEAD /v2/{asked}/manifests/1.27", f"GET /v2/{asked}/manifests/{name(MANIFEST)}"]

    play(story)


BLOB_PATH = f"/v2/library/x/blobs/{name(BLOB)}"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/Library/x/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/a//b/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/../../etc/manifests/passwd", 404, "NAME_UNKNOWN"),
        ("/v2/%2e%2e/%2e%2e/manifests/x", 404, "NAME_UNKNOWN"),
        ("/v2/x/manifests/..%2f..%2fpasswd", 404, "UNSUPPORTED"),
        ("/v2/x/manifests/-tag", 404, "MANIFEST_UNKNOWN"),
        ("/v2/x/manifests/" + "t" * 129, 404, "MANIFEST_UNKNOWN"),
        ("/v2/" + "a/" * 200 + "x/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/x/blobs/sha256:123", 400, "DIGEST_INVALID"),
        ("/v2/x/blobs/sha256:" + "Z" * 64, 400, "DIGEST_INVALID"),
        ("/v2/x/blobs/sha512:" + "a" * 64, 400, "DIGEST_INVALID"),
        ("/v2/x/manifests/sha384:" + "a" * 96, 400, "DIGEST_INVALID"),
        ("/v2/library/x/blobs/sha512:" + "a" * 128, 404, "BLOB_UNKNOWN"),
        ("/v2/x/blobs/latest", 404, "BLOB_UNKNOWN"),
        ("/v2/x/manifests/1%0a", 404, "MANIFEST_UNKNOWN"),
        ("/v2/x%0ay/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/%0a", 404, "UNSUPPORTED"),
        ("/v2x", 404, "UNSUPPORTED"),
        ("/v2/x/manifests/sha256:" + "a" * 63, 400, "DIGEST_INVALID"),
        (f"{BLOB_PATH}?ns=user:secret@docker.io", 400, "NAME_INVALID"),
        (f"{BLOB_PATH}?ns=docker.io/path", 400, "NAME_INVALID"),
        (f"{BLOB_PATH}?ns=docker.io:99999", 400, "NAME_INVALID"),
        (f"{BLOB_PATH}?ns=", 400, "NAME_INVALID"),
        (f"{BLOB_PATH}?ns=a.example&ns=b.example", 400, "NAME_INVALID"),
        (f"{BLOB_PATH}?ns=docker.io:5000", 403, "DENIED"),
        (f"{BLOB_PATH}?ns=10.0.0.1", 403, "DENIED"),
        (f"{BLOB_PATH}?ns=127.0.0.1:22", 403, "DENIED"),
        (f"{BLOB_PATH}?ns=[::1]:22", 403, "DENIED"),
        (f"{BLOB_PATH}?ns=registry.unknown.example", 403, "DENIED"),
        ("/v2/localhost/x/manifests/1", 403, "DENIED"),
        (f"/v2/library/x/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        (f"/v2/library/x/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/x/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/v2/library/x/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/library/x/tags/list?last=%zz&n=a", 404, "NAME_UNKNOWN"),
        ("/v2/library/x/referrers/latest", 400, "DIGEST_INVALID"),
        ("/v2/localhost/x/tags/list", 403, "DENIED"),
        ("/v2/manifests/x", 404, "UNSUPPORTED"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    play: Callable[[Story], None], path: str, status: int, code: str
) -> None:
    async def story(world: World, registries: Registries) -> None:
        answer = await (await world.node()).ask(path)
        assert (answer.status, answer.code) == (status, code)
        assert answer.headers["Content-Type"] == "application/json"

    play(story)


def test_lists_come_from_upstream_page_by_page(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node()
        tags = b'{"name": "library/x", "tags": ["1", "2"]}'
        link = {"Link": '</v2/library/x/tags/list?last=2&n=2>; rel="next"'}
        registries.default = (200, link, tags)
        for name in ("library/x", "docker.io/x"):
            answer = await node.ask(f"/v2/{name}/tags/list?n=2")
            assert json.loads(answer.body) == {"name": name, "tags": ["1", "2"]}
            assert answer.headers["Link"] == f'</v2/{name}/tags/list?last=2&n=2>; rel="next"'
        head = await node.ask("/v2/library/x/tags/list?ns=docker.io", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Link"].startswith("</v2/library/x/tags/list?ns=docker.io&last=2&n=2>")
        registries.default = (200, {"OCI-Filters-Applied": "artifactType"}, b'{"manifests": []}')
        answer = await node.ask(f"/v2/library/x/referrers/{ABSENT}?artifactType=a")
        assert (answer.status, answer.body) == (200, b'{"manifests": []}')
        assert answer.headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        assert registries.asked[-1] == f"GET /v2/library/x/referrers/{ABSENT}"
        assert registries.queries[-3:] == ["n=2", "", "artifactType=a"]

    play(story)


def referrer(number: int, subject: str, artifact_type: str = "application/sig") -> bytes:
    """A manifest that refers to another one."""
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": name(b"{}"), "size": 2, "data": "e30="}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type, "config": config}
    named = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    document |= {"layers": [config], "subject": named, "annotations": {"number": str(number)}}
    return json.dumps(document).encode()


def listed(answer: Answer) -> list[str]:
    """The digests of an answer with referrers."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    return [row["digest"] for row in json.loads(answer.body)["manifests"]]


SUBJECT = name(MANIFEST)
REFERRERS = f"/v2/library/x/referrers/{SUBJECT}"


def an_index(*rows: dict[str, object]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}).encode()


def row(body: bytes, artifact_type: str) -> dict[str, object]:
    return {"mediaType": OCI_MANIFEST, "digest": name(body), "size": len(body), "artifactType": artifact_type}


def test_referrers_of_a_registry_without_such_lists_are_what_its_tag_says(play: Callable[[Story], None]) -> None:
    one, other = referrer(1, SUBJECT), referrer(2, SUBJECT, "application/bill")
    index = an_index(row(one, "application/sig"), row(other, "application/bill"))

    async def story(world: World, registries: Registries) -> None:
        node = await world.node()
        assert listed(await node.ask(f"/v2/library/x/referrers/{ABSENT}")) == []
        for tag in (SUBJECT.replace(":", "-"), name(index)):
            registries.has(f"/v2/library/x/manifests/{tag}", index, OCI_INDEX)
        assert listed(await node.ask(REFERRERS)) == [name(one), name(other)]
        bill = await node.ask(f"{REFERRERS}?artifactType=application%2Fbill")
        assert listed(bill) == [name(other)]
        assert bill.headers["OCI-Filters-Applied"] == "artifactType"
        assert (await node.ask(REFERRERS, "HEAD")).status == 200

    play(story)


def test_referrers_are_filtered_here_where_upstream_does_not(play: Callable[[Story], None]) -> None:
    index = an_index(row(b"1", "a/1"), row(b"2", "a/2"))

    async def story(world: World, registries: Registries) -> None:
        node = await world.node()
        registries.answers[REFERRERS] = (200, {"Link": f'<{REFERRERS}?page=2>; rel="next"'}, index)
        answer = await node.ask(f"{REFERRERS}?artifactType=a/2")
        assert listed(answer) == [name(b"2")]
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        assert "page=2" in answer.headers["Link"]
        whole = await node.ask(REFERRERS)
        assert (whole.body, whole.headers.get("OCI-Filters-Applied")) == (index, None)

    play(story)


def test_referrers_that_members_hold_are_known_when_upstream_is_gone(play: Callable[[Story], None]) -> None:
    """What members name is fetched, and says itself to what it refers."""
    mine, theirs, about_another = referrer(1, SUBJECT), referrer(2, SUBJECT), referrer(3, name(INDEX))

    async def story(world: World, registries: Registries) -> None:
        node, member = await world.node(mine), await world.node(theirs, about_another)
        for it in (node, member):
            await it.index.read()
        node.knows(member)
        registries.default = (500, {}, b"")
        answer = await node.ask(REFERRERS)
        assert listed(answer) == [name(mine), name(theirs)]
        assert json.loads(answer.body)["manifests"][1]["annotations"] == {"number": "2"}
        assert "only what members know" in answer.headers["Warning"]
        hop = await node.ask(REFERRERS, headers={HOP_HEADER: "1"})
        assert listed(hop) == [name(mine), name(theirs)]
        node.router.peers = ()
        leaf = await node.ask(f"/v2/library/x/referrers/{name(mine)}")
        assert listed(leaf) == []
        assert "only what members know" in leaf.headers["Warning"]
        nobody = await node.ask(f"/v2/library/x/referrers/{ABSENT}")
        assert (nobody.status, nobody.code) == (503, "UNAVAILABLE")

    play(story)


def test_a_list_that_upstream_does_not_have_is_what_this_node_and_the_members_know(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        node, member = await world.node(), await world.node()
        node.knows(member)
        digest = Digest.of(MANIFEST)
        await node.cache.put_tag(Reference.parse("x:1"), Tag(digest, time.time(), "upstream"))
        member.runtime.known["docker.io/library/x:2"] = Tag(digest, time.time(), "runtime")
        registries.default = (500, {}, b"")
        answer = await node.ask("/v2/library/x/tags/list")
        assert json.loads(answer.body)["tags"] == ["1", "2"]
        assert "only what members know" in answer.headers["Warning"]
        hop = await node.ask("/v2/library/x/tags/list", headers={HOP_HEADER: "1"})
        assert json.loads(hop.body)["tags"] == ["1"]

    play(story)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_a_push_is_refused(play: Callable[[Story], None], method: str) -> None:
    async def story(world: World, registries: Registries) -> None:
        answer = await (await world.node()).ask("/v2/library/x/blobs/uploads/", method)
        assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")
        assert registries.asked == []

    play(story)


def test_a_ping_is_answered(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node()
        for peer in (False, True):
            answer = await node.ask("/v2/", peer=peer)
            assert (answer.status, answer.headers["Docker-Distribution-API-Version"]) == (200, "registry/2.0")

    play(story)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_without_its_slash_leads_to_the_root_whatever_the_host(
    play: Callable[[Story], None], method: str
) -> None:
    async def story(world: World, registries: Registries) -> None:
        answer = await (await world.node()).ask("/v2", method, headers={"Host": "elsewhere.example"})
        assert (answer.status, answer.headers["Location"]) == (307, "/v2/")

    play(story)


def test_a_tag_says_how_old_its_meaning_is_and_is_asked_for_anew_if_the_client_wants_that(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        node, reference, path = await world.node(MANIFEST, INDEX), Reference.parse("nginx:1"), "/v2/nginx/manifests/1"
        registries.has("/v2/library/nginx/manifests/1", INDEX, OCI_INDEX)
        await node.cache.put_tag(reference, Tag(Digest.of(MANIFEST), time.time() - 30, "upstream"))
        known = await node.ask(path)
        assert (known.body, 30 <= int(known.headers["Age"]) < 30 + WITHIN_S) == (MANIFEST, True)
        held = {"If-None-Match": f'"{name(MANIFEST)}"'}
        assert int((await node.ask(path, headers=held)).headers["Age"]) >= 30
        assert registries.asked == []
        for wanted in ("no-cache", "max-age=0"):
            asked = len(registries.asked)
            now = await node.ask(path, headers={"Cache-Control": wanted})
            assert (now.body, int(now.headers["Age"]) < WITHIN_S) == (INDEX, True)
            assert registries.asked[asked:] == ["HEAD /v2/library/nginx/manifests/1"]
        assert "Age" not in (await node.ask(f"/v2/nginx/manifests/{name(MANIFEST)}")).headers

    play(story)


def test_a_manifest_of_a_type_that_nobody_has_heard_of_is_served_as_what_it_says(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        odd = "application/vnd.example.thing.v1+json"
        body = json.dumps({"schemaVersion": 2, "mediaType": odd, "blobs": []}).encode()
        for path in ("1", name(body)):
            registries.has(f"/v2/library/x/manifests/{path}", body, odd)
        node = await world.node()
        for path in ("1", name(body)):
            answer = await node.ask(f"/v2/library/x/manifests/{path}")
            assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, body, odd)

    play(story)


@pytest.mark.parametrize("old", [SCHEMA_1[1], "application/json"])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_what_will_never_be_passed_on_is_no_reason_to_ask_again(
    play: Callable[[Story], None], old: str, by: str
) -> None:
    async def story(world: World, registries: Registries) -> None:
        body = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
        path = "/v2/library/x/manifests/" + ("1" if by == "tag" else name(body))
        registries.answers[path] = (200, {"Content-Type": old}, body)
        node, other = await world.node(), await world.node()
        node.knows(other)
        for asked in (node, other):
            answer = await asked.ask(path)
            assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")

    play(story)


def test_a_manifest_beyond_the_limit_is_no_reason_to_ask_again(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        body = b"{" + b" " * MANIFEST_MAX_BYTES + b"}"
        for path in ("1", name(body)):
            registries.has(f"/v2/library/x/manifests/{path}", body)
        node = await world.node()
        for path in ("1", name(body)):
            answer = await node.ask(f"/v2/library/x/manifests/{path}")
            assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
            assert f"more than {MANIFEST_MAX_BYTES} bytes" in answer.body.decode()

    play(story)


def test_the_largest_manifest_comes_from_upstream_and_from_a_member(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        body = MANIFEST + b" " * (MANIFEST_MAX_BYTES - len(MANIFEST))
        path = f"/v2/library/x/manifests/{name(body)}"
        registries.has(path, body)
        node, member = await world.node(keys=(KEY,)), await world.node(keys=(KEY,))
        assert (await node.ask(path)).body == body
        registries.answers.clear()
        member.knows(node)
        answer = await member.ask(path)
        assert (answer.status, answer.headers["Content-Type"], answer.body == body) == (200, OCI_MANIFEST, True)

    play(story)


@pytest.mark.parametrize("status", [404, 401, 403])
@pytest.mark.parametrize("serves", [False, True])
def test_of_a_tag_that_upstream_denies_the_client_reads_what_the_cluster_has_or_gets_it(
    play: Callable[[Story], None], status: int, serves: bool
) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.default = (status, {}, b"")
        node, other = await world.node(denied="serve" if serves else "refuse"), await world.node(MANIFEST)
        node.knows(other)
        await other.cache.put_tag(Reference.parse("nginx:1"), Tag(Digest.of(MANIFEST), time.time() - 7300, "upstream"))
        answer = await node.ask("/v2/nginx/manifests/1")
        if serves:
            assert (answer.status, answer.body) == (200, MANIFEST)
            assert "2 hours old" in answer.headers["Warning"]
        else:
            assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
            for said in (str(status), "2 hours", name(MANIFEST), "--denied-tags serve"):
                assert said in answer.body.decode()
        assert "no member knows" in (await node.ask("/v2/nginx/manifests/2")).body.decode()

    play(story)


def test_a_marked_request_is_passed_on_to_nobody(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.default = (200, {}, b"x")
        node, holder = await world.node(MANIFEST), await world.node(BLOB)
        node.knows(holder)
        marked = {HOP_HEADER: "1"}
        assert (await node.ask(f"/v2/library/x/blobs/{name(BLOB)}", headers=marked)).status == 404
        assert (await node.ask(f"/v2/library/x/manifests/{name(INDEX)}", headers=marked)).status == 404
        assert (await node.ask("/v2/library/x/manifests/latest", headers=marked)).status == 404
        assert (await node.ask(f"/v2/library/x/manifests/{name(MANIFEST)}", headers=marked)).status == 200
        assert (await holder.ask(f"/v2/library/x/blobs/{name(MANIFEST)}", peer=True)).status == 404
        assert registries.asked == []

    play(story)


class Gate:
    """Stands before an endpoint that does not exist yet."""

    def __init__(self) -> None:
        self.behind: Any = None
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(f"{scope['method']} {scope['path']}")
        await self.behind(scope, receive, send)


SITE, CENTRE = Peer("edge", "10.1.0.1", 5001), Peer("centre", "10.0.0.1", 5001)
NODE = Peer("node", "10.0.0.3", 5001)


@pytest.mark.parametrize("others", [SITE, Peer("edge", "10.0.0.1", 5001)], ids=["another name", "the same name"])
def test_a_cluster_whose_upstream_is_another_cluster_gets_what_any_client_gets(
    play: Callable[[Story], None], others: Peer
) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.has("/v2/library/x/manifests/latest", MANIFEST)
        registries.has(f"/v2/library/x/manifests/{name(MANIFEST)}", MANIFEST)
        registries.has(f"/v2/library/x/blobs/{name(BLOB)}", BLOB)
        centre = await world.node(me=CENTRE if others == SITE else others)
        middle = await world.node(upstream=centre.client_port, me=Peer("middle", "10.0.5.1", 5001))
        site = await world.node(upstream=middle.client_port, me=SITE)
        tag = await site.ask("/v2/library/x/manifests/latest")
        assert (tag.status, tag.body, "Warning" in tag.headers) == (200, MANIFEST, False)
        head = await site.ask(f"/v2/library/x/blobs/{name(BLOB)}", "HEAD")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(BLOB)))
        blob = await site.ask(f"/v2/library/x/blobs/{name(BLOB)}")
        assert (blob.status, blob.body) == (200, BLOB)
        assert (await site.ask(f"/v2/library/x/blobs/{ABSENT}", "HEAD")).status == 404
        assert (await site.ask("/v2/library/x/manifests/absent")).status == 404

    play(story)


def test_two_clusters_that_are_each_others_upstream_share_what_they_hold_and_end_the_circle(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        async with contextlib.AsyncExitStack() as stack:
            gate = Gate()
            port = await stack.enter_async_context(serving(gate))
            one = await world.node(upstream=port, me=SITE)
            other = await world.node(MANIFEST, BLOB, upstream=one.client_port, me=CENTRE)
            gate.behind = other.client
            assert (await one.ask(f"/v2/library/x/blobs/{name(BLOB)}")).body == BLOB
            assert (await one.ask(f"/v2/library/x/manifests/{name(MANIFEST)}")).body == MANIFEST
            # Marks pass from one node of a cluster to the next, which asks on its behalf.
            other.knows(await world.node(upstream=one.client_port, me=Peer("home", "10.0.0.2", 5001)))
            gate.asked.clear()
            for path in (f"blobs/{ABSENT}", f"manifests/{ABSENT}", "manifests/absent"):
                for method in ("HEAD", "GET"):
                    answer = await one.ask(f"/v2/library/x/{path}", method)
                    assert answer.status == 404, (path, answer.body)
            assert len(gate.asked) <= 12

    play(story)


def test_who_asks_on_behalf_of_another_cluster_says_so_to_its_homes(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        came_from = mark_of("default", SITE)
        home = await world.node(me=CENTRE)
        node = await world.node(me=NODE)
        node.knows(home)
        marked = {VIA_HEADER: came_from}
        assert (await node.ask(f"/v2/library/x/blobs/{ABSENT}", headers=marked)).status == 404
        said = [headers.get(VIA_HEADER, "").split(",") for headers in registries.headers]
        assert said
        assert all(marks[0] == came_from for marks in said)
        assert {marks[1] for marks in said} <= {mark_of("default", peer) for peer in (CENTRE, NODE)}

    play(story)


@pytest.mark.parametrize("known", [True, False], ids=["of this cluster", "too many"])
def test_a_request_that_goes_round_is_answered_from_the_stores(play: Callable[[Story], None], known: bool) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.default = (200, {}, b"x")
        member, marks = Peer("b", "10.0.0.9", 5001), [f"{number:016x}" for number in range(MARKS_MAX + 1)]
        node = await world.node(MANIFEST, me=SITE)
        node.router.peers = (member,)
        marked = {VIA_HEADER: ", ".join([marks[0], mark_of("default", member)] if known else marks)}
        for path in (f"blobs/{name(BLOB)}", f"manifests/{name(INDEX)}", "manifests/latest"):
            for method in ("GET", "HEAD"):
                assert (await node.ask(f"/v2/library/x/{path}", method, headers=marked)).status == 404
        assert (await node.ask(f"/v2/library/x/manifests/{name(MANIFEST)}", headers=marked)).status == 200
        assert registries.asked == []

    play(story)


def test_a_question_that_was_overheard_is_not_answered_again_nor_with_another_header(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        holder = await world.node(BLOB, keys=(KEY,))
        path = f"/v2/library/x/blobs/{name(BLOB)}"
        overheard = holder.signed(path)
        for added in ({"Skvaller-Relative-Rate": "0"}, {"Skvaller-Role": "home"}, {"Range": "bytes=0-1"}):
            assert (await holder.ask(path, peer=True, headers={**overheard, **added})).status == 401
        assert (await holder.ask(path, "HEAD", peer=True, headers=overheard)).status == 401
        assert (await holder.ask(path, peer=True, headers=overheard)).body == BLOB
        again = await holder.ask(path, peer=True, headers=overheard)
        assert (again.status, again.code) == (401, "UNAUTHORIZED")

    play(story)


@pytest.mark.parametrize("ahead_s", [-10 * 3600.0, 10 * 3600.0])
def test_members_whose_clocks_differ_by_hours_understand_each_other(
    play: Callable[[Story], None], ahead_s: float
) -> None:
    async def story(world: World, registries: Registries) -> None:
        holder, member = await world.node(BLOB, keys=(KEY,), ahead_s=ahead_s), await world.node(keys=(KEY,))
        member.knows(holder)
        peer = Peer("n0", "127.0.0.1", holder.peer_port)
        assert await member.peers.is_alive(peer)
        content = Content(Repository.parse("docker.io/library/x"), "blobs", Digest.of(BLOB))
        assert await member.peers.size(peer, content) == len(BLOB)
        assert (await member.ask(f"/v2/library/x/blobs/{name(BLOB)}")).body == BLOB

    play(story)


def test_who_stands_on_the_path_without_the_key_answers_nothing(play: Callable[[Story], None]) -> None:
    """It has the answers to other questions of the member's, and changes those to this one."""

    async def story(world: World, registries: Registries) -> None:
        holder, member = await world.node(BLOB, keys=(KEY,)), await world.node(keys=(KEY,))
        path = f"/v2/library/x/blobs/{name(BLOB)}"
        while (await holder.ask(path, "HEAD")).status != 200:
            await asyncio.sleep(0.01)
        digest, other = str(Digest.of(BLOB)).encode(), b"sha256:" + b"0" * 64
        kept: list[bytes] = []

        def changes(answer: bytes) -> bytes:
            return answer.replace(digest, other)

        def keeps(answer: bytes) -> bytes:
            kept.append(answer)
            return answer

        def swaps(answer: bytes) -> bytes:
            return kept[0]

        def strips(answer: bytes) -> bytes:
            return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"skvaller-proof"))

        content = Content(Repository.parse("docker.io/library/x"), "blobs", Digest.of(BLOB))
        for change in (keeps, changes, swaps, strips):
            async with on_the_path(holder.peer_port, change) as port:
                peer = Peer("n0", "127.0.0.1", port)
                if change is keeps:
                    assert await member.peers.size(peer, content) == len(BLOB)
                    continue
                with pytest.raises(PeerError) as caught:
                    await member.peers.size(peer, content)
                assert caught.value.reason is Reason.UNPROVEN, change

    play(story)


@contextlib.asynccontextmanager
async def on_the_path(port: int, change: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Pass one question after the other on to a port, and change the answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                back.write(await reader.readuntil(b"\r\n\r\n"))
                writer.write(change(await onward.readuntil(b"\r\n\r\n")))
        back.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_with_a_key_only_members_are_served(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        holder, member = await world.node(BLOB, keys=(KEY,)), await world.node(keys=(KEY,))
        stranger, other = await world.node(), await world.node(keys=(bytes(32),))
        for node in (member, stranger, other):
            node.knows(holder)
        path = f"/v2/library/x/blobs/{name(BLOB)}"
        assert (await holder.ask(path, peer=True)).code == "UNAUTHORIZED"
        assert (await holder.ask(path, peer=True, headers={"Skvaller-Auth": "0" * 64})).status == 401
        assert (await holder.ask(path, peer=True, headers=holder.signed(path + "x"))).status == 401
        assert (await holder.ask(path, peer=True, headers=holder.signed(path))).body == BLOB
        assert (await member.ask(path)).body == BLOB
        assert (await stranger.ask(path)).status == 404
        assert (await other.ask(path)).status == 404

    play(story)


@pytest.mark.parametrize("registry", ["docker.io", "localhost:5000", "[fd00::1]:5000"])
def test_members_recognise_each_other_whatever_the_registry(play: Callable[[Story], None], registry: str) -> None:
    async def story(world: World, registries: Registries) -> None:
        node, holder = await world.node(keys=(KEY,)), await world.node(BLOB, MANIFEST, keys=(KEY,))
        node.knows(holder)
        holder.runtime.known[f"{registry}/org/x:1"] = Tag(Digest.of(MANIFEST), time.time(), "runtime")
        assert (await node.ask(f"/v2/org/x/blobs/{name(BLOB)}?ns={registry}")).body == BLOB
        assert (await node.ask(f"/v2/org/x/manifests/1?ns={registry}")).body == MANIFEST

    play(story)


@pytest.mark.parametrize("path", [f"/library/x/blobs/{name(BLOB)}", f"/v1/library/x/blobs/{name(BLOB)}", "/", "/v2x"])
def test_nothing_is_outside_of_v2(play: Callable[[Story], None], path: str) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node(BLOB)
        assert (await node.ask(path, peer=True)).status == 404

    play(story)


@contextlib.contextmanager
def unused_port() -> Any:
    with socket.socket() as probe:  # bound and not listening: connections are refused
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_without_upstream_the_newest_answer_that_a_member_knows_counts(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        with unused_port() as nowhere:
            node, old, new = [await world.node(*held, upstream=nowhere) for held in ((), (MANIFEST,), (INDEX,))]
            node.knows(old, new)
            reference, now = Reference.parse("nginx:1"), time.time()
            old.runtime.known[str(reference)] = Tag(Digest.of(MANIFEST), now - 7200, "runtime")
            await new.cache.put_tag(reference, Tag(Digest.of(INDEX), now - 3600, "upstream"))
            answer = await node.ask("/v2/nginx/manifests/1")
            assert (answer.status, answer.body) == (200, INDEX)
            assert answer.headers["Warning"].startswith('299 - "1 hour old answer of a member')
            old.runtime.known[str(reference)] = Tag(Digest.of(MANIFEST), now - 60, "runtime")
            assert (await node.ask("/v2/nginx/manifests/1")).body == MANIFEST

    play(story)


def test_what_upstream_does_not_know_is_what_a_runtime_has_under_the_name(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node, stale, by_hand = await world.node(), await world.node(INDEX), await world.node(MANIFEST)
        node.knows(stale, by_hand)
        reference = Reference.parse("nginx:1")
        await stale.cache.put_tag(reference, Tag(Digest.of(INDEX), time.time(), "upstream"))
        assert (await node.ask("/v2/nginx/manifests/1")).code == "MANIFEST_UNKNOWN"
        by_hand.runtime.known[str(reference)] = Tag(Digest.of(MANIFEST), time.time() - 99, "runtime")
        assert (await node.ask("/v2/nginx/manifests/1")).body == MANIFEST
        said = await by_hand.ask("/v2/library/nginx/manifests/1?ns=docker.io", "HEAD", peer=True)
        assert said.headers[TAG_AUTHORITY_HEADER] == "runtime"
        assert 99 <= float(said.headers[TAG_AGE_HEADER]) < 99 + WITHIN_S

    play(story)


@pytest.mark.parametrize("age", ["inf", "nan", "-inf", "1e999", "soon", ""])
def test_a_member_that_says_nonsense_of_a_tag_is_not_believed(play: Callable[[Story], None], age: str) -> None:
    async def story(world: World, registries: Registries) -> None:
        async def talker(scope: Any, receive: Any, send: Any) -> None:
            said = {"docker-content-digest": name(INDEX), TAG_AGE_HEADER: age, TAG_AUTHORITY_HEADER: "runtime"}
            raw = [(key.lower().encode(), value.encode()) for key, value in said.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            await send({"type": "http.response.body", "body": b""})

        node = await world.node(INDEX)
        async with serving(talker) as port:
            node.router.peers = (Peer("talker", "127.0.0.1", port),)
            assert (await node.ask("/v2/nginx/manifests/1")).code == "MANIFEST_UNKNOWN"

    play(story)


def test_manifests_that_many_ask_for_at_once_count_once_in_memory(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node = await world.node()
        fetching, settings = node.fetching, ImageSettings(manifest_memory_bytes=3 * len(LIST))
        manifests = Manifests(node.holdings, fetching.fetches, fetching.note, settings)
        for body in (MANIFEST, INDEX, LIST):
            registries.has(f"/v2/library/x/manifests/{name(body)}", body)
            content = Content(Repository("docker.io", "library/x"), "manifests", Digest.of(body))
            got = await asyncio.gather(*(manifests.get(content) for _ in range(8)))
            assert {(manifest.body, held) for manifest, held in got} == {(body, False)}
        assert len(registries.asked) == 3
        kept = [await manifests.get(content) for _ in range(2)]
        assert kept[0][0] is kept[1][0]

    play(story)


def test_a_tag_is_checked_once_while_its_answer_is_fresh_and_by_all_who_ask_at_once(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.has("/v2/library/nginx/manifests/1", MANIFEST)
        registries.has(f"/v2/library/nginx/manifests/{name(MANIFEST)}", MANIFEST)
        node = await world.node()
        answers = await asyncio.gather(*(node.ask("/v2/nginx/manifests/1") for _ in range(8)))
        assert {answer.body for answer in answers} == {MANIFEST}
        assert (await node.ask("/v2/nginx/manifests/1")).body == MANIFEST
        assert len(registries.asked) == 2
        assert node.counted("skvaller_upstream_answers_total", registry="docker.io", code="200") == 2
        assert node.counted("skvaller_upstream_received_bytes_total", registry="docker.io") == len(MANIFEST)

    play(story)


@pytest.mark.parametrize("status", [429, 500, 502])
def test_an_upstream_that_is_ill_is_never_the_clients_429(play: Callable[[Story], None], status: int) -> None:
    async def story(world: World, registries: Registries) -> None:
        registries.default = (status, {"Retry-After": "99"}, b"<html>sorry</html>")
        node = await world.node()
        for path in ("manifests/1", f"manifests/{ABSENT}", f"blobs/{ABSENT}"):
            answer = await node.ask(f"/v2/library/x/{path}")
            assert (answer.status, answer.code) == (503, "UNAVAILABLE")
            reason = "rate_limited" if status == 429 else "status"
            assert node.counted("skvaller_upstream_answers_total", registry="docker.io", code=str(status)) > 0
            assert node.counted("skvaller_upstream_failures_total", registry="docker.io", reason=reason) > 0
        assert (await node.ask("/v2/x/manifests/1?ns=elsewhere.example")).status == 403
        assert node.counted("skvaller_upstream_failures_total", registry="other", reason="forbidden") > 0

    play(story)


def test_a_blob_is_no_manifest(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        answer = await (await world.node(BLOB)).ask(f"/v2/library/x/manifests/{name(BLOB)}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")

    play(story)


def test_a_node_tells_about_itself(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        node, holder = await world.node(), await world.node(BLOB)
        node.knows(holder)
        for path in ("/healthz", "/readyz"):
            assert (await node.ask(path)).status == 200
        assert (await node.ask(f"/v2/library/x/blobs/{name(BLOB)}")).body == BLOB
        (fetched,) = json.loads((await node.ask("/api/v1/fetches")).body)["fetches"]
        assert (fetched["digest"], fetched["sources"]) == (name(BLOB), {"n0": len(BLOB)})
        found = json.loads((await node.ask(f"/api/v1/find?q={name(BLOB)}")).body)
        assert [(row["member"], row["has"]) for row in found["holders"][name(BLOB)]] == [("me", True), ("n0", True)]
        assert (await node.ask("/api/v1/find?q=No%20Name")).status == 400
        names = {row["name"] for row in json.loads((await node.ask("/api/v1/members")).body)["members"]}
        assert names == {"me", "n0"}
        metrics = (await node.ask("/metrics")).body.decode()
        counted = node.metrics.registry.get_sample_value("skvaller_received_bytes_total", {"source": "peer"})
        assert counted == len(BLOB)
        assert 'skvaller_requests_total{endpoint="client",kind="blobs",outcome="fetched"} 1.0' in metrics

    play(story)


def image(*layers: bytes) -> bytes:
    """A manifest that names some content."""
    named = [{"digest": name(layer), "size": len(layer)} for layer in layers]
    return json.dumps({"schemaVersion": 2, "config": named[0], "layers": named[1:]}).encode()


def test_who_holds_an_image_holds_all_of_it_for_one_platform(play: Callable[[Story], None]) -> None:
    async def story(world: World, registries: Registries) -> None:
        blobs = [b"config", b"layer 1" * 1000, b"layer 2" * 100, b"of another platform" * 10]
        here, there = image(*blobs[:3]), image(b"config", blobs[3])
        origin = image(b"origin")
        entries = [{"digest": name(body), "size": len(body)} for body in (here, there, origin)]
        index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
        whole = await world.node(index, here, *blobs[:3])
        part = await world.node(index, here, origin, b"origin", blobs[0], blobs[2])
        bare, node = await world.node(index), await world.node(there, blobs[0], blobs[3])
        node.knows(whole, part, bare)

        async def found(body: bytes) -> list[tuple[Any, ...]]:
            answer = json.loads((await node.ask(f"/api/v1/find?q={name(body)}")).body)
            rows = answer["holders"][name(body)]
            shown = [(row["member"], row["has"], row.get("held"), row.get("blobs"), row.get("reason")) for row in rows]
            return sorted(shown, key=lambda row: str(row[0]))

        assert await found(index) == [
            ("n0", True, 3, 3, None),
            ("n1", False, 2, 3, "incomplete"),
            ("n2", False, 0, 3, "incomplete"),
        ]
        assert await found(there) == [
            ("me", True, 2, 2, None),
            *((other, False, None, None, "missing") for other in ("n0", "n1", "n2")),
        ]
        assert [row[:3] for row in await found(blobs[2])] == [
            ("n0", True, None),
            ("n1", True, None),
            ("n2", False, None),
        ]

    play(story)
