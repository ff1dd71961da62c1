"""The download: carries a plan out, flight by flight, until nothing more is needed."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from ..cluster.homes import MEBIBYTE
from ..errors import MirrorError, Reason, Refusal, SourceError, StorageError, StorageFailed, UpstreamEnded
from ..oci.content import Content
from ..sources import UPSTREAM, RangeReply, RangeRequest, Role, Source
from ..sources.failures import CONSEQUENCES
from .client_error import client_error
from .demand import Audience, Demand
from .environment import Environment
from .evidence import Evidence
from .intake import Intake
from .plan import Flight, Plan
from .record import Record
from .repositories import Repositories
from .sink import FlightSink
from .spool import Spool

log = logging.getLogger(__name__)


class Download:
    """The flights of one fetch.

    Args:
        repositories: the names under which upstream is asked for the blob.
        spool: says what is needed, and gets the bytes.
        plan: says what to do.
        evidence: asks others about what members sent.
        intake: agrees on the size.
        record: for people.
        env: the node's parts.
        changed: set whenever something is different; the spool sets it, too.
        on_hopeless: is called when nobody can tell the size: whoever asks from then on needs a new fetch.
    """

    def __init__(  # noqa: PLR0913 - the parts of one fetch, put together in one place
        self,
        repositories: Repositories,
        spool: Spool,
        plan: Plan,
        *,
        evidence: Evidence,
        intake: Intake,
        record: Record,
        env: Environment,
        changed: asyncio.Event,
        on_hopeless: Callable[[], None],
    ) -> None:
        self._repositories = repositories
        self._spool = spool
        self._plan = plan
        self._candidates = plan.candidates
        self._evidence = evidence
        self._intake = intake
        self._record = record
        self._env = env
        self._settings = env.settings.fetch
        self._changed = changed
        self._on_hopeless = on_hopeless
        received = env.metrics.received_bytes
        self._received = {True: received.labels("upstream"), False: received.labels("peer")}
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        self._failures: list[SourceError] = []
        self._storage_error: StorageError | None = None
        self._short_replies: dict[str, int] = {}
        self._known = {UPSTREAM}
        """Names that may stand as the origin of bytes: all members ever seen up."""
        self._active_at = time.monotonic()
        """When a flight was last under way."""
        self._located_at = time.monotonic()

    @property
    def content(self) -> Content:
        """What is fetched, under the repository name that upstream is asked for at present."""
        return self._repositories.current

    def add_name(self, content: Content) -> None:
        """Take note of another name by which the same content is asked for."""
        self._repositories.add(content)
        self._turn_to_next_repository()

    def _turn_to_next_repository(self) -> None:
        """If upstream does not answer for this repository, go on to the next one, where there is one."""
        upstream = self._candidates.upstream
        is_asked = upstream.may_be_asked or self._storage_error is not None
        if not is_asked and self._repositories.turn_to_next(elsewhere=upstream.is_resting):
            self._candidates.renew()
            self._changed.set()

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Carry the plan out until nothing more is needed.

        Args:
            is_over: says when that is so; looked at whenever something has changed.

        Raises:
            MirrorError: nobody is left to ask, or there is no place for the bytes.
        """
        await self._find_holders()
        self._active_at = time.monotonic()
        async with asyncio.TaskGroup() as flights:
            while not is_over() and self._evidence.hopeless() is None:
                self._changed.clear()
                self._evidence.look(self.content, time.monotonic())
                demand = self._launch(flights)
                lacks = demand.lacks(is_sized=self._plan.size is not None)
                if self._intake.rests_on_an_invented_size(flight.source for flight in self._plan.flights):
                    break
                if lacks and not self._plan.flights:
                    if self._storage_error is None and self._candidates.add_holders(self._locate()):
                        continue
                    if not self._is_worth_waiting():
                        if self._plan.size is None:
                            self._on_hopeless()
                        break
                self._env.slow.notify(self._candidates.ring.members)
                is_idle = not (lacks or self._plan.flights) and self._spool.idle.is_set()
                again_s = self._settings.idle_s if is_idle else self._settings.look_s  # nobody waits: it ends then
                await _changes(self._changed, again_s, self._spool.readers.look_again)
            for task in self._tasks.values():
                task.cancel()
        error = self._storage_error or self._evidence.hopeless()
        if error is not None:
            raise error
        if not is_over():
            raise client_error(self.content, self._failures)

    async def _find_holders(self) -> None:
        """Wait for the first holder, where the router has to ask for it; else the plan has all that are known."""
        if (asking := self._env.cluster.look_up(self.content.digest.key)) is not None:
            await asking
            self._candidates.add_holders(self._locate())

    def _launch(self, flights: asyncio.TaskGroup) -> Demand:
        """Make the requests that the plan wants now; return what is needed."""
        now, plan, cluster = time.monotonic(), self._plan, self._env.cluster
        self._give_up(plan.flights.superfluous(self._spool.present), now)
        if now - self._located_at > self._settings.look_s:
            cluster.look_up(self.content.digest.key)  # what others answer is seen at the next look
            self._candidates.add_holders(self._locate())
        demand, up = self._spool.demand(), cluster.up()
        if plan.lazy.look(demand, now) and not self._spool.interest.do_ranges_need_whole:
            self._spool.interest.want_whole()
            demand = self._spool.demand()
        self._known.update(up, self._candidates.ring.members)
        resting, silent = cluster.resting(), self._env.health.silent()
        registry = self.content.repository.registry
        outages, serving = self._env.outages, self._env.serving(registry, now)
        is_out = outages.why(registry, now) is not None
        self._candidates.look_at_registry(now, is_out=is_out, returned_at=outages.returned_at(registry))
        is_held_up = (backing := self._spool.backing) is not None and backing.is_in_memory
        for _ in range(2):
            for flight in plan.next(demand, up, serving, now, resting=resting, silent=silent):
                log.debug("asked %s digest=%s", flight, self.content.digest)
                self._tasks[flight] = flights.create_task(self._fly(flight))
            if not (is_held_up and (in_the_way := plan.flights.in_the_way(demand.needed, demand.present))):
                break
            self._give_up(in_the_way, now)
        if plan.flights or is_out:  # its return is waited for, within the plan's patience
            self._active_at = now
        # Without any flight the fetch waits, or ends, for everybody; but another home's line may not be cut.
        refusal = self._refusal() if plan.stuck and (plan.flights or is_out) else None
        self._spool.refuse_members(plan.stuck, refusal)
        return demand

    def _give_up(self, superfluous: Iterable[Flight], now: float) -> None:
        for flight in superfluous:
            log.debug("superfluous %s", flight)
            self._plan.cancelled(flight, now)
            self._tasks[flight].cancel()

    def _locate(self) -> list[str]:
        """Names of those that may hold the content now, those last that rest."""
        self._located_at, key, cluster = time.monotonic(), self.content.digest.key, self._env.cluster
        return [peer.name for peer in (*cluster.holders(key), *cluster.last_holders(key))]

    def _refusal(self) -> MirrorError:
        """The error for members that ask this node, as a home, for what it cannot fetch."""
        if self._candidates.whole_is_elsewhere():
            digest = self.content.digest
            return Refusal(
                Reason.WHOLE, f"upstream serves no ranges, and another member is the home of all of {digest}"
            )
        return client_error(self.content, self._failures)

    def _is_worth_waiting(self) -> bool:
        """Whether somebody who cannot be asked now may be asked soon."""
        now, patience_s = time.monotonic(), self._settings.patience_s
        if self._storage_error is not None or self._plan.patience.is_over(now):
            return False
        candidates, health = self._candidates, self._env.health
        is_awaited = candidates.settling.awaits_any(candidates.ring.members) or health.awaits(candidates.holders)
        if is_awaited or self._evidence.is_awaited or not health.silent().isdisjoint(candidates.ring.members):
            return now - self._active_at <= patience_s
        awaits_registry = self._plan.size is not None or self._env.awaits_registry(self.content, now)
        again_at = candidates.again_at(now, awaits_registry=awaits_registry)
        return again_at is not None and again_at - self._active_at <= patience_s

    async def _fly(self, flight: Flight) -> None:
        """Carry one flight out; what it did not deliver goes back to the plan."""
        notice_s = self._settings.notice_s
        sink = FlightSink(flight, self._spool, self._plan.size, notice_s, self._replied, self._arrived)
        outcome: SourceError | StorageError | None = None
        try:
            await self._source(flight.source).download(self.content, self._request(flight), sink)
        except (SourceError, StorageError) as error:
            outcome = error
        except OSError as error:
            outcome = StorageFailed(f"the cache's disk failed: {error.strerror}")
        except asyncio.CancelledError:
            sink.report()
            if flight in self._plan.flights:  # not for being superfluous: the fetch has ended, or all has come
                self._plan.cancelled(flight, time.monotonic())
                raise
            return
        finally:
            del self._tasks[flight]
            self._changed.set()
        sink.report()
        self._landed(flight, outcome)

    def _landed(self, flight: Flight, outcome: SourceError | StorageError | None) -> None:
        """Tell the plan how a flight ended, unless it was given up as superfluous meanwhile."""
        count, seconds = flight.position - flight.start, time.monotonic() - flight.began_at
        self._record.landed(flight.source, flight.role.value, count, seconds, outcome)
        if flight in self._plan.flights:
            if outcome is None:
                log.debug("landed %s digest=%s", flight, self.content.digest)
                self._plan.landed(flight, time.monotonic())
            elif isinstance(outcome, SourceError):
                self._failed(flight, outcome)
            else:
                self._plan.failed(flight, Reason.DISK, time.monotonic())
        if isinstance(outcome, StorageError):
            self._storage_error = outcome
            self._candidates.halt()  # after what the failure says of the source, which rests for a while only

    def _failed(self, flight: Flight, error: SourceError) -> None:
        log.debug("failed %s reason=%s error=%s digest=%s", flight, error.reason, error, self.content.digest)
        follows, reason = CONSEQUENCES[error.reason], error.reason
        size = self._plan.size
        if reason is Reason.RANGE and size is not None and flight.start >= size > 0:
            self._plan.cancelled(flight, time.monotonic())  # a manifest had stated another size
            return
        beyond_end = reason is Reason.RANGE and size is None and flight.start > 0
        if beyond_end:  # the client's doing: who says so is right, and the first bytes tell the size
            self._spool.interest.hints |= {Audience.MEMBER: (0, MEBIBYTE), Audience.LAZY: (0, 1)}
            reason = Reason.BROKEN if flight.source == UPSTREAM else Reason.BUSY
        elif follows.is_failure and flight.role is not Role.PARTIAL:
            if flight.source == UPSTREAM:
                self._env.metrics.source_failed("upstream", error.reason)
            else:
                self._env.health.failed(flight.source, error, flight.role)
            self._record.failures.append(str(error))
            self._failures.append(error)
        if isinstance(error, UpstreamEnded):
            self._intake.ended(flight.source)
        self._plan.failed(flight, reason, time.monotonic())
        if self._candidates.troubles.agree:
            self._env.outages.told(self.content.repository.registry, time.monotonic())
        self._turn_to_next_repository()

    def _source(self, name: str) -> Source:
        source = self._env.source(name)
        if source is None:
            raise SourceError(Reason.UNREACHABLE, f"{name} is no member any more")
        return source

    def _request(self, flight: Flight) -> RangeRequest:
        now, ring = time.monotonic(), self._candidates.ring
        to_the_end = flight.stop is None or (flight.source == UPSTREAM and flight.stop == self._plan.size)
        return RangeRequest(
            flight.start,
            None if to_the_end else flight.stop,
            flight.role,
            flight.avoid,
            self._env.throughput.relative_rate(flight.source, ring.members, now),
            self._plan.size or self._env.opinion.stated(self.content),
        )

    async def _replied(self, flight: Flight, reply: RangeReply) -> None:
        """Take a reply that was not the expected one, or for which there was no expectation yet.

        Raises:
            SourceError: it contradicts what is known, or the source goes on sending next to nothing.
            StorageError: there is no place for the blob.
        """
        await self._intake.agree(flight.source, reply.size)
        self._changed.set()
        short = flight.stop is not None and reply.stop < flight.stop
        count = self._short_replies[flight.source] = self._short_replies.get(flight.source, 0) + 1 if short else 0
        if count > self._settings.short_replies_max:
            raise SourceError(Reason.RANGE, f"{flight.source} goes on sending less than it was asked for")
        self._take(flight, reply)
        if not reply.ranged:
            self._candidates.learn_upstream_has_no_ranges()
            if flight.audience is Audience.LAZY and self._candidates.upstream.may_be_asked:
                raise SourceError(Reason.WHOLE, f"{flight.source} serves no ranges: all of it is fetched")
            if self._candidates.whole_is_elsewhere() and not self._plan.chooser.is_upstream_alone:
                raise SourceError(
                    Reason.WHOLE, f"{flight.source} serves no ranges, and another member is the home of the whole"
                )

    def _take(self, flight: Flight, reply: RangeReply) -> None:
        """Tell the plan what will come, and its origin: the source itself, unless a home names a known member."""
        is_named = reply.origin in self._known and not flight.role.is_holder
        self._plan.replied(flight, reply.stop, reply.origin if is_named else None)

    def _arrived(self, flight: Flight, reply: RangeReply | None, position: int, written: list[tuple[int, int]]) -> None:
        """Take note of bytes that a flight delivered, and of the expected reply that came before them."""
        if reply is not None:
            self._short_replies[flight.source] = 0
            self._take(flight, reply)
        self._received[flight.source == UPSTREAM].inc(position - flight.position)
        self._plan.arrived(flight, position, written, time.monotonic())
        for start, stop in written:
            self._record.sources[flight.source] = self._record.sources.get(flight.source, 0) + stop - start
            if flight.source == UPSTREAM:
                self._spool.vouching.release(start, stop)
            self._spool.arrived(start, stop)


async def _changes(changed: asyncio.Event, within_s: float, look: Callable[[], None]) -> None:
    """Wait until something is different; have all look who wait for anything, if nothing is for so long."""
    timer = asyncio.get_running_loop().call_later(within_s, look)
    try:
        await changed.wait()
    finally:
        timer.cancel()
