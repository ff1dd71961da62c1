"""The plan itself: what is missing, cut into flights."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from ...cluster.homes import MEBIBYTE, Ring, piece_size
from ...cluster.throughput import Throughput
from ...errors import Reason
from ...oci.ranges import RangeSet
from ...sources import UPSTREAM, Role
from ..demand import Demand
from .flight import EARLIER, Flight, Row
from .progress import Progress
from .sources import Sources

LANES = 2
"""Requests under way at once to one holder: one arrives while the next is being asked for."""

HOME_LANES = 4
"""Requests under way at once to one home; the ring gives each of them about one in a window."""

UPSTREAM_LANES = 8
"""Requests under way at once to upstream for one blob, on behalf of others most of all."""

WINDOW_MIN, WINDOW_MAX = 4, 32

KEPT_TRIES = 3
"""So many members are asked whether they have a late piece already, before another home is to bring it."""

_LOOK_S = 0.2


class Plan:
    """Brings one blob.

    Args:
        me: this node's name.
        ring: the homes of its pieces.
        pace: what members deliver.
        holders: names of members that may have it, best first.
        upstream: whether upstream may be asked.
        at_once: whether it is to come in one request, as manifests do.
    """

    def __init__(
        self,
        me: str,
        ring: Ring,
        pace: Throughput,
        holders: Iterable[str] = (),
        *,
        upstream: bool = True,
        at_once: bool = False,
    ) -> None:
        self.sources = Sources(me, ring, holders, upstream=upstream)
        self.size: int | None = None
        self.begun = False
        """An earlier fetch left some of it: then not all of it is asked for while the size is not known."""
        self.flights: list[Flight] = []
        self.provenance: list[Row] = []
        self.stuck = RangeSet()
        """What others ask of this node as a home, and it cannot bring now."""
        self._me = me
        self._pace = pace
        self._progress = Progress(pace)
        self._at_once = at_once
        self._lacking: dict[int, set[str]] = {}
        """Of late pieces: members that have not got them either."""
        self._gaps = RangeSet()
        self._looked_at = -_LOOK_S

    # What happened.

    def sized(self, size: int) -> None:
        """Learn the blob's size: from then on all sources are asked at once."""
        self.size = size
        for flight in self.flights:
            flight.stop = size if flight.stop is None else min(flight.stop, size)

    def found(self, stop: int) -> None:
        """Learn that an earlier fetch left everything before `stop`."""
        if stop:
            self.provenance.append(Row(0, stop, EARLIER, EARLIER))

    def landed(self, flight: Flight, now: float) -> None:
        """Note that a flight has brought all it was to bring."""
        self._end(flight, now)
        self._progress.landed(flight, now)
        self.sources.landed(flight, now)

    def needless(self, flight: Flight, now: float) -> None:
        """Note that a flight was given up because somebody else was faster."""
        self._end(flight, now)

    def failed(self, flight: Flight, reason: Reason, now: float, *, final: bool = True) -> None:
        """Note that a flight ended early; what it did not bring is free for others.

        Args:
            flight: which.
            reason: of `SourceError`; it says for how long the source is out.
            now: monotonic seconds.
            final: of upstream: whether it is out for good. If not, it has some more tries.
        """
        self._end(flight, now)
        if flight.role is Role.PARTIAL and reason in (Reason.MISSING, Reason.BUSY):
            self._lacking.setdefault(self._piece(flight.start), set()).add(flight.source)
        else:
            self.sources.failed(flight, reason, now, final=final)

    def _end(self, flight: Flight, now: float) -> None:
        self.flights.remove(flight)
        self.provenance += flight.rows()
        self._progress.ended(flight, now)

    def again(self, rows: Iterable[Row], *, from_others: bool = False) -> None:
        """Have bytes brought once more, by others than whose word they were; `from_others`: than who sent them, too."""
        self.sources.try_again()
        for row in rows:
            for name in {row.maker, row.source} if from_others else {row.maker}:
                if name not in (UPSTREAM, EARLIER):
                    self.sources.avoid(name, row.start, row.stop)
            if row in self.provenance:
                self.provenance.remove(row)

    def avoid(self, names: Iterable[str], start: int = 0, stop: int | None = None) -> None:
        """Take nothing more of a range, or of the whole, whose word is that of these members: it may be wrong."""
        end = (self.size or start) if stop is None else stop
        for name in filter(self.sources.knows, names):
            self.sources.avoid(name, start, end)

    # What to do.

    def next(self, demand: Demand, up: Collection[str], serving: Collection[str], now: float) -> list[Flight]:
        """The requests to make now.

        Args:
            demand: what is to be brought.
            up: names of members that are believed to be up, this node included.
            serving: those of them that do not decline to serve as homes.
            now: monotonic seconds.
        """
        self.sources.seen(up, serving, now)
        self.stuck = RangeSet()
        if self.size is None:
            if not self.sources.hope(0):
                self.stuck = demand.members
            first = self._first(demand, now)
            return [self._launch(first)] if first is not None else []
        look = now >= self._looked_at + _LOOK_S
        for flight in self._progress.trickling(self.flights, now) if look else ():
            self.sources.trickles(flight.source, now)
        launched = [*self._for_others(demand, now), *self._for_own(demand, now)]
        if look:
            self._looked_at = now
            self._progress.sample(self.flights, now)
            at_the_end = (demand.present | self._flying()).covers(0, self.size)
            if (late := self._progress.latest(self.flights, now, at_the_end=at_the_end)) is not None:
                second = self._second(*late, now)
                launched += [self._launch(second)] if second is not None else []
        return launched

    def _for_others(self, demand: Demand, now: float) -> Iterator[Flight]:
        """Requests for what others wait for, none of which waits for another node's flight."""
        here = demand.present | self._flying(direct=True)
        self._gaps = demand.members - here
        for start, stop in self._pieces(self._gaps):
            if here.covers(start, stop):
                continue
            if (flight := self._direct(start, stop, now, own=False)) is not None:
                yield self._launch(flight, here)
            elif self.sources.hope(start):
                break  # all who could bring it have enough to do
            else:
                self.stuck.add(start, stop)

    def _for_own(self, demand: Demand, now: float) -> Iterator[Flight]:
        """Requests for this node's own readers, as many as the window has room for."""
        here = demand.present | self._flying()
        self._gaps = demand.local - here
        patience = window = self.window
        for start, stop in self._in_order(demand.heads):
            if not patience or sum(flight.own for flight in self.flights) >= window:
                break
            if here.covers(start, stop):
                continue
            if (flight := self._choose(start, stop, now)) is not None:
                yield self._launch(flight, here)
            else:
                patience = 0 if self._holders_are_full() else patience - 1

    @property
    def window(self) -> int:
        """How many pieces are asked for at once for this node itself."""
        return min(max(len(self.sources.ring), LANES * len(self.sources.holders), WINDOW_MIN), WINDOW_MAX)

    def superfluous(self, present: RangeSet) -> list[Flight]:
        """Flights of which all has arrived otherwise."""
        return [
            f for f in self.flights if f.stop is not None and f.position < f.stop and present.covers(f.position, f.stop)
        ]

    def makers(self, start: int, stop: int) -> list[Row]:
        """The rows that have bytes of a range."""
        return [row for row in self.provenance if row.start < stop and start < row.stop]

    # Which source.

    def _first(self, demand: Demand, now: float) -> Flight | None:
        """One request tells the size. What others ask for does not wait for another node's answer."""
        if demand.members and not any(flight.direct for flight in self.flights):
            (start, stop), *_ = demand.members
            flight = self._direct(start, None if self._at_once else stop, now, own=False)
            if flight is not None:
                return flight
        if demand.local and not self.flights:
            return self._choose(0, None if self._at_once else MEBIBYTE, now)
        return None

    def _choose(self, start: int, stop: int | None, now: float) -> Flight | None:
        """A flight for this node's own readers, or None if all who can bring it have enough to do."""
        sources = self.sources
        if free := sources.free_holders(start):
            best = self._least_loaded(free, LANES)
            if best is None:
                return None
            return Flight(best, Role.HOLDER, start, stop, now, avoid=sources.avoided(start))
        doubtful = sources.doubtful and not self._count(UPSTREAM) and sources.upstream(start)
        for home in () if sources.nowhere or doubtful else sources.homes(self._piece(start)):
            if (home == self._me or sources.homes_are_unable) and sources.hope(start):
                break
            if home != self._me and sources.able([home], start):
                if self._count(home) >= HOME_LANES:
                    return None
                return Flight(home, Role.HOME, start, stop, now, avoid=sources.avoided(start))
        return self._direct(start, stop, now)

    def _direct(self, start: int, stop: int | None, now: float, *, own: bool = True) -> Flight | None:
        """A flight that waits for no other node's: from a holder or from upstream."""
        sources = self.sources
        if holders := sources.able_holders(start):
            best = self._least_loaded(holders, LANES if own else HOME_LANES)
            if best is None:
                return None
            return Flight(best, Role.HOLDER_FOR_HOME, start, stop, now, own, avoid=sources.avoided(start))
        lanes = 1 if sources.without_ranges else UPSTREAM_LANES
        if not sources.upstream(start) or self._count(UPSTREAM) >= lanes:
            return None
        if sources.alone:
            stop = self._end_of_gap(start, stop)
        return Flight(UPSTREAM, Role.UPSTREAM, start, stop, now, own)

    def _second(self, flight: Flight, very_late: bool, now: float) -> Flight | None:
        """The same bytes from another source. For what upstream sends only holders are an alternative.

        What a home is slow to send, others may have from it already: they are asked first, and again. Only what is very
        late is to be brought by another home.
        """
        assert flight.stop is not None
        start, stop = flight.position, flight.stop
        # A home has its bytes from a holder that is busy: the link of that one is full already.
        busy_too = flight.role is not Role.HOME
        holders = self.sources.able_holders(start) if busy_too else self.sources.free_holders(start)
        holders = [name for name in holders if name != flight.source]
        if (holder := self._least_loaded(holders, HOME_LANES)) is not None:
            return Flight(holder, Role.HOLDER_FOR_HOME, start, stop, now, flight.own, avoid=flight.avoid)
        if flight.role is not Role.HOME:
            return None
        piece = self._piece(start)
        others = [home for home in self.sources.homes(piece) if home not in (flight.source, self._me)]
        able = [home for home in self.sources.able(others, start) if self._count(home) < HOME_LANES]
        lacking = self._lacking.setdefault(piece, set())
        kept = next((home for home in able if home not in lacking), None)
        if kept is not None and len(lacking) < KEPT_TRIES:
            return Flight(kept, Role.PARTIAL, start, stop, now, avoid=flight.avoid)
        lacking.clear()
        if not very_late:
            return None
        if able:
            return Flight(able[0], Role.HOME, start, stop, now, avoid=flight.avoid)
        return self._direct(start, stop, now)

    def _least_loaded(self, names: Sequence[str], lanes: int) -> str | None:
        """The member that promises to be done first with one piece more, if any has a lane free."""
        free = [name for name in names if self._count(name) < lanes]
        count = piece_size(self.size or MEBIBYTE)
        return min(free, key=lambda name: self._pace.expected_s(name, (self._count(name) + 1) * count), default=None)

    def _holders_are_full(self) -> bool:
        """Whether no piece can be asked for, since holders that are not busy bring them all, and have enough to do."""
        free = self.sources.free_holders(0)
        return bool(free) and not self.sources.any_in_doubt and all(self._count(name) >= LANES for name in free)

    # Arithmetic.

    def _count(self, source: str) -> int:
        return sum(flight.source == source for flight in self.flights)

    def _piece(self, start: int) -> int:
        return start // piece_size(self.size) if self.size is not None else 0

    def _flying(self, *, direct: bool = False) -> RangeSet:
        """What is on its way, but for a trickle; `direct`: without waiting for another node's flight."""
        flights = (f for f in self.flights if f.direct or not direct)
        counted = (f for f in flights if not (f.role.is_holder and self.sources.is_given_up(f.source, f.start)))
        return RangeSet(*((f.position, f.stop) for f in counted if f.stop is not None))

    def _pieces(self, gaps: RangeSet, start: int = 0) -> Iterator[tuple[int, int]]:
        """Cut what is missing from `start` on at the pieces' bounds."""
        assert self.size is not None
        unit = piece_size(self.size)
        for gap, stop in gaps:
            at = max(gap, start)
            while at < stop:
                end = min(stop, (at // unit + 1) * unit)
                yield at, end
                at = end

    def _in_order(self, heads: Sequence[int]) -> Iterator[tuple[int, int]]:
        """First what each waiting reader waits for, then all the rest."""
        for head in heads:
            yield from (piece for piece in self._pieces(self._gaps, head) if piece[0] <= head < piece[1])
        if heads:
            yield from self._pieces(self._gaps, min(heads))
        yield from self._pieces(self._gaps)

    def _end_of_gap(self, start: int, stop: int | None) -> int | None:
        """How far a run from `start` may go: to the next bytes that are here or on their way."""
        if stop is None or self.size is None:
            return stop if self.begun else None
        return max(stop, self._gaps.front(start))

    def _launch(self, flight: Flight, here: RangeSet | None = None) -> Flight:
        """Take a flight into account, and what it brings into what is here or on its way."""
        self.flights.append(flight)
        if here is not None and flight.stop is not None:
            here.add(flight.start, flight.stop)
            self._gaps.remove(flight.start, flight.stop)
        return flight
