"""Flights: requests under way, and the segments that they leave behind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...oci.ranges import RangeSet
from ...sources import UPSTREAM, Role
from ..demand import Audience

EARLIER = "(an earlier fetch)"
"""The origin of bytes that were here from the start. No member can have this name: it has spaces."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Who sent the bytes `[start, stop)`: one for each run of bytes that a flight wrote.

    Args:
        start: first byte.
        stop: end, exclusive.
        source: who sent it to this node.
        origin: who is to blame if they are wrong: the member that the source has them from, or the source itself.
        is_own_word: whether the source sent them as its own complete copy, so that it alone answers for them.
    """

    start: int
    stop: int
    source: str
    origin: str
    is_own_word: bool = False

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether it has bytes of a range."""
        return self.start < stop and start < self.stop


@dataclass(slots=True, eq=False)
class Flight:
    """One request to one source, under way. Only the plan changes it.

    Args:
        source: a member's name, or `UPSTREAM`.
        role: as what the source is asked.
        start: first byte asked for.
        stop: end of what is asked for, later of what was promised; None for everything, while the size is unknown.
        began_at: monotonic seconds.
        audience: who needs the bytes. For readers on this node that want the whole it counts in this node's own window.
        avoid: members that must not be the origin of these bytes, for theirs may be wrong.
        position: end of what has arrived.
        first_at: when its first byte arrived, monotonic seconds.
        moved_at: when its last byte so far arrived, or when it began, monotonic seconds.
        origin: the member that the source has the bytes from, or `UPSTREAM`; None if that is unknown, or the source.
        written: what of the arrived bytes was not here before; None until a report says so: all of them.
    """

    source: str
    role: Role
    start: int
    stop: int | None
    began_at: float
    audience: Audience = Audience.LOCAL
    avoid: tuple[str, ...] = ()
    position: int = field(init=False)
    first_at: float | None = None
    moved_at: float = field(init=False)
    origin: str | None = None
    written: RangeSet | None = None

    def __post_init__(self) -> None:
        self.position, self.moved_at = self.start, self.began_at

    def __str__(self) -> str:
        return f"{self.start}-{self.stop} at {self.position} role={self.role.value} source={self.source}"

    @property
    def is_direct(self) -> bool:
        """Whether it waits for no other node's flight."""
        return not self.role.waits_for_others

    def progressed(self, unit: int) -> bool:
        """Whether it brought something worth the name: so many bytes, or half of what it was asked for."""
        got = self.position - self.start
        return got >= unit or (self.stop is not None and 0 < got >= self.stop - self.position)

    def rate(self, now: float) -> float:
        """Bytes per second since it was asked for."""
        return (self.position - self.start) / max(now - self.began_at, 1e-4)

    @property
    def accountable(self) -> str:
        """Who is to blame if its bytes are wrong: the source itself, unless that has them from a member."""
        return self.source if self.origin is None or self.origin == UPSTREAM else self.origin

    def segments(self) -> list[Segment]:
        """What it has written so far."""
        return self.segments_of(RangeSet((self.start, self.position)) if self.written is None else self.written)

    def segments_of(self, written: Iterable[tuple[int, int]]) -> list[Segment]:
        """Some ranges that it wrote, with their origin."""
        return [Segment(start, stop, self.source, self.accountable, self.role.is_holder) for start, stop in written]


class Flights:
    """The flights of one fetch that are under way."""

    def __init__(self) -> None:
        self._flights: list[Flight] = []

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights)

    def __len__(self) -> int:
        return len(self._flights)

    def add(self, flight: Flight) -> None:
        """Take a flight into account."""
        self._flights.append(flight)

    def remove(self, flight: Flight) -> None:
        """Forget a flight that has ended."""
        self._flights.remove(flight)

    def count(self, source: str, audience: Audience | None = None) -> int:
        """How many flights there are from one source; those for one audience, if it is given."""
        return sum(
            flight.source == source and (audience is None or flight.audience is audience) for flight in self._flights
        )

    def lazy_count(self, *, from_upstream: bool) -> int:
        """How many of them are for lazy readers, from upstream or from members."""
        lazy = (flight for flight in self._flights if flight.audience is Audience.LAZY)
        return sum((flight.source == UPSTREAM) is from_upstream for flight in lazy)

    def superfluous(self, present: RangeSet) -> list[Flight]:
        """Flights of which all has arrived by others, or comes by another one of the same source, which sends on.

        A source that knows no ranges sends everything in answer to each of several requests.
        """
        sending = [(it.start, it.stop, it) for it in self._flights if it.first_at is not None and it.stop is not None]
        return [
            flight
            for flight in self._flights
            if flight.stop is not None
            and flight.position < flight.stop
            and (present.covers(flight.position, flight.stop) or _is_doubled(flight, flight.stop, sending))
        ]

    def in_the_way(self, needed: RangeSet, present: RangeSet) -> list[Flight]:
        """Flights to give up where something is needed that none of them brings: those whose next bytes nobody needs.

        Where only a part of the blob can be held, their sources wait until a reader comes to their bytes. Whoever asked
        for them may have gone, and then none does; but they count in the number of requests that may be under way.
        """
        coming = RangeSet(*((it.position, it.stop) for it in self._flights if it.stop is not None))
        if not needed - present - coming:
            return []
        end = max(stop for _, stop in needed)
        return [flight for flight in self._flights if flight.position >= end]

    def has(self, source: str, position: int) -> bool:
        """Whether a source has been asked for a byte."""
        return source in self.sources(position)

    def sources(self, position: int) -> set[str]:
        """Those that have been asked for a byte."""
        return {flight.source for flight in self._bringing(position)}

    def bring(self, position: int) -> bool:
        """Whether any source has been asked for a byte."""
        return any(self._bringing(position))

    def _bringing(self, position: int) -> Iterator[Flight]:
        """The flights that are to bring a byte, or have brought it."""
        return (it for it in self._flights if it.start <= position and (it.stop is None or position < it.stop))


def _is_doubled(flight: Flight, stop: int, sending: Iterable[tuple[int, int, Flight]]) -> bool:
    """Whether another flight of the same source, which has brought something, is to bring the same bytes.

    What a client reads by itself is asked for although it comes later with the whole.

    Args:
        flight: one of them.
        stop: its end.
        sending: beginning and end of each flight that has brought something, and the flight.
    """
    return flight.audience is not Audience.LAZY and any(
        start < flight.start and stop <= end and other.source == flight.source and other.position <= flight.position
        for start, end, other in sending
    )
