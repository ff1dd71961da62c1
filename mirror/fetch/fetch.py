"""One fetch: a spool, its plan, and the task that carries it out."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..cluster.homes import MEBIBYTE, piece_size
from ..errors import (
    MirrorError,
    Reason,
    Refusal,
    SourceError,
    StorageError,
    StorageFailed,
    StorageFull,
    Unavailable,
)
from ..oci.content import Content
from ..oci.manifest import MANIFEST_MAX_BYTES
from ..oci.ranges import RangeSet
from ..sources import SIZE_MAX_BYTES, UPSTREAM, RangeReply, RangeRequest, Role, Source
from ..sources.failures import CONSEQUENCES
from .demand import Demand
from .inquiry import Inquiry
from .landing import Landing
from .plan import EARLIER, Flight, Plan, Row
from .record import Outcome, Record
from .spool import DiskFile, MemoryWindow, Spool
from .verdict import verdict

if TYPE_CHECKING:
    from ..stores.cache import CacheWriter
    from .fetcher import Fetcher

log = logging.getLogger(__name__)

IDLE_S = 30.0
"""A fetch that nobody reads any more goes on for so long: a client that lost its connection comes back."""

IN_MEMORY_MAX = 32
"""Fetches at once whose spools are in memory, for want of room in the cache."""

_SHORT_MAX = 8
"""A home sends less than it was asked for where the rest is another's word; but not so often in a row."""

_NAMES_MAX = 8
_LOOK_S = 0.25
_PATIENCE_S = 20.0


class Fetch:
    """Brings one blob, or the parts of it that others ask of this node as their home.

    Args:
        fetcher: knows the members and what else this node has.
        content: what is to come, and the repository of which upstream is asked for it.
    """

    def __init__(self, fetcher: "Fetcher", content: Content) -> None:
        self.content = content
        self._contents = [content]
        """By all names that somebody asked for it, in the order in which upstream is asked."""
        self.is_in_memory = False
        self._changed = asyncio.Event()
        self.spool = Spool(content, fetcher.spool_settings, self._changed.set)
        self._fetcher = fetcher
        self._sources: dict[str, Source] = {}
        self._short: dict[str, int] = {}
        self._known = {UPSTREAM}
        holders = self._locate()
        ring = fetcher.ring(content.digest.key, without=set(holders))
        at_once = content.kind == "manifests"
        self._plan = Plan(fetcher.name, ring, fetcher.pace, holders, at_once=at_once)
        self._plan.begun = fetcher.cache.has_partial(content.digest)
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        self._failures: list[SourceError] = []
        self._storage_error: StorageError | None = None
        self._writer: CacheWriter | None = None
        self._sized_by = UPSTREAM
        self._disputed_by: set[str] = set()
        self._sizing = asyncio.Lock()
        self._inquiry = Inquiry(self.spool, self._plan)
        self._heard_at = time.monotonic()
        self._record = Record(str(content.digest), str(content.repository), time.time())
        self.task = asyncio.create_task(self._run(), name=f"fetch {content.digest}")
        self.task.add_done_callback(lambda _: self._never_ran())

    @property
    def is_left(self) -> bool:
        """Whether it is in memory, and nobody reads it now."""
        return self.is_in_memory and self.spool.is_idle

    @property
    def is_kept(self) -> bool:
        """Whether it writes to the cache."""
        return self._writer is not None

    def also(self, content: Content) -> None:
        """Hear by which name somebody else asks for the same: should one repository not have it, another may."""
        if content.kind == self.content.kind and content not in self._contents and len(self._contents) < _NAMES_MAX:
            self._contents.append(content)
            self._turn_to_the_next()

    def _turn_to_the_next(self) -> None:
        """RangeRequest another repository, if there is one, when this one is out."""
        left = self._contents[self._contents.index(self.content) + 1 :]
        if left and self._storage_error is None and self._plan.sources.upstream_is_out:
            self.content = left[0]
            self._plan.sources.renew()
            self._changed.set()

    # For other members.

    @property
    def elsewhere(self) -> bool:
        """Whether another member is the home of all of it, since upstream has no ranges."""
        return self._plan.sources.elsewhere()

    def origin(self, start: int, stop: int) -> tuple[str | None, int]:
        """Whose word the bytes from `start` on are, and up to where.

        Returns:
            A member's name, or `upstream`, or None for this node's own; and the end of what is of that origin, as far
            as can be told before it has all come; at most `stop`.
        """
        origin, end = self._part(start) or (None, stop)
        while end < stop:
            part = self._part(end)
            if part is None:  # it is still to come, from whoever brings it
                return origin, stop
            if part[0] != origin:
                break
            end = part[1]
        return origin, min(end, stop)

    def _part(self, offset: int) -> tuple[str | None, int] | None:
        """The origin of a byte, and the end of what came, or is coming, together with it; None where it is not."""
        for row in self._plan.makers(offset, offset + 1):
            return (row.maker if row.maker != EARLIER else None), row.stop
        for flight in self._plan.flights:
            if flight.stop is not None and flight.start <= offset < flight.stop:
                return flight.origin or flight.source, flight.stop
        return None

    async def distrust(self, names: Iterable[str], start: int, stop: int) -> None:
        """Have bytes that came from some members brought once more, and all of a range from elsewhere."""
        avoided = set(names)
        self._plan.avoid(avoided, start, stop)
        rows = [row for row in self._plan.makers(start, stop) if row.maker in avoided or row.source in avoided]
        if rows and not self.spool.is_complete and not self.spool.is_trimmed:
            await self._take_back(rows)
            self._changed.set()

    # Its own task.

    async def _run(self) -> None:
        """Fetch, verify, commit; whatever happens the readers learn of it."""
        fetcher, started = self._fetcher, time.monotonic()
        fetcher.records.append(self._record)
        abandonment = asyncio.create_task(self._abandon_when_idle())
        try:
            await self._fetch()
            if self._writer is not None:
                self._writer.commit()
            self.spool.finish()
            self._record.outcome = "complete"
            fetcher.metrics.fetch_seconds.observe(time.monotonic() - started)
        except MirrorError as error:
            self._fail("failed", error)
        except OSError as error:
            self._fail("failed", StorageFailed(f"the cache's disk failed: {error.strerror}"))
        except asyncio.CancelledError:
            outcome: Outcome = "abandoned" if self.spool.was_read_locally else "relayed"
            self._fail(outcome, Unavailable(f"the fetch of {self.content.digest} was given up"))
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

    def _fail(self, outcome: Outcome, error: MirrorError) -> None:
        if outcome == "failed" and self._sized_by != UPSTREAM and self._is_contradicted():
            self._fetcher.lied(self._sized_by, self.content)
        self._record.outcome = outcome
        if outcome != "relayed":
            self._record.failures.append(str(error))
        if self._writer is not None:
            wrong = isinstance(error, SourceError) and error.reason is Reason.CORRUPT
            if self._inquiry.begun or self._disputed_by or wrong:
                self._writer.discard()
            else:
                self._writer.leave()
        self.spool.fail(error)

    def _is_contradicted(self) -> bool:
        """Whether the size that was believed was wrong, with which nobody else's bytes were taken."""
        return UPSTREAM in self._disputed_by or len(self._disputed_by) > 1

    async def _fetch(self) -> None:
        """Bring all bytes, and bring again what may be wrong, until the digest is right."""
        inquiry, rounds = self._inquiry, self._inquiry.rounds()
        digest = await self._bring_and_hash()
        while digest != self.content.digest.hex and not self.spool.is_trimmed:  # what was let go tells nothing
            rows = next(rounds, None)
            if rows is None:
                break
            if rows or inquiry.begun:
                names = ", ".join(sorted({row.maker for row in rows}))
                log.warning(
                    "%s: wrong digest; bringing %d parts again, not from %s", self.content.digest, len(rows), names
                )
                await self._take_back(rows)
                digest = await self._bring_and_hash()
                await inquiry.compare()
        if digest != self.content.digest.hex:
            names = ", ".join(sorted({row.maker for row in self._plan.provenance}))
            raise SourceError(Reason.CORRUPT, f"{self.content.digest}: what {names} sent has another digest")
        for name in sorted(await inquiry.compare() - {UPSTREAM, EARLIER}):
            self._record.failures.append(f"{name} sent wrong bytes")
            self._fetcher.lied(name, self.content)

    async def _take_back(self, rows: list[Row]) -> None:
        """Have bytes brought once more; what is on disk of them is not to be resumed."""
        if await self._inquiry.take_back(rows) and self._writer is not None:
            self._writer.keep(0)

    # Bringing.

    async def _bring_and_hash(self) -> str:
        """Carry the plan out, hashing along; return the hexadecimal sha256."""
        hashing = asyncio.create_task(self._hash())
        hashing.add_done_callback(lambda _: self._changed.set())
        try:
            await self._bring(hashing)
            return await hashing
        finally:
            hashing.cancel()
            await asyncio.gather(hashing, return_exceptions=True)

    async def _hash(self) -> str:
        return await self.spool.hash(self._append_prefix)

    def _append_prefix(self, prefix: bytes) -> None:
        if self._writer is not None:
            self._writer.append_prefix(prefix)

    async def _bring(self, hashing: asyncio.Task[str]) -> None:
        """Carry the plan out until every byte has been hashed.

        Raises:
            MirrorError: nobody is left to ask, or there is nowhere to put it.
        """
        self._heard_at = time.monotonic()
        async with asyncio.TaskGroup() as flights:
            while not hashing.done():
                self._changed.clear()
                demand = self._launch(flights)
                lacking = self._lacks(demand)
                if lacking and not self._plan.flights:
                    if self._storage_error is None and self._plan.sources.add_holders(self._locate()):
                        continue
                    if not self._is_worth_waiting():
                        if self._plan.size is None:  # what failed for another member may not fail for who asks next
                            self._fetcher.ends(self)
                        break
                self._fetcher.tell_slow(self._plan.sources.ring.members)
                await self._change(lacking or bool(self._plan.flights))
            for task in self._tasks.values():
                task.cancel()
        if self._storage_error is not None:
            raise self._storage_error
        if not hashing.done():
            raise verdict(self.content, self._failures)

    def _launch(self, flights: asyncio.TaskGroup) -> Demand:
        """Do what the plan says now; tell what is wanted."""
        now = time.monotonic()
        for flight in self._plan.superfluous(self.spool.present):
            log.debug("needless %s", flight)
            self._plan.needless(flight, now)
            self._tasks[flight].cancel()
        if now - self._located_at > _LOOK_S:
            self._plan.sources.add_holders(self._locate())
        demand = self.spool.demand()
        up = self._fetcher.up()
        self._known.update(up, self._plan.sources.ring.members)
        for flight in self._plan.next(demand, up, self._fetcher.serving(), now):
            self._tasks[flight] = flights.create_task(self._fly(flight))
        if self._plan.flights:
            self._heard_at = now
            if self._plan.stuck:  # without any flight it waits, or ends, for everybody
                self.spool.refuse_members(self._plan.stuck, self._refusal())
        return demand

    def _refusal(self) -> MirrorError:
        """What members are told that take this node for a home of what it cannot bring."""
        if self._plan.sources.elsewhere():
            return Refusal(
                Reason.WHOLE, f"upstream has no ranges, and another member is the home of all {self.content.digest}"
            )
        return verdict(self.content, self._failures)

    def _is_worth_waiting(self) -> bool:
        """Whether somebody who cannot be asked now may be asked soon."""
        if self._storage_error is not None:
            return False
        now = time.monotonic()
        if self._fetcher.awaits(self._plan.sources.holders):
            return now - self._heard_at <= _PATIENCE_S
        again_at = self._plan.sources.again_at(now)
        return again_at is not None and again_at - self._heard_at <= _PATIENCE_S

    def _lacks(self, demand: Demand) -> bool:
        """Whether anything is to be brought that is not here."""
        if self._plan.size is None:
            return bool(demand.local or demand.members)
        return bool((demand.local | demand.members) - demand.present)

    async def _change(self, looking: bool) -> None:
        """Wait until something is different; while flights are on their way or awaited, look after them besides."""
        look = asyncio.get_running_loop().call_later(_LOOK_S, self._changed.set) if looking else None
        try:
            await self._changed.wait()
        finally:
            if look is not None:
                look.cancel()

    async def _fly(self, flight: Flight) -> None:
        """Carry one flight out; what it did not bring goes back to the plan."""
        landing = Landing(self, flight)
        try:
            source = self._sources.get(flight.source) or self._find(flight.source)
            await source.download(self.content, self._ask(flight), landing)
            landing.settle()
            if flight in self._plan.flights:
                log.debug("landed %s", flight)
                self._plan.landed(flight, time.monotonic())
        except SourceError as error:
            landing.settle()
            if flight in self._plan.flights:
                self._failed(flight, error)
        except (StorageError, OSError) as error:
            landing.settle()
            self._storage_error = error if isinstance(error, StorageError) else StorageFailed(str(error))
            if flight in self._plan.flights:
                self._plan.failed(flight, Reason.DISK, time.monotonic())
            self._plan.sources.halt()
        except asyncio.CancelledError:
            landing.settle()
            if flight in self._plan.flights:  # not for being needless: the fetch has ended, or all has come
                self._plan.needless(flight, time.monotonic())
                raise
        finally:
            del self._tasks[flight]
            self._changed.set()

    def _failed(self, flight: Flight, error: SourceError) -> None:
        if CONSEQUENCES[error.reason].is_failure and flight.role is not Role.PARTIAL:
            self._fetcher.failed(flight.source, error)
            self._sources.pop(flight.source, None)  # it may be back at another address
            self._record.failures.append(str(error))
            self._failures.append(error)
        if flight.source == UPSTREAM and error.reason is Reason.RANGE and self._plan.size is None and flight.start:
            self.spool.hint = (0, MEBIBYTE)  # another member asked for what there is not: this tells the size
            error = SourceError(Reason.BROKEN, str(error))
        final = not CONSEQUENCES[error.reason].retried
        self._plan.failed(flight, error.reason, time.monotonic(), final=final)
        self._turn_to_the_next()

    def _ask(self, flight: Flight) -> RangeRequest:
        to_the_end = flight.stop is None or (flight.source == UPSTREAM and flight.stop == self._plan.size)
        return RangeRequest(
            flight.start,
            None if to_the_end else flight.stop,
            role=flight.role,
            avoid=flight.avoid,
            relative_rate=self._fetcher.pace.share(flight.source, self._plan.sources.ring.members, time.monotonic()),
        )

    async def begin(self, flight: Flight, promise: RangeReply) -> None:
        """Learn the size, or hold a source's word about it against what is known."""
        source = flight.source
        async with self._sizing:
            if self._plan.size is None:
                await self._make_room(_checked(promise.size, source, self.content))
                self._plan.sized(promise.size)
                self._sized_by = source
                self._record.size = promise.size
                self._changed.set()
            elif promise.size != self._plan.size:
                self._disputed_by.add(source)
                raise SourceError(
                    Reason.LENGTH, f"{source} says {promise.size} bytes, {self._sized_by} said {self._plan.size}"
                )
        self._expect(flight, promise)
        if not promise.ranged:
            self._plan.sources.without_ranges = True
            if self._plan.sources.elsewhere():
                raise SourceError(Reason.WHOLE, f"{source} has no ranges, and another member is the home of the whole")

    def begin_at_once(self, flight: Flight, promise: RangeReply) -> bool:
        """Do what `begin` does where the size is known and right; in any thread: reads only, but for the flight."""
        if promise.size != self._plan.size or not promise.ranged or promise.stop != flight.stop:
            return False
        self._expect(flight, promise)
        return True

    def _expect(self, flight: Flight, promise: RangeReply) -> None:
        """Take in what will come, and whose word it is: the source's, where that is nobody whom this node knows.

        Raises:
            SourceError: the source sends some bytes at a time.
        """
        short = flight.stop is not None and promise.stop < flight.stop
        self._short[flight.source] = self._short.get(flight.source, 0) + 1 if short else 0
        if self._short[flight.source] > _SHORT_MAX:
            raise SourceError(Reason.RANGE, f"{flight.source} goes on sending less than it was asked for")
        flight.origin = promise.origin if promise.origin in self._known else None
        flight.stop = promise.stop

    async def _make_room(self, size: int) -> None:
        """Have a file in the cache, with what an earlier fetch left there, or in memory where the cache has no room."""
        await self._fetcher.parted(self)
        try:
            self._writer = await self._fetcher.cache.begin(self.content.digest, size)
        except StorageError as error:
            if self._fetcher.in_memory >= IN_MEMORY_MAX and not await self._fetcher.make_way():
                raise StorageFull(f"{IN_MEMORY_MAX} blobs pass through memory already, and {error}") from error
            log.info("%s passes through memory without being kept: %s", self.content.digest, error)
            self.spool.open(MemoryWindow(size, self._fetcher.spool_settings))
            self.is_in_memory = True
            return
        self.spool.open(DiskFile(self._writer.fd, size))
        if self._writer.prefixes:
            self._record.resumed = await self.spool.resume(self._writer.prefixes)
            self._writer.keep(self._record.resumed // piece_size(size))
            self._plan.found(self._record.resumed)

    def count(self, flight: Flight, position: int, written: list[tuple[int, int]]) -> None:
        """Take note of what a flight has brought.

        Args:
            flight: which.
            position: the end of what came.
            written: what of it was written, since it was not here yet.
        """
        self._fetcher.received(flight.source, position - flight.position)
        flight.position = position
        if flight.first_at is None:
            flight.first_at = time.monotonic()
        flight.written = flight.written or RangeSet()
        for start, stop in written:
            flight.written.add(start, stop)
            self._record.sources[flight.source] = self._record.sources.get(flight.source, 0) + stop - start
            self.spool.arrived(start, stop)

    def _locate(self) -> list[str]:
        """RangeRequest the directory who may hold the content now."""
        self._located_at = time.monotonic()
        holders = self._fetcher.holders(self.content)
        self._sources |= {peer.name: self._fetcher.peers.source(peer) for peer in holders}
        return [peer.name for peer in holders]

    def _find(self, name: str) -> Source:
        self._sources |= self._fetcher.sources()
        source = self._sources.get(name)
        if source is None:
            raise SourceError(Reason.UNREACHABLE, f"{name} is no member any more")
        return source

    async def _abandon_when_idle(self) -> None:
        """Stop a fetch that nobody has read for a while."""
        while True:
            await self.spool.idle.wait()
            await asyncio.sleep(IDLE_S)
            if self.spool.idle.is_set():
                self._fetcher.ends(self)  # who comes now begins anew, and is not let down with this one
                self.task.cancel()


def _checked(size: int, source: str, content: Content) -> int:
    """The size itself, if anything can be so large."""
    most = MANIFEST_MAX_BYTES if content.kind == "manifests" else SIZE_MAX_BYTES
    if size > most:
        raise SourceError(Reason.LENGTH, f"{source} says {size} bytes: of {content.kind} at most {most} are taken")
    return size
