"""One node's fetches: `Lab` has the parts of a node that fetch, among members and an upstream that follow scripts.

Where the product waits in seconds, `STEADY` makes it wait less.
"""

import contextlib
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from pathlib import Path

from mirror.cluster.homes import Ring
from mirror.fetch import Record
from mirror.fetch.fetch import Fetch
from mirror.fetch.spool import Reader
from mirror.fetch.stack import FetchStack
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.routers import MemberStatus, Peer, RingSeat
from mirror.settings import ImageSettings, OutageSettings, PeerSettings, PlanSettings, Settings
from mirror.sources.outages import Outages
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.client import PeerClient
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.registries import Registry
from mirror.sources.watched import WatchedUpstream
from mirror.stores.cache import CacheStore
from tests.loopback.servers import Listeners, Script, Server, prefixes_of, stalls

STEADY = Settings(
    peers=PeerSettings(silent_s=0.1, silent_max_s=0.1, knock_s=math.inf, watch_interval_s=0.02),
    plan=PlanSettings(late_s=math.inf),
    outages=OutageSettings(silent_s=5.0, sign_of_life_s=15.0),
    images=ImageSettings(tag_window_s=1e12, tag_recheck_s=0.05),
)
"""A silent member is noticed soon; one that a busy machine makes slow is not taken for silent or late, nor is upstream
taken for out. No ring of a tag turns."""


class Chart:
    """A router of which a test says who is thought to hold everything, and who are homes beside this node."""

    def __init__(self) -> None:
        self.holders: list[Peer] = []
        self.homes: list[Peer] = []
        self.advertised: set[bytes] = set()
        self.asks: Callable[[], Awaitable[None] | None] = lambda: None
        """What happens when the router is to ask others who holds something."""

    def ready(self) -> bool:
        return True

    def look_up(self, key: bytes) -> Awaitable[None] | None:
        return self.asks()

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

    def alone(self) -> str:
        return ""

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
        self._watch()
        await self.cache.start(self.router)
        await self.peers.start()
        await self.upstream.start()
        self.fetching = self.stack()

    async def ask(self, registries: Iterable[Registry]) -> None:
        """Ask other registries from now on."""
        await self.watched.close()
        await self.upstream.close()
        self.upstream = Upstream(registries)
        self._watch()
        await self.upstream.start()
        self.fetching = self.stack()

    def _watch(self) -> None:
        self.outages = Outages(self._settings.outages)
        self.watched = WatchedUpstream(self.upstream, self.outages, self._settings.outages)

    def stack(self) -> FetchStack:
        return FetchStack.build(
            "me",
            self.router,
            self.cache,
            peers=self.peers,
            upstream=self.watched,
            outages=self.outages,
            metrics=self.metrics,
            settings=self._settings,
        )

    async def close(self) -> None:
        await self.fetching.close()
        await self.peers.close()
        await self.watched.close()
        await self.upstream.close()
        await self.cache.close()
        await self.listeners.close()

    async def serve(self, script: Script, kind: type[Server] = Server) -> Server:
        server = kind(script, alive=script is not stalls)
        await self.listeners.serve(server)
        return server

    async def holder(self, script: Script, vouches_for: bytes | None = None, kind: type[Server] = Server) -> Server:
        """A member that is thought to hold everything, and may vouch for what it says it holds."""
        server = await self.serve(script, kind)
        server.vouches_for = vouches_for
        if vouches_for is not None:
            prefixes_of(vouches_for)  # now: while it hashes, the loop stands still, and connections would time out
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

    async def read_range(self, content: Content, start: int, stop: int) -> bytes:
        """Read a range by itself, as a client does that pulls lazily."""
        with self.fetching.fetches.read(content, from_start=False, part=(start, stop)) as reader:
            await reader.size()
            return await collect(reader, start, stop)

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
        return self.metrics.registry.get_sample_value("skvaller_corrupt_peers_total") or 0.0


def running(fetching: FetchStack, content: Content) -> Fetch:
    """The fetch of some content that is under way on a node."""
    fetch = fetching.fetches.current(content)
    assert fetch is not None
    return fetch


def held_by(cache: CacheStore, content: Content) -> bool:
    """Whether a cache has some content, and it is right."""
    held = cache.open(content.digest)
    if held is None:
        return False
    with held:
        return content.digest.matches(os.pread(held.fd, held.size, 0))


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
