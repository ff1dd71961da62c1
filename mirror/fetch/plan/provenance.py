"""Provenance: who sent which bytes of a blob, and who is their origin."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import attrgetter

from ...sources import UPSTREAM
from .flight import EARLIER, Flight, Segment


class Provenance:
    """The segments of one blob. Segments of different sources may overlap where the same bytes came twice."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        """In the order of their first bytes."""
        self._ends: list[int] = []
        """For each segment the end of what it and all before it have: it never falls, so it can be searched."""

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segments: Iterable[Segment]) -> None:
        """Remember who sent some bytes."""
        for segment in segments:
            at = bisect_right(self._segments, segment.start, key=_START)
            self._segments.insert(at, segment)
            self._ends.insert(at, max(segment.stop, self._ends[at - 1] if at else 0))
            for later in range(at + 1, len(self._ends)):
                if self._ends[later] >= segment.stop:
                    break
                self._ends[later] = segment.stop

    def remove(self, segments: Iterable[Segment]) -> None:
        """Forget segments whose bytes are fetched once more."""
        gone = set(segments)
        left = [segment for segment in self._segments if segment not in gone]
        self._segments, self._ends = [], []
        self.add(left)

    def within(self, start: int, stop: int) -> list[Segment]:
        """The segments that have bytes of a range."""
        first = bisect_right(self._ends, start)
        end = bisect_left(self._segments, stop, first, key=_START)
        return [segment for segment in self._segments[first:end] if start < segment.stop]

    def from_members(self) -> list[Segment]:
        """The segments whose origin is a member or an earlier fetch."""
        return [segment for segment in self._segments if segment.origin != UPSTREAM]

    def origins(self) -> list[str]:
        """All origins, in alphabetical order."""
        return sorted({segment.origin for segment in self._segments})

    def bytes_by_origin(self) -> dict[str, int]:
        """How many bytes each origin has; what came twice counts twice."""
        counts: Counter[str] = Counter()
        for segment in self._segments:
            counts[segment.origin] += segment.stop - segment.start
        return dict(counts)

    def senders(self, start: int, stop: int, flights: Iterable[Flight]) -> set[str]:
        """All that had a part in bytes of a range: who sent them, and whom those name as their origin.

        Args:
            start: first byte.
            stop: end of the range, exclusive.
            flights: those under way: what they have written is not among the segments yet.
        """
        under_way = (flight for flight in flights if flight.start < stop and start < flight.position)
        coming = (segment for flight in under_way for segment in flight.segments() if segment.overlaps(start, stop))
        return {name for segment in (*self.within(start, stop), *coming) for name in (segment.source, segment.origin)}

    def origin(self, start: int, stop: int, flights: Iterable[Flight]) -> tuple[str | None, int]:
        """The origin of the bytes from `start` on, and how far it goes.

        Args:
            start: first byte.
            stop: end of the range that matters, exclusive.
            flights: those under way: they may have bytes of the range that are not segments yet.

        Returns:
            A member's name, `UPSTREAM`, or None for this node itself; and the end of what has that origin, at most
            `stop`, as far as it can be told before all bytes have arrived.
        """
        under_way = list(flights)
        origin, end = self._run(start, under_way) or (None, stop)
        while end < stop:
            run = self._run(end, under_way)
            if run is None:  # these bytes are still to come, and nobody has been asked for them
                return origin, stop
            if run[0] != origin:
                break
            end = run[1]
        return origin, min(end, stop)

    def _run(self, offset: int, flights: list[Flight]) -> tuple[str | None, int] | None:
        """The origin of one byte, and the end of what came, or comes, together with it; None if it does not come."""
        for segment in self.within(offset, offset + 1):
            return (segment.origin if segment.origin != EARLIER else None), segment.stop
        for flight in flights:
            if flight.stop is not None and flight.start <= offset < flight.stop:
                return flight.accountable, flight.stop
        return None


_START = attrgetter("start")
