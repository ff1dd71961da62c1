"""The plan of one fetch: which source brings which bytes next. Pure: told outcomes and the time, asked for flights.

Wanted bytes are brought piece by piece, in order, so many at once as the window allows:

- A holder brings them, the one that promises to be done first, as long as it is free. A holder that already serves
  somebody says that it is busy; then, and where nobody holds the content, each piece is asked of its home.
- This node's own pieces, and those that others ask of it as their home, it takes from a holder or from upstream. Such a
  request never waits for another node's flight, so that no two nodes wait for each other.
- A piece that is late, beside what the others take, is asked of one source more; who is first wins. A home that fails
  is followed by the next one of the ring, and all of them by upstream itself.

Where this node is the only home, upstream brings one run from the first byte that is missing to the next that is not,
so that a registry sees one request a blob.
"""

import enum
import math
import statistics
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .homes import MEBIBYTE, Ring, piece_size
from .pace import Pace
from .ranges import RangeSet

UPSTREAM = "upstream"
EARLIER = "(an earlier fetch)"
"""The maker of what was here from the start; no member can have this name."""

LANES = 2
"""Requests under way at once to one holder: one arrives while the next is being asked for."""

HOME_LANES = 4
"""Requests under way at once to one home; the ring gives each of them about one in a window."""

UPSTREAM_LANES = 8
"""Requests under way at once to upstream for one blob, on behalf of others most of all."""

WINDOW_MIN, WINDOW_MAX = 4, 32

UPSTREAM_TRIES = 3
"""Failures of upstream in a row, without a byte between them, after which it is out."""

BUSY_S = 2.0
"""A holder that said it is busy is not asked again for so long, except on behalf of others."""

UNABLE_S = 5.0
"""A home that could not bring a piece is passed over for so long."""

UNABLE_MAX = 2
"""Where so many homes could not bring a piece, and none brought any lately, this node asks upstream itself rather than
one home after the other."""

FULL_S = 0.25
"""A holder that has no room for homes either is asked again after so long."""

FAILED_S = 30.0
"""A member that failed is asked no more for so long."""

KEPT_TRIES = 3
"""So many members are asked whether they have a late piece already, before another home is to bring it."""

PACE_BYTES = 256 * 1024
"""What is smaller says nothing of a member's pace: asking takes longer than sending."""

LATE_S = 1.0
"""No piece is late before, nor before it has had one and a half times the time that its like take; then it is if it
comes at a third of their rate, or at half of it when no other is left to ask for."""

_LATE, _LATE_AT_THE_END, _GRACE = 3.0, 2.0, 1.5
_VERY = 2.0
"""A piece that is late by so many times as much is brought by another home, though that costs its bytes once more."""
_LOOK_S = 0.2
_PAST = 16


class Via(enum.Enum):
    """By which way bytes come."""

    HOLDER = "holder"
    HOME = "home"
    KEPT = "kept"
    """From a member that may have got it already, and is not to bring it."""
    UPSTREAM = "upstream"


_INDIRECT = (Via.HOME, Via.KEPT)


@dataclass(slots=True, eq=False)
class Flight:
    """One request to one source, on its way.

    Args:
        source: a member's name, or `upstream`.
        via: as what it is asked.
        start: first byte asked for.
        stop: end of what is asked for; None for all there is, while the size is not known.
        began_at: monotonic seconds.
        own: whether it counts in this node's own window, rather than being flown for others alone.
        for_others: whether it is taken as a home: a busy holder gives it all the same.
        avoid: members whose word on these bytes is in doubt.
        position: end of what has arrived; whoever carries the flight out moves it.
        first_at: when its first byte came, monotonic seconds.
        origin: who brought it to the source, where that is known and another.
        sampled: whether its pace was noted on the way.
        written: what of that was not here before; whoever carries the flight out notes it. None: all of it.
    """

    source: str
    via: Via
    start: int
    stop: int | None
    began_at: float
    own: bool = True
    for_others: bool = False
    avoid: tuple[str, ...] = ()
    position: int = field(init=False)
    first_at: float | None = None
    origin: str | None = None
    sampled: bool = False
    written: RangeSet | None = None

    def __post_init__(self) -> None:
        self.position = self.start

    def __str__(self) -> str:
        return f"{self.start}-{self.stop} at {self.position} via={self.via.value} source={self.source}"

    def rate(self, now: float) -> float:
        """Bytes per second since it was asked for."""
        return (self.position - self.start) / max(now - self.began_at, 1e-4)


@dataclass(frozen=True, slots=True)
class Row:
    """Who brought `[start, stop)`: a row for every flight that has ended.

    Args:
        start: first byte.
        stop: end.
        source: who sent it to this node.
        maker: whose word it is: the member that the source has it from, or the source.
    """

    start: int
    stop: int
    source: str
    maker: str


@dataclass(frozen=True, slots=True)
class Wants:
    """What is to be brought, and what is here.

    Args:
        own: for readers on this node.
        relayed: as a home, for others.
        present: has arrived.
        heads: where readers wait now; what is there is asked for first.
    """

    own: RangeSet
    relayed: RangeSet
    present: RangeSet
    heads: Sequence[int] = ()


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
        pace: Pace,
        holders: Iterable[str] = (),
        *,
        upstream: bool = True,
        at_once: bool = False,
    ) -> None:
        self.ring = ring
        self.size: int | None = None
        self.begun = False
        """An earlier fetch left some of it: then not all of it is asked for while the size is not known."""
        self.without_ranges = False
        """Upstream does not serve ranges: the first member of the ring is home of the whole."""
        self.flights: list[Flight] = []
        self.provenance: list[Row] = []
        self.stuck = RangeSet()
        """What others ask of this node as a home, and it cannot bring now."""
        self._me = me
        self._pace = pace
        self._at_once = at_once
        self._holders = list(dict.fromkeys(holders))
        self._tried = set(self._holders)
        self._busy: dict[str, float] = {}
        self._out: dict[str, float] = {}
        self._unable: dict[str, float] = {}
        self._lacking: dict[int, set[str]] = {}
        self._avoid: dict[str, RangeSet] = {}
        self._upstream = upstream
        self._upstream_tries = UPSTREAM_TRIES if upstream else 0
        self._past: dict[Via, deque[float]] = {via: deque(maxlen=_PAST) for via in Via}
        self._up: Collection[str] = ring.members
        self._serving: Collection[str] = ring.members
        self._gaps = RangeSet()
        self._looked_at = -_LOOK_S
        self._delivered_at = -math.inf
        self._now = 0.0
        self._doubtful, self._nowhere = False, False
        """Upstream has no such thing, says a home: then this node asks it itself, before it sends others to ask; or
        says upstream: then it sends nobody."""

    # What happened.

    def add_holders(self, names: Iterable[str]) -> bool:
        """Take in members that turned up later; tell whether any is new to this plan."""
        new = [name for name in names if name not in self._tried]
        self._tried.update(new)
        self._holders += new
        return bool(new)

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
        self._past[flight.via].append(flight.rate(now))
        if flight.via is Via.HOME:
            self._delivered_at = now
        if flight.source == UPSTREAM:
            self._upstream_tries = UPSTREAM_TRIES
            self._doubtful = False

    def needless(self, flight: Flight, now: float) -> None:
        """Note that a flight was given up because somebody else was faster."""
        self._end(flight, now)

    def failed(self, flight: Flight, reason: str, now: float, *, final: bool = True) -> None:
        """Note that a flight ended early; what it did not bring is free for others.

        Args:
            flight: which.
            reason: of `SourceError`; it says for how long the source is out.
            now: monotonic seconds.
            final: of upstream: whether it is out for good. If not, it has some more tries.
        """
        self._end(flight, now)
        if reason == "unknown" and flight.via in (Via.HOME, Via.UPSTREAM):
            self._doubtful, self._nowhere = flight.via is Via.HOME, flight.via is Via.UPSTREAM
        if flight.source == UPSTREAM:
            fresh = UPSTREAM_TRIES if flight.position > flight.start else self._upstream_tries
            self._upstream_tries = 0 if final else fresh - (reason != "whole")
        elif flight.via is Via.KEPT and reason in ("missing", "busy"):
            self._lacking.setdefault(self._piece(flight.start), set()).add(flight.source)
        elif reason == "whole" and not self.without_ranges:
            self.without_ranges = True
        elif flight.via is Via.HOLDER and reason == "missing":
            self._holders = [name for name in self._holders if name != flight.source]
        elif flight.via is Via.HOLDER and reason == "busy" and not flight.for_others:
            self._busy[flight.source] = now + BUSY_S
        else:
            if reason in ("unable", "limited"):
                self._unable[flight.source] = now + UNABLE_S
            passing = {
                "busy": FULL_S,
                "whole": UNABLE_S,
                "unable": UNABLE_S,
                "limited": UNABLE_S,
                "unknown": math.inf,
                "missing": math.inf,
            }
            self._out[flight.source] = now + passing.get(reason, FAILED_S)

    def again(self, rows: Iterable[Row]) -> None:
        """Have bytes brought once more, without those whose word they were."""
        self._upstream_tries = max(self._upstream_tries, self._upstream)
        for row in rows:
            if row.maker not in (UPSTREAM, EARLIER):
                self._avoid.setdefault(row.maker, RangeSet()).add(row.start, row.stop)
            if row in self.provenance:
                self.provenance.remove(row)

    def avoid(self, names: Iterable[str], start: int = 0, stop: int | None = None) -> None:
        """Take nothing more of a range, or of the whole, whose word is that of these members: it may be wrong."""
        end = (self.size or start) if stop is None else stop
        for name in names:
            if name in self._tried or name in self.ring.members:
                self._avoid.setdefault(name, RangeSet()).add(start, end)

    def halt(self) -> None:
        """Ask nobody more; what is on its way may still land."""
        self._holders.clear()
        self._upstream_tries = 0
        self._out.update(dict.fromkeys(self.ring.members, math.inf))

    # What to do.

    def next(self, wants: Wants, up: Collection[str], serving: Collection[str], now: float) -> list[Flight]:
        """The requests to make now.

        Args:
            wants: what is to be brought.
            up: names of members that are believed to be up, this node included.
            serving: those of them that do not decline to serve as homes.
            now: monotonic seconds.
        """
        self._up, self._serving, self._now = up, serving, now
        self._out = {name: until for name, until in self._out.items() if name in up or until == math.inf}
        self.stuck = RangeSet()
        if self.size is None:
            if not self._hope(0, now):
                self.stuck = wants.relayed
            first = self._first(wants, now)
            return [self._launch(first)] if first is not None else []
        launched = [*self._for_others(wants, now), *self._for_own(wants, now)]
        if now >= self._looked_at + _LOOK_S:
            self._looked_at = now
            self._sample(now)
            at_the_end = (wants.present | self._flying()).covers(0, self.size)
            if (late := self._late(now, _LATE_AT_THE_END if at_the_end else _LATE)) is not None:
                launched.append(self._launch(late))
        return launched

    def _for_others(self, wants: Wants, now: float) -> Iterator[Flight]:
        """Requests for what others wait for, none of which waits for another node's flight."""
        here = wants.present | self._flying(direct=True)
        self._gaps = wants.relayed - here
        for start, stop in self._pieces(self._gaps):
            if here.covers(start, stop):
                continue
            if (flight := self._direct(start, stop, now, own=False)) is not None:
                yield self._launch(flight, here)
            elif self._hope(start, now):
                break  # all who could bring it have enough to do
            else:
                self.stuck.add(start, stop)

    def _for_own(self, wants: Wants, now: float) -> Iterator[Flight]:
        """Requests for this node's own readers, as many as the window has room for."""
        here = wants.present | self._flying()
        self._gaps = wants.own - here
        patience = window = self.window
        for start, stop in self._in_order(wants.heads):
            if not patience or sum(flight.own for flight in self.flights) >= window:
                break
            if here.covers(start, stop):
                continue
            if (flight := self._choose(start, stop, now)) is not None:
                yield self._launch(flight, here)
            else:
                patience = 0 if self._holders_are_full(now) else patience - 1

    @property
    def window(self) -> int:
        """How many pieces are asked for at once for this node itself."""
        return min(max(len(self.ring), LANES * len(self._holders), WINDOW_MIN), WINDOW_MAX)

    def again_at(self, now: float) -> float | None:
        """When a holder that is not asked now may be asked again; None if there is none."""
        times = (self._out.get(name, math.inf) for name in self._holders)
        return min((until for until in times if now < until < math.inf), default=None)

    def superfluous(self, present: RangeSet) -> list[Flight]:
        """Flights of which all has arrived otherwise."""
        return [
            f for f in self.flights if f.stop is not None and f.position < f.stop and present.covers(f.position, f.stop)
        ]

    def elsewhere(self, start: int = 0) -> bool:
        """Whether what others ask of this node as a home is another's to bring: upstream has no ranges."""
        serving = (name for name in self.ring.members if name in self._serving)
        first = next((name for name in serving if name == self._me or self._able([name], start, self._now)), self._me)
        return self.without_ranges and first != self._me

    def makers(self, start: int, stop: int) -> list[Row]:
        """The rows that have bytes of a range."""
        return [row for row in self.provenance if row.start < stop and start < row.stop]

    # Which source.

    def _first(self, wants: Wants, now: float) -> Flight | None:
        """One request tells the size. What others ask for does not wait for another node's answer."""
        direct = any(flight.via not in _INDIRECT for flight in self.flights)
        if wants.relayed and not direct:
            (start, stop), *_ = wants.relayed
            flight = self._direct(start, None if self._at_once else stop, now, own=False)
            if flight is not None:
                return flight
        if wants.own and not self.flights:
            return self._choose(0, None if self._at_once else MEBIBYTE, now)
        return None

    def _choose(self, start: int, stop: int | None, now: float) -> Flight | None:
        """A flight for this node's own readers, or None if all who can bring it have enough to do."""
        holders = self._able(self._holders, start, now)
        free = [name for name in holders if self._busy.get(name, 0.0) <= now]
        if free:
            best = self._least_loaded(free, LANES)
            return Flight(best, Via.HOLDER, start, stop, now, avoid=self._avoided(start)) if best is not None else None
        doubtful = self._doubtful and not self._count(UPSTREAM) and self._upstream_tries > 0
        alone = self._nowhere or (doubtful and not self.elsewhere(start))
        for home in () if alone else self._homes(self._piece(start)):
            if (home == self._me or self._homes_are_unable(now)) and self._hope(start, now):
                break
            if home != self._me and self._able([home], start, now):
                if self._count(home) >= HOME_LANES:
                    return None
                return Flight(home, Via.HOME, start, stop, now, avoid=self._avoided(start))
        return self._direct(start, stop, now)

    def _homes_are_unable(self, now: float) -> bool:
        """Whether homes fail one after the other to bring anything, so that it takes too long to ask them all."""
        unable = sum(until > now for until in self._unable.values())
        return unable >= UNABLE_MAX and now - self._delivered_at > UNABLE_S

    def _hope(self, start: int, now: float) -> bool:
        """Whether what begins at `start` can be brought without waiting for another node's flight."""
        return (self._upstream_tries > 0 and not self.elsewhere(start)) or bool(self._able(self._holders, start, now))

    def _holders_are_full(self, now: float) -> bool:
        """Whether no piece can be asked for, since holders that are not busy bring them all, and have enough to do."""
        free = [name for name in self._able(self._holders, 0, now) if self._busy.get(name, 0.0) <= now]
        return bool(free) and not self._avoid and all(self._count(name) >= LANES for name in free)

    def _direct(self, start: int, stop: int | None, now: float, *, own: bool = True) -> Flight | None:
        """A flight that waits for no other node's: from a holder or from upstream."""
        holders = self._able(self._holders, start, now)
        if holders:
            best = self._least_loaded(holders, LANES if own else HOME_LANES)
            if best is None:
                return None
            return Flight(best, Via.HOLDER, start, stop, now, own, for_others=True, avoid=self._avoided(start))
        lanes = 1 if self.without_ranges else UPSTREAM_LANES
        if self._upstream_tries <= 0 or self.elsewhere(start) or self._count(UPSTREAM) >= lanes:
            return None
        if self._alone():
            stop = self._end_of_gap(start, stop)
        return Flight(UPSTREAM, Via.UPSTREAM, start, stop, now, own)

    def _homes(self, piece: int) -> Iterator[str]:
        """The homes of a piece that serve, in order."""
        ring = self.ring.members if self.without_ranges else self.ring.homes(piece)
        return (name for name in ring if name in self._serving)

    def _alone(self) -> bool:
        """Whether there is no other home, so that what is missing need not be cut into pieces.

        A home that is down or out of reach is one: it may be back before a piece is here, and then brings the next. One
        that declines is none.
        """
        others = (name for name in self.ring.members if name != self._me)
        return self.without_ranges or not any(name in self._serving or name not in self._up for name in others)

    def _able(self, names: Iterable[str], start: int, now: float) -> list[str]:
        """Those of some members that may be asked for what begins at `start`."""
        return [
            name
            for name in names
            if name in self._up
            and self._out.get(name, 0.0) <= now
            and not (name in self._avoid and self._avoid[name].front(start) > start)
        ]

    def _avoided(self, start: int) -> tuple[str, ...]:
        return tuple(name for name, ranges in self._avoid.items() if ranges.front(start) > start)

    def _least_loaded(self, names: Sequence[str], lanes: int) -> str | None:
        """The member that promises to be done first with one piece more, if any has a lane free."""
        free = [name for name in names if self._count(name) < lanes]
        count = piece_size(self.size or MEBIBYTE)
        return min(free, key=lambda name: self._pace.expected_s(name, (self._count(name) + 1) * count), default=None)

    def _sample(self, now: float) -> None:
        """Note each home's pace in the middle of a piece: a slow one is known before its first piece is there."""
        for flight in self.flights:
            if flight.via is Via.HOME and not flight.sampled and now - flight.began_at > LATE_S:
                assert flight.stop is not None
                typical = self._typical(flight, now)
                if typical is not None and (now - flight.began_at) * typical > (flight.stop - flight.start) / 2:
                    flight.sampled = True
                    self._note_pace(flight, now)

    def _note_pace(self, flight: Flight, now: float) -> None:
        if flight.stop is None or flight.stop - flight.start < PACE_BYTES:
            return
        count, seconds = flight.position - flight.start, now - flight.began_at
        latency_s = (flight.first_at or now) - flight.began_at
        self._pace.landed(flight.source, count, seconds, latency_s, now, home=flight.via is Via.HOME)

    def _late(self, now: float, factor: float) -> Flight | None:
        """A second request for the piece that is latest, if one is: it takes `factor` times as long as its like do."""
        latest: tuple[float, Flight] | None = None
        for flight in self.flights:
            assert flight.stop is not None
            if now - flight.began_at < LATE_S or flight.position >= flight.stop or self._has_twin(flight):
                continue
            rate = max(flight.rate(now), 1.0)
            remaining_s = (flight.stop - flight.position) / rate
            typical = self._typical(flight, now)
            if typical is None or rate * factor > typical or remaining_s < LATE_S / 2:
                continue
            if (now - flight.began_at) * typical < _GRACE * (flight.stop - flight.start):
                continue
            if latest is None or remaining_s > latest[0]:
                latest = remaining_s, flight
        return self._second(latest[1], now, _VERY * factor) if latest is not None else None

    def _typical(self, flight: Flight, now: float) -> float | None:
        """What a flight by the same way brings, in bytes per second."""
        others = [
            f.rate(now)
            for f in self.flights
            if f is not flight and f.via is flight.via and now - f.began_at > LATE_S / 2
        ]
        rates = [*self._past[flight.via], *others]
        return statistics.median(rates) if len(rates) > 1 else None

    def _second(self, flight: Flight, now: float, very: float) -> Flight | None:
        """The same bytes from another source. For what upstream sends only holders are an alternative.

        What a home is slow to send, others may have from it already: they are asked first, and again. Only what takes
        `very` many times as long as its like is to be brought by another home.
        """
        assert flight.stop is not None
        start, stop = flight.position, flight.stop
        holders = [name for name in self._able(self._holders, start, now) if name != flight.source]
        if (holder := self._least_loaded(holders, HOME_LANES)) is not None:
            return Flight(holder, Via.HOLDER, start, stop, now, flight.own, True, flight.avoid)
        if flight.via is not Via.HOME:
            return None
        others = [home for home in self._homes(self._piece(start)) if home not in (flight.source, self._me)]
        able = [home for home in self._able(others, start, now) if self._count(home) < HOME_LANES]
        lacking = self._lacking.setdefault(self._piece(start), set())
        kept = next((home for home in able if home not in lacking), None)
        if kept is not None and len(lacking) < KEPT_TRIES:
            return Flight(kept, Via.KEPT, start, stop, now, avoid=flight.avoid)
        lacking.clear()
        if max(flight.rate(now), 1.0) * very > (self._typical(flight, now) or 0.0):
            return None
        return (
            Flight(able[0], Via.HOME, start, stop, now, avoid=flight.avoid) if able else self._direct(start, stop, now)
        )

    def _has_twin(self, flight: Flight) -> bool:
        assert flight.stop is not None
        return any(
            other is not flight and other.stop is not None and other.start < flight.stop and flight.start < other.stop
            for other in self.flights
        )

    # Arithmetic.

    def _count(self, source: str) -> int:
        return sum(flight.source == source for flight in self.flights)

    def _piece(self, start: int) -> int:
        return start // piece_size(self.size) if self.size is not None else 0

    def _flying(self, *, direct: bool = False) -> RangeSet:
        """What is on its way; `direct`: without waiting for another node's flight."""
        flights = (f for f in self.flights if f.stop is not None and not (direct and f.via in _INDIRECT))
        return RangeSet(*((f.position, f.stop) for f in flights if f.stop is not None))

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

    def _end(self, flight: Flight, now: float) -> None:
        self.flights.remove(flight)
        count = flight.position - flight.start
        if count:
            maker = flight.origin if flight.origin not in (None, UPSTREAM) else flight.source
            assert maker is not None
            written = RangeSet((flight.start, flight.position)) if flight.written is None else flight.written
            self.provenance += [Row(start, stop, flight.source, maker) for start, stop in written]
        if flight.via in (Via.HOLDER, Via.HOME) and (count or now - flight.began_at > LATE_S):
            self._note_pace(flight, now)
