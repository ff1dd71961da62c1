"""The plan itself: what is missing, cut into flights."""

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain

from ...cluster.homes import MEBIBYTE, Ring
from ...cluster.throughput import Throughput
from ...errors import Reason
from ...oci.ranges import RangeSet, Span
from ...settings import PlanSettings
from ...sources import UPSTREAM, Role
from ..demand import Audience, Demand
from .candidates import Candidates
from .chooser import Chooser
from .flight import EARLIER, Flight, Flights, Segment
from .lazy import LazyReads
from .patience import Patience
from .pieces import Pieces
from .progress import Lateness, Progress
from .provenance import Provenance


class Opening(enum.Enum):
    """How much the first request asks for, while the size is unknown."""

    WHOLE = "the whole"
    """Everything, from whomever: manifests come in one request."""
    RUN = "a run"
    """The first MiB; if upstream is asked by the only home, everything: a registry sees one request then."""
    PIECE = "a piece"
    """The first MiB from whomever: an earlier fetch left some of the blob."""


class Plan:
    """Has one blob's bytes fetched.

    Args:
        me: this node's name.
        ring: the homes of its pieces.
        throughput: what members deliver; it is told what flights deliver.
        holders: names of members that may have the blob, best first.
        settings: bounds and durations.
        opening: how much the first request asks for.
        stated: the blob's size in bytes, as a manifest states it; None where none does.
        are_several: whether the node fetches more than one blob for its own readers now.
    """

    def __init__(  # noqa: PLR0913 - what is known of the blob and of the members when its fetch begins
        self,
        me: str,
        ring: Ring,
        throughput: Throughput,
        holders: Iterable[str] = (),
        settings: PlanSettings | None = None,
        opening: Opening = Opening.RUN,
        *,
        stated: int | None = None,
        are_several: Callable[[], bool] = lambda: False,
    ) -> None:
        settings = settings or PlanSettings()
        self.candidates = Candidates(me, ring, holders, settings)
        self.patience = Patience(settings)
        self.flights = Flights()
        self.provenance = Provenance()
        self.stuck = RangeSet()
        """What other members ask of this node as a home, and it cannot fetch now."""
        self._settings = settings
        self._pieces = Pieces(len(ring), stated)
        self.chooser = Chooser(me, self.candidates, throughput, self.flights, self._pieces, settings)
        self.lazy = LazyReads(self.chooser, self.candidates, self.flights, self._pieces, settings)
        """Has fetched what clients read by themselves."""
        self._progress = Progress(throughput, settings)
        self._opening = opening
        self._are_several = are_several
        self._gaps = RangeSet()
        self._looked_at = -settings.look_s

    @property
    def size(self) -> int | None:
        """The blob's size, in bytes; None until known."""
        return self._pieces.size

    # What happened.

    def sized(self, size: int) -> None:
        """Take note of the blob's size: from then on all sources are asked at once."""
        self._pieces.sized(size)
        self.patience.begin_anew()
        for flight in self.flights:
            flight.stop = size if flight.stop is None else min(flight.stop, size)

    def resumed(self, ranges: Iterable[Span]) -> None:
        """Take note of what an earlier fetch left."""
        self.provenance.add(Segment(start, stop, EARLIER, EARLIER) for start, stop in ranges)

    def replied(self, flight: Flight, stop: int, origin: str | None) -> None:
        """Take note of what a source promises: the end of what it sends, and the origin of that."""
        flight.stop, flight.origin = stop, origin

    def arrived(self, flight: Flight, position: int, written: Sequence[tuple[int, int]], now: float) -> None:
        """Take note of bytes: the end of what has arrived, and the ranges of it that were new, and so were written."""
        if flight not in self.flights:  # a thread wrote them before it learned that the flight was cancelled
            self.provenance.add(flight.segments_of(written))
        self._progress.arrived(flight, position, now)
        flight.position = position
        if flight.first_at is None:
            flight.first_at = now
        flight.written = flight.written or RangeSet()
        for start, stop in written:
            flight.written.add(start, stop)
            self.patience.came(stop - start, now)

    def landed(self, flight: Flight, now: float) -> None:
        """Take note that a flight delivered all that it was to deliver."""
        self._end(flight, now)
        self.patience.landed(now)
        self._progress.landed(flight, now)
        self.candidates.landed(flight, now)

    def cancelled(self, flight: Flight, now: float) -> None:
        """Take note that a flight was given up, because somebody else was faster or nobody needs it."""
        self._end(flight, now)

    def failed(self, flight: Flight, reason: Reason, now: float) -> None:
        """Take note that a flight ended early; what it did not deliver may be asked of others.

        Args:
            flight: which.
            reason: why; what follows stands in `sources.failures`.
            now: monotonic seconds.
        """
        self._end(flight, now)
        if flight.role is Role.PARTIAL and reason in (Reason.MISSING, Reason.BUSY):
            self.chooser.has_not_got(flight.start, flight.source)
        else:
            self.candidates.failed(flight, reason, now)

    def _end(self, flight: Flight, now: float) -> None:
        self.flights.remove(flight)
        self.provenance.add(flight.segments())
        self._progress.ended(flight, now)

    def refetch(self, segments: Iterable[Segment], *, avoid_sources: bool = False) -> None:
        """Have bytes fetched once more, from others than their origin; `avoid_sources`: than who sent them, too."""
        segments = list(segments)
        self.candidates.try_upstream_once_more()
        for segment in segments:
            for name in {segment.origin, segment.source} if avoid_sources else {segment.origin}:
                if name not in (UPSTREAM, EARLIER):
                    self.candidates.members.avoid(name, segment.start, segment.stop)
        self.provenance.remove(segments)

    def avoid(self, names: Iterable[str], start: int = 0, stop: int | None = None) -> None:
        """Take no more bytes of a range, or of the whole, whose origin is one of these members."""
        end = (self.size or start) if stop is None else stop
        for name in filter(self.candidates.knows, names):
            self.candidates.members.avoid(name, start, end)

    # What to do.

    def next(
        self,
        demand: Demand,
        up: Collection[str],
        serving: Collection[str],
        now: float,
        *,
        resting: Collection[str] = (),
        silent: Collection[str] = (),
    ) -> list[Flight]:
        """The requests to make now.

        Args:
            demand: what is needed, and what is here.
            up: names of members that are believed to be up, this node included.
            serving: those of them that do not decline to serve as homes.
            now: monotonic seconds.
            resting: names of members that the node leaves alone, and that are asked if nobody else can be.
            silent: names of those of them that may be gone: what they were asked for is asked of others as well.
        """
        self.candidates.update(up, serving, now, resting=resting, silent=silent)
        self.stuck = RangeSet()
        self.patience.look(now, is_lacking=demand.lacks(is_sized=self.size is not None))
        if self.patience.is_over(now):
            return []
        if self.size is None:
            if not self.chooser.has_direct_source(0):
                self.stuck = demand.members
            return [*self._unanswered(demand, now), *self._unanswered(demand, now)]  # of a second source, if it is due
        is_look = now >= self._looked_at + self._settings.look_s
        for flight in self._progress.trickling(self.flights, now) if is_look else ():
            self.candidates.members.note_trickle(flight.source, now)
        launched = [
            *map(self._launch, self.lazy.next(demand, now)),
            *self._for_members(demand, now),
            *self._for_local(demand, now),
        ]
        if is_look:
            self._looked_at = now
            launched += self._for_late(demand, self.size, now)
        return launched

    def _unanswered(self, demand: Demand, now: float) -> Iterator[Flight]:
        """Requests to make before any answer has told the size. What members ask for waits for no other node's answer.

        One request tells it. But where a manifest states it, it is hardly ever another one: then what follows is asked
        for as well, and cut anew if the first answer says otherwise.
        """
        awaited = self.chooser.awaited(self.lazy.hung)
        if demand.members and not any(flight.is_direct for flight in awaited):
            (start, stop), *_ = demand.members
            end = None if self._opening is Opening.WHOLE else stop
            run_stop = self._run_stop(start, end)
            flight = self.chooser.direct(start, end, now, run_stop=run_stop, audience=Audience.MEMBER)
            if flight is not None:
                yield self._launch(flight)
                return
        if awaited:
            return
        if demand.lazy and not self.flights:
            (start, stop), *_ = demand.lazy
            if (flight := self.chooser.for_range(start, stop, stop, now)) is not None:
                yield self._launch(flight)
                return
        if demand.local or demand.lazy:
            stated = self._pieces.stated
            end = None if self._opening is Opening.WHOLE else min(self._pieces.unit, stated or MEBIBYTE)
            first = self.chooser.for_local(0, end, now, run_stop=self._run_stop(0, end))
            if first is None:
                return
            yield self._launch(first)
            if demand.local and stated and first.stop is not None and self._opening is Opening.RUN:
                yield from self._for_local(Demand(RangeSet((0, stated)), RangeSet()), now)

    def _for_members(self, demand: Demand, now: float) -> Iterator[Flight]:
        """Requests for what other members wait for, none of which waits for another node's flight."""
        here = demand.present | self._under_way(direct_only=True)
        self._gaps = demand.members - here
        for start, stop in self._pieces.cut(self._gaps):
            if here.covers(start, stop):
                continue
            run_stop = self._run_stop(start, stop)
            flight = self.chooser.direct(start, stop, now, run_stop=run_stop, audience=Audience.MEMBER)
            if flight is not None:
                yield self._launch(flight, here)
            elif not self.chooser.has_direct_source(start):
                self.stuck.add(start, stop)
            elif not self.flights.bring(start):
                break  # all who could send it have enough to do

    def _for_local(self, demand: Demand, now: float) -> Iterator[Flight]:
        """Requests for this node's own readers, as many as the window allows."""
        here = demand.present | self._under_way()
        self._gaps = demand.local - here
        looks_left = window = self.chooser.window(is_alone=not self._are_several())
        awaited = sum(flight.audience is Audience.LOCAL for flight in self.chooser.awaited(self.lazy.hung))
        own = self.chooser.own_pieces(self._gaps) if not len(self.provenance) else ()
        for start, stop in chain(own, self._pieces.in_order(self._gaps, demand.heads)):
            if not looks_left or awaited >= window:
                break
            if here.covers(start, stop):
                continue
            flight = self.chooser.for_local(start, stop, now, run_stop=self._run_stop(start, stop))
            if flight is not None:
                awaited += not self.chooser.may_fail(flight)
                yield self._launch(flight, here)
            else:
                looks_left = 0 if self.chooser.holders_are_full else looks_left - 1

    def _for_late(self, demand: Demand, size: int, now: float) -> list[Flight]:
        """A request for the rest of the latest flight for which there is another source, if any is late."""
        flights = self.chooser.awaited(self.lazy.hung)
        self._progress.sample(flights, now)
        at_the_end = (demand.present | self._under_way()).covers(0, size)
        for flight, lateness in self._progress.late(flights, now, at_the_end=at_the_end):
            if lateness is Lateness.SLOW and flight.role is Role.HOME:  # as a holder of all of it, it would be as slow
                self.candidates.members.note_trickle(flight.source, now)
            run_stop = self._run_stop(flight.position, flight.stop)
            second = self.chooser.second(flight, lateness, now, run_stop=run_stop)
            if second is not None:
                return [self._launch(second)]
        return []

    def _under_way(self, *, direct_only: bool = False) -> RangeSet:
        """What flights will deliver; a trickle counts only where there are two.

        Args:
            direct_only: without flights that wait for another node's.
        """
        spans: list[Span] = []
        trickles: list[Span] = []
        for flight in self.chooser.awaited(self.lazy.hung):
            if flight.stop is None or (direct_only and not flight.is_direct):
                continue
            trickles_in = flight.role.is_holder and self.candidates.is_given_up(flight.source, flight.start)
            (trickles if trickles_in else spans).append((flight.position, flight.stop))
        return RangeSet(*spans, *_twice(trickles))

    def _run_stop(self, start: int, stop: int | None) -> int | None:
        """How far one run from `start` may go: to the next byte that is here or under way; None: to the end."""
        if stop is None or self.size is None:
            return stop if self._opening is Opening.PIECE or len(self.flights) else None
        return max(stop, self._gaps.front(start))

    def _launch(self, flight: Flight, here: RangeSet | None = None) -> Flight:
        """Take a flight into account, and its bytes as here or under way."""
        self.flights.add(flight)
        self._progress.launched(flight)
        if here is not None and flight.stop is not None:
            here.add(flight.start, flight.stop)
            self._gaps.remove(flight.start, flight.stop)
        return flight


def _twice(spans: Iterable[Span]) -> RangeSet:
    """What is in more than one of some ranges."""
    once, twice = RangeSet(), RangeSet()
    for start, stop in spans:
        twice |= once & RangeSet((start, stop))
        once.add(start, stop)
    return twice
