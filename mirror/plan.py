"""The plan of one fetch: which source brings which bytes next. Pure: told outcomes, asked for flights.

Holders bring pieces side by side, each the next one in order as soon as it has a lane free, so that a fast holder
brings more of them. Upstream brings one run, from the first byte that is missing to the next that is not, so that a
registry sees one request a blob. A source that fails is out of this plan; what it did not bring goes back to be taken
by another.

Sizes: the unit of transfer follows from the blob's size alone, so that all nodes agree on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .ranges import RangeSet

MEBIBYTE = 1024 * 1024
UPSTREAM = "upstream"

LANES = 2
"""Requests under way at once to one holder: one arrives while the next is being asked for."""

FLIGHTS_MAX = 32
"""Requests under way at once for one blob."""

UPSTREAM_TRIES = 3
"""Failures of upstream in a row, without a byte between them, after which it is out."""


def piece_size(size: int) -> int:
    """The bytes of a piece of a blob of `size` bytes; its last piece may be shorter.

    A 256th of the blob, rounded down to a power of two, 1 to 16 MiB; a blob up to 4 MiB is one piece.
    """
    if size <= 4 * MEBIBYTE:
        return 4 * MEBIBYTE
    return min(max(1 << (size // 256).bit_length() - 1, MEBIBYTE), 16 * MEBIBYTE)


@dataclass(slots=True, eq=False)
class Flight:
    """One request to one source, on its way.

    Args:
        source: a member's name, or `upstream`.
        start: first byte asked for.
        stop: end of what is asked for; None for all there is, while the size is not known.
        position: end of what has arrived; whoever carries the flight out moves it.
    """

    source: str
    start: int
    stop: int | None
    position: int = field(init=False)

    def __post_init__(self) -> None:
        self.position = self.start


class Plan:
    """Brings one blob.

    Args:
        holders: names of members that may have it, best first.
        upstream: whether upstream may be asked.
        size: in bytes, if known beforehand.
    """

    def __init__(self, holders: Iterable[str], *, upstream: bool = True, size: int | None = None) -> None:
        self._sources = list(dict.fromkeys(holders))
        self._tried = set(self._sources)
        self._upstream = upstream
        self._upstream_tries = UPSTREAM_TRIES if upstream else 0
        self._flights: list[Flight] = []
        self._missing = RangeSet()
        self._avoid: dict[str, RangeSet] = {}
        self.provenance: list[tuple[int, int, str]] = []
        """Who brought what, as (start, stop, source): a row for every flight that has ended."""
        self.size: int | None = None
        if size is not None:
            self.sized(size)

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived."""
        return self.size is not None and not self._missing and not self._flights

    @property
    def flying(self) -> bool:
        """Whether anything is on its way. If not, after `launch`, nobody is left to ask."""
        return bool(self._flights)

    def add_holders(self, names: Iterable[str]) -> bool:
        """Take in members that turned up later; tell whether any is new to this plan."""
        new = [name for name in names if name not in self._tried]
        self._tried.update(new)
        self._sources += new
        return bool(new)

    def sized(self, size: int) -> None:
        """Learn the blob's size: from then on all sources are asked at once."""
        self.size = size
        self._missing = RangeSet((0, size))
        for flight in self._flights:
            flight.stop = size if flight.stop is None else min(flight.stop, size)
            self._missing.remove(flight.start, flight.stop)

    def again(self, suspects: Sequence[tuple[int, int, str]]) -> None:
        """Have rows of `provenance` brought once more, each by another holder than before, or by upstream."""
        self._upstream_tries = max(self._upstream_tries, self._upstream)
        for start, stop, source in suspects:
            self._missing.add(start, stop)
            self._avoid.setdefault(source, RangeSet()).add(start, stop)
        self.provenance = [row for row in self.provenance if row not in suspects]

    def launch(self) -> list[Flight]:
        """The requests to make now."""
        launched = []
        while len(self._flights) < FLIGHTS_MAX and (flight := self._next()) is not None:
            self._flights.append(flight)
            launched.append(flight)
        return launched

    def landed(self, flight: Flight) -> None:
        """Note that a flight has brought all it was to bring."""
        self._end(flight)
        if flight.source == UPSTREAM:
            self._upstream_tries = UPSTREAM_TRIES

    def failed(self, flight: Flight, *, final: bool = True) -> None:
        """Note that a flight ended early; what it did not bring is free for others.

        Args:
            flight: which.
            final: whether the source is out for good. A failure of upstream that is not leaves it some more tries.
        """
        self._end(flight)
        if self.size is not None:
            assert flight.stop is not None
            self._missing.add(flight.position, flight.stop)
        if flight.source == UPSTREAM:
            fresh = UPSTREAM_TRIES if flight.position > flight.start else self._upstream_tries
            self._upstream_tries = 0 if final else fresh - 1
        else:
            self.drop(flight.source)

    def drop(self, source: str) -> None:
        """Ask a holder no more; what it has on its way may still land."""
        if source in self._sources:
            self._sources.remove(source)

    def halt(self) -> None:
        """Ask nobody more; what is on its way may still land."""
        self._sources.clear()
        self._upstream_tries = 0

    def _end(self, flight: Flight) -> None:
        self._flights.remove(flight)
        if flight.position > flight.start:
            self.provenance.append((flight.start, flight.position, flight.source))

    def _usable(self) -> list[str]:
        return [*self._sources, *([UPSTREAM] if self._upstream_tries > 0 else [])]

    def _next(self) -> Flight | None:
        if self.size is None:
            # One request tells the size: the first mebibyte from a holder, or all there is from upstream.
            if self._flights or not self._usable():
                return None
            source = self._usable()[0]
            return Flight(source, 0, None if source == UPSTREAM else MEBIBYTE)
        busy = [flight.source for flight in self._flights]
        for source in sorted(self._sources, key=busy.count):
            if busy.count(source) < LANES and (flight := self._take(source)) is not None:
                return flight
        if self._upstream_tries > 0 and UPSTREAM not in busy:
            return self._take(UPSTREAM)
        return None

    def _take(self, source: str) -> Flight | None:
        """Cut the next bytes that a source is to bring out of what is missing."""
        for start, stop in self._allowed(source):
            if source != UPSTREAM:
                assert self.size is not None
                unit = piece_size(self.size)
                stop = min(stop, (start // unit + 1) * unit)
            self._missing.remove(start, stop)
            return Flight(source, start, stop)
        return None

    def _allowed(self, source: str) -> RangeSet:
        """The missing bytes that are a source's to bring.

        A holder may bring all but those it may have lied about; upstream brings what no holder is left for.
        """
        if source != UPSTREAM:
            return self._missing - self._avoid.get(source, RangeSet())
        left = self._missing
        for holder in self._sources:
            left = left - self._allowed(holder)
        return left
