"""A fetch whose sources are a few lines each, for what depends on the order of events to the letter."""

import asyncio
import itertools
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

from mirror.cluster.homes import MEBIBYTE, Ring
from mirror.fetch.stack import FetchStack
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.settings import Settings
from mirror.sources import UPSTREAM, RangeReply, RangeRequest, Sink
from mirror.stores.cache import CacheStore
from tests.static_router import StaticRouter

if TYPE_CHECKING:
    from mirror.sources.peers.client import PeerClient
    from mirror.sources.upstream import Upstream


def blob_with_home(home: str, size: int) -> bytes:
    """A blob of whose ring of two a member is the first."""
    for seed in itertools.count():
        blob = Random(seed).randbytes(size)
        if Ring.of(Digest.of(blob).key, ["me", home]).members[0] == home:
            return blob
    raise AssertionError


class Unaware(StaticRouter):
    """Knows the members, and that none of them holds anything."""

    def locate(self, key: bytes) -> Sequence[Peer]:
        return []


class Nobody:
    """A listener that does not care."""

    def appeared(self, keys: Collection[bytes]) -> None:
        pass

    def vanished(self, keys: Collection[bytes]) -> None:
        pass


class Honest:
    """Upstream; it begins to send when the other one has begun, too."""

    name = UPSTREAM

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.began, self.other_began = asyncio.Event(), asyncio.Event()

    async def size(self, content: Content, expected: int | None = None) -> int:
        return len(self.blob)

    async def download(self, content: Content, ask: RangeRequest, sink: Sink) -> None:
        stop = min(ask.stop or len(self.blob), len(self.blob))
        await sink.begin(RangeReply(ask.start, stop, len(self.blob)))
        self.began.set()
        await self.other_began.wait()
        await asyncio.to_thread(sink.put, ask.start, self.blob[ask.start : stop])


class Liar:
    """A home that sends wrong bytes in the moment when it is told that they are needless, and right ones after that."""

    name = "liar"

    def __init__(self, upstream: Honest) -> None:
        self.upstream = upstream
        self.asked, self.lied = asyncio.Event(), asyncio.Event()

    def source(self, peer: Peer) -> "Liar":
        return self

    async def never(self, *_: object) -> None:
        raise AssertionError("nobody asks for this here")

    witness = is_alive = notify_slow = notify_wrong = size = never

    def follow(self, on_life: object) -> None:
        """Nobody becomes silent here."""

    async def download(self, content: Content, ask: RangeRequest, sink: Sink) -> None:
        blob = self.upstream.blob
        assert ask.stop is not None
        self.asked.set()
        await self.upstream.began.wait()
        await sink.begin(RangeReply(ask.start, ask.stop, len(blob), UPSTREAM))
        if not self.lied.is_set() and ask.start == 0:
            self.upstream.other_began.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.to_thread(sink.put, 0, bytes(MEBIBYTE))  # as one does that does not know yet
                self.lied.set()
        await self.lied.wait()
        await asyncio.to_thread(sink.put, ask.start, blob[ask.start : ask.stop])


def test_what_a_second_source_writes_over_what_was_hashed_is_not_taken_for_right(tmp_path: Path) -> None:
    async def check() -> None:
        blob = blob_with_home("liar", 3 * MEBIBYTE)
        content = Content(Repository("lab", "app"), "blobs", Digest.of(blob))
        upstream = Honest(blob)
        liar = Liar(upstream)
        cache = CacheStore(tmp_path / "cache", 100 * MEBIBYTE)
        await cache.start(Nobody())
        router = Unaware(Peer("me", "127.0.0.1", 1), [Peer("liar", "127.0.0.1", 2)])
        fetching = FetchStack.build(
            "me",
            router,
            cache,
            peers=cast("PeerClient", liar),
            upstream=cast("Upstream", upstream),
            metrics=Metrics(),
            settings=Settings(),
        )
        try:
            with fetching.fetches.read(content) as reader:
                await liar.asked.wait()
                with fetching.fetches.relay(content, (0, MEBIBYTE)):
                    await reader.completed()
                assert liar.lied.is_set()
                assert os.pread(reader.fd, len(blob), 0) == blob
            held = cache.open(content.digest)
            assert held is not None
            with held:
                assert os.pread(held.fd, held.size, 0) == blob
        finally:
            await fetching.close()
            await cache.close()

    asyncio.run(asyncio.wait_for(check(), 30), debug=True)
