"""Where the bytes of a blob go, when several sources answer before its size is agreed on, or the disk fails."""

import asyncio
import errno
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from mirror.cluster.homes import MEBIBYTE, Ring
from mirror.cluster.throughput import Throughput
from mirror.errors import MirrorError, PeerError, Reason, StorageFailed, UpstreamUnknown
from mirror.fetch import download
from mirror.fetch.intake import Intake, SizeAgreement
from mirror.fetch.memory import MemoryBudget
from mirror.fetch.plan import Plan
from mirror.fetch.record import Record
from mirror.fetch.spool import Spool
from mirror.fetch.stack import FetchStack
from mirror.fetch.turns import Turns
from mirror.fileio import in_thread
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.settings import Settings, SpoolSettings
from mirror.sources import UPSTREAM, RangeReply, RangeRequest, Role, Sink, Source
from mirror.stores.cache import CacheStore
from tests.static_router import StaticRouter

if TYPE_CHECKING:
    from mirror.fetch.environment import Environment
    from mirror.fetch.memory import InMemory
    from mirror.sources.peers.client import PeerClient
    from mirror.sources.upstream import Upstream

SIZE = 5 * MEBIBYTE
"""Of five pieces."""

Story = Callable[[FetchStack, Content], Coroutine[Any, Any, None]]


def blob_with_home(home: str) -> bytes:
    """A blob of whose ring of two a member is the first."""
    for seed in itertools.count():
        blob = Random(seed).randbytes(SIZE)
        if Ring.of(Digest.of(blob).key, ["me", home]).members[0] == home:
            return blob
    raise AssertionError


class Router(StaticRouter):
    """Knows the member "holder" and that it holds everything, and the member "home"."""

    def __init__(self) -> None:
        super().__init__(Peer("me", "127.0.0.1", 1), [Peer("home", "127.0.0.1", 2), Peer("holder", "127.0.0.1", 3)])
        self.looked_up = asyncio.Event()

    def locate(self, key: bytes) -> Sequence[Peer]:
        self.looked_up.set()
        return [peer for peer in self.peers if peer.name == "holder"]


class Nobody:
    """A listener that does not care."""

    def appeared(self, keys: Collection[bytes]) -> None:
        pass

    def vanished(self, keys: Collection[bytes]) -> None:
        pass


async def never(*_: object) -> None:
    raise AssertionError("nobody asks for this here")


class Sender:
    """A source that sends what is asked for at once."""

    def __init__(self, name: str, blob: bytes) -> None:
        self.name = name
        self.blob = blob
        self.answered = threading.Event()
        """Set when it has sent something, or waits for the loop to take its reply."""
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()

    async def size(self, content: Content, expected: int | None = None) -> int:
        return SIZE

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        self.asked.set()
        await self.may_answer.wait()
        stop = min(request.stop or SIZE, SIZE)
        reply = RangeReply(request.start, stop, SIZE)
        if not await in_thread(sink.begin_at_once, reply):
            asyncio.get_running_loop().call_soon(self.answered.set)
            await sink.begin(reply)
        await in_thread(sink.put, request.start, self.blob[request.start : stop])
        self.answered.set()


class BusyHolder(Sender):
    """A holder that is busy, and sends only to homes."""

    def __init__(self, blob: bytes) -> None:
        super().__init__("holder", blob)

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        if request.role is Role.HOLDER:
            raise PeerError(Reason.BUSY, "busy")
        await super().download(content, request, sink)


class Refuser(Sender):
    """A source that says what will come, and fails then; later it sends."""

    def __init__(self, name: str, blob: bytes, error: MirrorError) -> None:
        super().__init__(name, blob)
        self.error: MirrorError | None = error

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        if self.error is not None:
            await sink.begin(RangeReply(request.start, min(request.stop or SIZE, SIZE), SIZE))
            self.asked.set()
            await self.may_answer.wait()
            raise self.error
        await super().download(content, request, sink)


class Peers:
    """Gives the members as sources."""

    def __init__(self, *sources: Source) -> None:
        self._sources = {source.name: source for source in sources}

    def source(self, peer: Peer) -> Source:
        return self._sources[peer.name]

    async def is_alive(self, peer: Peer) -> bool:
        return True

    def witness(self, peer: Peer) -> "Speechless":
        return Speechless()

    notify_slow = notify_wrong = staticmethod(never)

    def follow(self, on_life: object) -> None:
        """Nobody becomes silent here."""

    async def size(self, peer: Peer, content: Content, role: Role) -> int:
        """All members say the same."""
        return SIZE


class Speechless:
    """A holder that vouches for nothing."""

    async def prefixes(self, content: Content, count: int) -> tuple[bytes, ...]:
        raise PeerError(Reason.BUSY, "not verified yet")

    async def sha256(self, content: Content, start: int, stop: int) -> bytes:
        raise PeerError(Reason.BUSY, "not verified yet")


async def leave_partial(cache: CacheStore, blob: bytes, pieces: int) -> None:
    """Leave the first pieces of a blob in the cache, as a fetch does that was given up."""
    writer = await cache.begin(Digest.of(blob), SIZE)
    os.pwrite(writer.fd, blob[: pieces * MEBIBYTE], 0)
    for piece in range(pieces):
        writer.append_prefix(hashlib.sha256(blob[: (piece + 1) * MEBIBYTE]).digest())
    os.close(writer.fd)
    writer.leave()


def play(
    folder: Path,
    blob: bytes,
    sources: Sequence[Source],
    story: Story,
    *,
    capacity_bytes: int = 100 * MEBIBYTE,
    left: int = 2,
    upstream: Source | None = None,
    router: Router | None = None,
) -> None:
    """Run a story of a node that has left some pieces of a blob in its cache."""

    async def run() -> None:
        cache = CacheStore(folder / "cache", capacity_bytes)
        await cache.start(Nobody())
        if left:
            await leave_partial(cache, blob, left)
        fetching = FetchStack.build(
            "me",
            router or Router(),
            cache,
            peers=cast("PeerClient", Peers(*sources)),
            upstream=cast("Upstream", upstream or Sender(UPSTREAM, blob)),
            metrics=Metrics(),
            settings=Settings(),
        )
        try:
            await story(fetching, Content(Repository("lab", "app"), "blobs", Digest.of(blob)))
        finally:
            await fetching.close()
            await cache.close()

    asyncio.run(asyncio.wait_for(run(), 10), debug=True)


def read_by_thread(monkeypatch: pytest.MonkeyPatch, number: int, before: Callable[[], object]) -> threading.Event:
    """Do something before a read of the file that is hashed; the event is set when it is to be done."""
    preadv, count, reached = os.preadv, itertools.count(1), threading.Event()

    def counted(*args: Any) -> int:
        if threading.current_thread() is not threading.main_thread() and next(count) == number:
            reached.set()
            before()
        return preadv(*args)

    monkeypatch.setattr(os, "preadv", counted)
    return reached


def test_no_source_writes_to_what_an_earlier_fetch_left_while_that_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_with_home("home")
    holder = BusyHolder(bytes(SIZE))  # it sends wrong bytes
    reached = read_by_thread(monkeypatch, 2, lambda: holder.answered.wait(10))

    async def story(fetching: FetchStack, content: Content) -> None:
        with fetching.fetches.read(content) as reader:
            await in_thread(reached.wait, 10)
            with fetching.fetches.relay(content, (0, MEBIBYTE)) as relay:
                extents = relay.reader.extents(0, MEBIBYTE)
                await anext(extents)
                await extents.aclose()
                await reader.completed()
            assert os.pread(reader.fd, SIZE, 0) == blob

    play(tmp_path, blob, [Sender("home", blob), holder], story)


def test_a_disk_that_fails_while_what_was_left_is_verified_fails_the_fetch_whoever_else_waits_to_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_with_home("home")
    holder = BusyHolder(blob)

    def fail() -> None:
        holder.answered.wait(10)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    reached = read_by_thread(monkeypatch, 2, fail)

    async def story(fetching: FetchStack, content: Content) -> None:
        with fetching.fetches.read(content) as reader:
            await in_thread(reached.wait, 10)
            with fetching.fetches.relay(content, (0, MEBIBYTE)) as relay:
                extents = relay.reader.extents(0, MEBIBYTE)
                with pytest.raises(MirrorError):
                    await anext(extents)
                with pytest.raises(MirrorError):
                    await reader.completed()

    play(tmp_path, blob, [Sender("home", blob), holder], story)


def test_a_fetch_that_gets_no_window_in_memory_is_counted_no_more_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, size: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    blob = blob_with_home("home")
    home, holder = Sender("home", blob), BusyHolder(blob)

    async def story(fetching: FetchStack, content: Content) -> None:
        home.may_answer.clear()
        with fetching.fetches.read(content) as reader:
            await home.asked.wait()
            with fetching.fetches.relay(content, (0, MEBIBYTE)) as relay:
                await holder.asked.wait()
                monkeypatch.setattr(os, "ftruncate", fail)
                home.may_answer.set()
                with pytest.raises(MirrorError):
                    await relay.reader.completed()
                with pytest.raises(MirrorError):
                    await reader.completed()
        assert len(fetching.memory) == 0

    play(tmp_path, blob, [home, holder], story, capacity_bytes=0, left=0)


def test_after_a_disk_that_lets_nothing_be_deleted_the_next_reader_gets_a_new_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    blob = blob_with_home("home")
    sources = [Refuser(name, blob, PeerError(Reason.MISSING, "no")) for name in ("home", "holder")]
    upstream = Refuser(UPSTREAM, blob, UpstreamUnknown("no"))

    async def story(fetching: FetchStack, content: Content) -> None:
        with monkeypatch.context() as patch, fetching.fetches.read(content) as reader:
            patch.setattr(Path, "unlink", fail)
            with pytest.raises(MirrorError):
                await reader.completed()
        for source in (*sources, upstream):
            source.error = None
        with fetching.fetches.read(content) as reader:
            await reader.completed()

    play(tmp_path, blob, sources, story, left=0, upstream=upstream)


def test_nobody_is_asked_any_more_once_the_disk_has_failed_however_long_the_last_flight_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_with_home("home")
    home, holder = Refuser("home", blob, StorageFailed("the disk failed")), BusyHolder(blob)
    for source in (home, holder):
        source.may_answer.clear()

    async def story(fetching: FetchStack, content: Content) -> None:
        with fetching.fetches.read(content) as reader:
            await holder.asked.wait()
            home.may_answer.set()
            for _ in range(10):
                await asyncio.sleep(0)
            home.asked.clear()
            an_hour_later = time.monotonic() + 3600.0
            monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: an_hour_later))
            router.looked_up.clear()
            await router.looked_up.wait()
            for _ in range(3):
                await asyncio.sleep(0)
            assert not home.asked.is_set()
            holder.may_answer.set()
            with pytest.raises(StorageFailed):
                await reader.completed()

    router = Router()
    play(tmp_path, blob, [home, holder], story, left=0, router=router)


# The size that sources agree on: the first one counts, and is blamed only on proof.


def test_nobody_is_wrong_before_anybody_states_another_size() -> None:
    assert SizeAgreement(7, "a").wrong is None


@pytest.mark.parametrize(
    ("stated_by", "disputed_by", "wrong"),
    [
        ("a", ["b"], None),
        ("a", ["b", "b"], None),
        ("a", ["b", "c"], "a"),
        ("a", [UPSTREAM], "a"),
        (UPSTREAM, ["b", "c"], None),
    ],
)
def test_a_member_is_wrong_if_upstream_or_two_members_contradict_it(
    stated_by: str, disputed_by: list[str], wrong: str | None
) -> None:
    agreement = SizeAgreement(7, stated_by)
    for source in disputed_by:
        agreement = agreement.disputed(source)
    assert agreement == SizeAgreement(7, stated_by, frozenset(disputed_by))
    assert agreement.wrong == wrong


def test_a_source_that_is_given_up_while_place_is_made_leaves_the_place_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_with_home("home")
    content = Content(Repository("lab", "app"), "blobs", Digest.of(blob))

    async def check() -> None:
        begun, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
        cache = CacheStore(tmp_path / "cache", 100 * MEBIBYTE)
        await cache.start(Nobody())

        def slow(work: Callable[..., object], *arguments: object) -> object:
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(10)
            return work(*arguments)

        async def confirms(*_: object) -> bool:
            return True

        async def slowly(work: Callable[..., object], *arguments: object) -> object:
            return await in_thread(slow, work, *arguments)

        monkeypatch.setattr("mirror.fetch.intake.in_thread", slowly)
        plan = Plan("me", Ring.of(content.digest.key, ["me"]), Throughput())
        spool = Spool(content, SpoolSettings(), lambda: None, lambda start, stop: set())
        opinion = SimpleNamespace(confirms=confirms)
        env = SimpleNamespace(cache=cache, opinion=opinion, turns=Turns(), settings=Settings(), memory=MemoryBudget(1))
        fetch = cast("InMemory", object())
        intake = Intake(content, spool, plan, Record("", "", 0.0), cast("Environment", env), fetch)
        try:
            given_up = asyncio.create_task(intake.agree("home", SIZE))
            await begun.wait()
            given_up.cancel()
            next_one = asyncio.create_task(intake.agree(UPSTREAM, SIZE))
            await asyncio.sleep(0)
            go_on.set()
            await next_one
            assert (spool.size, plan.size) == (SIZE, SIZE)
            assert given_up.cancelled()
        finally:
            intake.close(resumable=False)
            spool.close()
            await cache.close()

    asyncio.run(asyncio.wait_for(check(), 30), debug=True)
