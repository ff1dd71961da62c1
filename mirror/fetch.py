"""Fetching: what this node does not hold is brought from holders and upstream, once, for everybody who asks.

One fetch a blob: whoever asks while it runs reads the same spool. The plan says which source brings which bytes; this
module carries it out, checks the digest, and finds out who lied when it is wrong.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .content import Content, Source
from .errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    MirrorError,
    NoRoom,
    PeerError,
    SourceError,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnknown,
)
from .manifest import MANIFEST_MAX_BYTES
from .metrics import Metrics
from .peers import PeerClient
from .plan import MEBIBYTE, UPSTREAM, Flight, Plan
from .ranges import RangeSet
from .router import Peer, Router
from .spool import Spool
from .stores.cache import CacheStore
from .upstream import Upstream

log = logging.getLogger(__name__)

IDLE_S = 30.0
"""A fetch that nobody reads any more goes on for so long: a client that lost its connection comes back."""

OPINIONS = 3
"""How often bytes of a wrong digest are brought again from others before the fetch is given up."""

_SHUN_S = {"refused": 10.0, "timeout": 30.0, "stalled": 30.0, "broken": 10.0, "range": 30.0, "length": 30.0}
_SHUN_LIAR_S = 600.0
_UPSTREAM_RETRIED = ("broken", "timeout")
_BATCH_S = 0.02
_RECORDS_MAX = 512


@dataclass(slots=True)
class Record:
    """Where the bytes of one fetch came from, for people.

    Args:
        digest: what was fetched.
        repository: under whose name it was first asked for.
        started_at: Unix time in seconds.
        size: in bytes; None until known.
        sources: bytes received by source: a member's name or `upstream`.
        outcome: how it ended.
        seconds: how long it took, so far while it runs.
        failures: what went wrong on the way, the last few, one sentence each.
    """

    digest: str
    repository: str
    started_at: float
    size: int | None = None
    sources: dict[str, int] = field(default_factory=dict)
    outcome: Literal["running", "complete", "failed", "abandoned"] = "running"
    seconds: float = 0.0
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    def __str__(self) -> str:
        sources = ",".join(f"{name}:{count}" for name, count in self.sources.items())
        line = f"digest={self.digest} outcome={self.outcome} bytes={self.size} seconds={self.seconds:.3f}"
        return f"{line} sources={sources or None}"


class Fetcher:
    """Brings what this node does not hold.

    Args:
        cache: where it is kept.
        router: who may hold it.
        peers: asks holders.
        upstream: asks the registry that a request names.
        metrics: counts.
    """

    def __init__(
        self, cache: CacheStore, router: Router, peers: PeerClient, upstream: Upstream, metrics: Metrics
    ) -> None:
        self.cache = cache
        self.router = router
        self.peers = peers
        self.upstream = upstream
        self.metrics = metrics
        self.records: deque[Record] = deque(maxlen=_RECORDS_MAX)
        self._fetches: dict[str, _Fetch] = {}
        self._shunned: dict[str, float] = {}

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [fetch.task for fetch in self._fetches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def reading(self, content: Content) -> Iterator[Spool]:
        """Join the fetch of some content, beginning it if need be."""
        fetch = self._fetches.get(content.digest.hex)
        if fetch is None:
            fetch = self._fetches[content.digest.hex] = _Fetch(self, content)
        spool = fetch.spool
        spool.join()
        try:
            yield spool
        finally:
            spool.leave()
            self._close_if_unused(fetch)

    async def passing(self, content: Content, size: int, start: int, stop: int) -> AsyncIterator[bytes]:
        """Stream content that the cache has no room for; nothing is kept and no two readers share.

        The end of a whole blob is held back until its digest is right, as with a spool. A range cannot be verified, so
        it is taken from upstream alone.

        Raises:
            MirrorError: the rest does not come, or the whole was wrong.
        """
        whole = (start, stop) == (0, size)
        sha256 = hashlib.sha256()
        position, withheld = start, b""
        failures: list[SourceError] = []
        for source in [*(self.holders(content) if whole else ()), self.upstream]:
            try:
                async with source.open(content, position, None if stop == size else stop) as delivery:
                    if delivery.size != size:
                        raise SourceError("length", f"{source.name} says {delivery.size} bytes, not {size}")
                    async for chunk in delivery.chunks:
                        position += len(chunk)
                        self.received(source.name, len(chunk))
                        sha256.update(chunk)
                        if withheld:
                            yield withheld
                        withheld = chunk
                break
            except SourceError as error:
                self.failed(source.name, error)
                failures.append(error)
        else:
            raise verdict(content, failures)
        if whole and sha256.hexdigest() != content.digest.hex:
            raise SourceError("wrong", f"{content.digest}: the bytes that came were wrong")
        yield withheld

    async def size(self, content: Content) -> int:
        """Find out how large some content is, without fetching it.

        Raises:
            OciError: nobody has it, or nobody who may have it can be asked.
        """
        fetch = self._fetches.get(content.digest.hex)
        if fetch is not None:
            return await fetch.spool.known_size()
        failures: list[SourceError] = []
        for source in self.holders(content):
            try:
                async with source.open(content, 0, 1) as delivery:
                    return delivery.size
            except SourceError as error:
                self.failed(source.name, error)
                failures.append(error)
        try:
            return await self.upstream.size(content)
        except UpstreamError as error:
            raise verdict(content, [*failures, error]) from error

    # For the fetches.

    def holders(self, content: Content) -> list[Source]:
        """Members to ask, best first, without those that failed lately."""
        return [self.peers.source(peer) for peer in self.usable(self.router.locate(content.digest.key))]

    def usable(self, peers: Sequence[Peer]) -> list[Peer]:
        """Leave out members that failed lately."""
        now = time.monotonic()
        self._shunned = {name: until for name, until in self._shunned.items() if until > now}
        return [peer for peer in peers if peer.name not in self._shunned]

    def received(self, source: str, count: int) -> None:
        """Count bytes by source."""
        self.metrics.received_bytes.labels("upstream" if source == UPSTREAM else "peer").inc(count)

    def failed(self, source: str, error: SourceError) -> None:
        """Count a failure; leave a member that is down or slow alone for a while."""
        log.info("source=%s reason=%s %s", source, error.reason, error)
        self.metrics.source_failures.labels("upstream" if source == UPSTREAM else "peer", error.reason).inc()
        if source != UPSTREAM and error.reason in _SHUN_S:
            self._shunned[source] = time.monotonic() + _SHUN_S[error.reason]

    def lied(self, source: str, content: Content) -> None:
        """Name a member that said what is not so, and shun it."""
        log.error("member=%s lied about %s: shunned for %g s", source, content.digest, _SHUN_LIAR_S)
        self.metrics.lies.inc()
        self._shunned[source] = time.monotonic() + _SHUN_LIAR_S

    def ended(self, fetch: "_Fetch") -> None:
        """Let go of a fetch: who asks for its content from now on finds it in the cache, or begins anew."""
        del self._fetches[fetch.content.digest.hex]
        self._close_if_unused(fetch)

    def _close_if_unused(self, fetch: "_Fetch") -> None:
        if not fetch.spool.readers and self._fetches.get(fetch.content.digest.hex) is not fetch:
            fetch.spool.close()


class _Fetch:
    """One fetch: a spool, its plan, and the task that carries it out."""

    def __init__(self, fetcher: Fetcher, content: Content) -> None:
        self.content = content
        self._fetcher = fetcher
        self.spool = Spool(content)
        self._sources: dict[str, Source] = {UPSTREAM: fetcher.upstream}
        self._plan = Plan(self._locate())
        self._failures: list[SourceError] = []
        self._no_room: NoRoom | None = None
        self._sized_by = UPSTREAM
        self._size_disputed = False
        self._progress = asyncio.Event()
        self._record = Record(str(content.digest), str(content.repository), time.time())
        self.task = asyncio.create_task(self._run(), name=f"fetch {content.digest}")
        self.task.add_done_callback(lambda _: self._never_ran())

    async def _run(self) -> None:
        """Fetch, verify, commit; whatever happens the readers learn of it."""
        fetcher, started = self._fetcher, time.monotonic()
        fetcher.records.append(self._record)
        abandonment = asyncio.create_task(self._abandon_when_idle())
        try:
            await self._fetch()
            fetcher.cache.commit(self.content.digest)
            self.spool.finish()
            self._record.outcome = "complete"
            fetcher.metrics.fetch_seconds.observe(time.monotonic() - started)
        except MirrorError as error:
            self._fail("failed", error)
        except OSError as error:
            self._fail("failed", NoRoom(f"the cache's disk failed: {error.strerror}"))
        except asyncio.CancelledError:
            self._fail("abandoned", Unavailable(f"the fetch of {self.content.digest} was given up"))
        except Exception:  # the root of a task: a bug here must not leave readers waiting for ever
            log.exception("the fetch of %s failed in a way that it should not", self.content.digest)
            self._fail("failed", Unavailable(f"the fetch of {self.content.digest} failed; the log says why"))
        finally:
            abandonment.cancel()
            self._record.seconds = time.monotonic() - started
            fetcher.ended(self)
            fetcher.metrics.fetches.labels(self._record.outcome).inc()
            log.info("fetch %s", self._record)

    def _never_ran(self) -> None:
        """Do what `_run` would have done, had its task not been cancelled before it began."""
        if self._record.outcome == "running":
            self._fail("abandoned", Unavailable(f"the fetch of {self.content.digest} was given up"))
            self._fetcher.ended(self)

    def _fail(self, outcome: Literal["failed", "abandoned"], error: MirrorError) -> None:
        if self._size_disputed and self._sized_by != UPSTREAM:  # with its size, nobody else's bytes were taken
            self._fetcher.lied(self._sized_by, self.content)
        self._record.outcome = outcome
        self._record.failures.append(str(error))
        self._fetcher.cache.abandon(self.content.digest)
        self.spool.fail(error)

    async def _fetch(self) -> None:
        """Bring all bytes, and bring again what may be wrong, until the digest is right."""
        digest = await self._bring_and_hash()
        accused: list[tuple[tuple[int, int, str], bytes]] = []
        doubtful = RangeSet()
        for _ in range(OPINIONS):
            if digest == self.content.digest.hex:
                break
            suspects = self._suspects(doubtful)
            log.warning("%s: wrong digest; bringing it again from others than %s", self.content.digest, self._names())
            sent = list(zip(suspects, await self._hashes(suspects), strict=True))
            accused += sent
            self._plan.again(suspects)
            for start, stop, _source in suspects:
                self.spool.doubt(start, stop)
            digest = await self._bring_and_hash()
            # Where two sources agree nobody lied; where they do not, a third is to say who did.
            doubtful = RangeSet()
            for ((start, stop, _source), before), after in zip(sent, await self._hashes(suspects), strict=True):
                if before != after:
                    self.spool.replaced(start, stop)
                    doubtful.add(start, stop)
        if digest != self.content.digest.hex:
            raise SourceError("wrong", f"{self.content.digest}: what {self._names()} sent has another digest")
        await self._name_liars(accused)

    def _suspects(self, doubtful: RangeSet) -> list[tuple[int, int, str]]:
        """The rows to bring again: where two sources did not agree, else what members sent, else everything."""
        rows = list(self._plan.provenance)
        differing = [row for row in rows if any(a < row[1] and row[0] < b for a, b in doubtful)]
        return differing or [row for row in rows if row[2] != UPSTREAM] or rows

    async def _name_liars(self, accused: list[tuple[tuple[int, int, str], bytes]]) -> None:
        """Now that the right bytes are known, shun whoever sent others."""
        right = await self._hashes([row for row, _ in accused])
        liars = {row[2] for (row, sent), hashed in zip(accused, right, strict=True) if sent != hashed}
        for name in sorted(liars - {UPSTREAM}):
            self._record.failures.append(f"{name} sent wrong bytes")
            self._fetcher.lied(name, self.content)

    async def _bring_and_hash(self) -> str:
        """Carry the plan out, hashing along; return the hexadecimal sha256."""
        hashing = asyncio.create_task(self.spool.hash())
        try:
            await self._bring()
            return await hashing
        finally:
            hashing.cancel()
            await asyncio.gather(hashing, return_exceptions=True)

    async def _bring(self) -> None:
        """Carry the plan out until every byte has arrived.

        Raises:
            MirrorError: nobody is left to ask, or there is nowhere to put it.
        """
        async with asyncio.TaskGroup() as flights:
            while not self._plan.complete:
                for flight in self._plan.launch():
                    flights.create_task(self._fly(flight))
                if not self._plan.flying:
                    if self._no_room is None and self._plan.add_holders(self._locate()):
                        continue
                    break
                await self._progress.wait()
                self._progress.clear()
        if self._no_room is not None:
            raise self._no_room
        if not self._plan.complete:
            raise verdict(self.content, self._failures)

    async def _fly(self, flight: Flight) -> None:
        """Carry one flight out; what it did not bring goes back to the plan."""
        source = self._sources[flight.source]
        try:
            to_the_end = flight.stop is None or (flight.source == UPSTREAM and flight.stop == self._plan.size)
            async with source.open(self.content, flight.start, None if to_the_end else flight.stop) as delivery:
                await self._sized(delivery.size, flight.source)
                async for chunks in _batches(delivery.chunks):
                    await self.spool.write(flight.position, chunks)
                    self._count(flight, sum(map(len, chunks)))
            self._plan.landed(flight)
        except SourceError as error:
            self._fetcher.failed(flight.source, error)
            self._record.failures.append(str(error))
            self._failures.append(error)
            self._plan.failed(flight, final=error.reason not in _UPSTREAM_RETRIED)
        except (NoRoom, OSError) as error:
            self._no_room = NoRoom(str(error))
            self._plan.failed(flight)
            self._plan.halt()
        finally:
            self._progress.set()

    async def _sized(self, size: int, source: str) -> None:
        """Learn the size, or hold a source's word about it against what is known."""
        if self._plan.size is None:
            if self.content.kind == "manifests" and size > MANIFEST_MAX_BYTES:
                raise SourceError("length", f"a manifest of {size} bytes: at most {MANIFEST_MAX_BYTES} are taken")
            fd = await self._fetcher.cache.begin(self.content.digest, size)
            self._plan.sized(size)
            self._sized_by = source
            self._record.size = size
            self.spool.begin(fd, size)
            self._progress.set()
        elif size != self._plan.size:
            self._size_disputed = True
            raise SourceError("length", f"{source} says {size} bytes, {self._sized_by} said {self._plan.size}")

    def _count(self, flight: Flight, count: int) -> None:
        flight.position += count
        self._record.sources[flight.source] = self._record.sources.get(flight.source, 0) + count
        self._fetcher.received(flight.source, count)

    def _locate(self) -> list[str]:
        """Ask the directory who may hold the content now."""
        holders = {source.name: source for source in self._fetcher.holders(self.content)}
        self._sources |= holders
        return list(holders)

    def _names(self) -> str:
        return ", ".join(sorted({row[2] for row in self._plan.provenance}))

    async def _hashes(self, rows: list[tuple[int, int, str]]) -> list[bytes]:
        return await self.spool.hash_ranges([(start, stop) for start, stop, _ in rows])

    async def _abandon_when_idle(self) -> None:
        """Stop a fetch that nobody has read for a while."""
        while True:
            await self.spool.idle.wait()
            await asyncio.sleep(IDLE_S)
            if self.spool.idle.is_set():
                self.task.cancel()


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Gather chunks, so that a fast source costs one write a mebibyte, and a slow one is passed on without delay."""
    batch: list[bytes] = []
    size, since = 0, time.monotonic()
    async for chunk in chunks:
        batch.append(chunk)
        size += len(chunk)
        if size >= MEBIBYTE or time.monotonic() - since > _BATCH_S:
            yield batch
            batch, size, since = [], 0, time.monotonic()
    if batch:
        yield batch


def verdict(content: Content, failures: list[SourceError]) -> MirrorError:
    """What a client is told when nobody delivered."""
    upstream = next((error for error in reversed(failures) if isinstance(error, UpstreamError)), None)
    if isinstance(upstream, UpstreamUnknown):
        unknown = ManifestUnknown if content.kind == "manifests" else BlobUnknown
        return unknown(f"no member has {content.digest}, and upstream: {upstream}")
    if isinstance(upstream, UpstreamRefused):
        return Denied(f"no member has {content.digest}, and upstream may not be asked: {upstream}")
    last = failures[-1] if failures else PeerError("missing", "there is nobody to ask")
    return Unavailable(f"{content.digest} cannot be brought now: {upstream or last}")
