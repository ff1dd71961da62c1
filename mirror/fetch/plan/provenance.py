"""Provenance: who sent which bytes of a blob, and who is their origin."""

from collections.abc import Iterable, Iterator

from ...sources import UPSTREAM
from .flight import EARLIER, Flight, Segment


class Provenance:
    """The segments of one blob. Segments of different sources may overlap where the same bytes came twice."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segments: Iterable[Segment]) -> None:
        """Remember who sent some bytes."""
        self._segments += segments

    def remove(self, segments: Iterable[Segment]) -> None:
        """Forget segments whose bytes are fetched once more."""
        for segment in segments:
            if segment in self._segments:
                self._segments.remove(segment)

    def within(self, start: int, stop: int) -> list[Segment]:
        """The segments that have bytes of a range."""
        return [segment for segment in self._segments if segment.start < stop and start < segment.stop]

    def from_members(self) -> list[Segment]:
        """The segments whose origin is a member or an earlier fetch."""
        return [segment for segment in self._segments if segment.origin != UPSTREAM]

    def origins(self) -> list[str]:
        """All origins, in alphabetical order."""
        return sorted({segment.origin for segment in self._segments})

    def senders(self, start: int, stop: int, flights: Iterable[Flight]) -> set[str]:
        """All that had a part in bytes of a range: who sent them, and whom those name as their origin.

        Args:
            start: first byte.
            stop: end of the range, exclusive.
            flights: those under way: they may have sent bytes that are not segments yet.
        """
        senders = {name for segment in self.within(start, stop) for name in (segment.source, segment.origin)}
        for flight in flights:
            if flight.start < stop and start < flight.position:
                senders.update({flight.source, flight.origin or flight.source})
        return senders

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
                return flight.origin or flight.source, flight.stop
        return None
