"""Lazy reads: requests for the ranges that clients of this node read by themselves, and for next to nothing else."""

from collections.abc import Iterator

from ...cluster.homes import MEBIBYTE
from ...oci.ranges import RangeSet
from ...settings import PlanSettings
from ...sources import UPSTREAM
from ..demand import Audience, Demand
from .candidates import Candidates
from .chooser import Chooser
from .flight import Flight, Flights
from .pieces import Pieces, bridged


class LazyReads:
    """Makes the flights of one fetch for lazy readers; it launches none.

    Args:
        chooser: picks the sources.
        candidates: who may be asked.
        flights: those under way.
        pieces: how the blob is cut.
        settings: how much is fetched between two ranges, and for how long upstream is waited for.
    """

    def __init__(
        self, chooser: Chooser, candidates: Candidates, flights: Flights, pieces: Pieces, settings: PlanSettings
    ) -> None:
        self._chooser = chooser
        self._candidates = candidates
        self._flights = flights
        self._pieces = pieces
        self._settings = settings
        self.hung: list[Flight] = []
        """Those that upstream has not answered for so long that others are asked for the same bytes."""
        self._made: set[Flight] = set()
        """Those under way that were made here, some as for readers of the whole: all that they bring counts."""

    def look(self, demand: Demand, now: float) -> bool:
        """Take note of who does not answer; `next` comes after it.

        Returns:
            Whether the whole has to be fetched for the sake of a range, which its digest proves: upstream serves no
            ranges, or is waited for in vain, and a holder can send the whole.
        """
        lazy = (flight for flight in self._flights if flight.audience is Audience.LAZY and flight.source == UPSTREAM)
        silent = (flight for flight in lazy if flight.first_at is None)
        self.hung = [flight for flight in silent if now - flight.began_at > self._settings.lazy_patience_s]
        if not demand.lazy - demand.present:
            return False
        is_in_vain = bool(self.hung and self._candidates.able_holders(0))
        return is_in_vain or not self._candidates.upstream.serves_ranges

    def next(self, demand: Demand, now: float) -> Iterator[Flight]:
        """What to ask for now, each before the next one is chosen. What flies for others counts where it comes soon."""
        self._made.intersection_update(self._flights)
        relied_on = (flight for flight in self._flights if not self._chooser.may_fail(flight))
        coming = RangeSet(*((flight.position, self._soon(flight)) for flight in relied_on))
        for start, stop in bridged(demand.lazy - demand.present - coming, self._settings.lazy_bridge_share):
            while start < stop:
                flight = self._chooser.for_range(start, min(stop, self._pieces.end(start)), stop, now)
                if flight is None or flight.stop is None:
                    return  # all who could send it have enough to do
                self._made.add(flight)
                yield flight
                start = flight.stop

    def _soon(self, flight: Flight) -> int:
        """The end of what a flight brings soon."""
        stop = flight.stop or flight.position
        is_lazy = flight.audience is Audience.LAZY or flight in self._made
        return stop if is_lazy else min(stop, flight.position + MEBIBYTE)
