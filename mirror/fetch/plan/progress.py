"""Progress: how flights get on beside their like, and which of them is late. Pure: told the time."""

import statistics
from collections import deque
from collections.abc import Iterable, Sequence

from ...cluster.throughput import Throughput
from ...sources import Role
from .flight import Flight

PACE_BYTES = 256 * 1024
"""What is smaller says nothing of a member's pace: asking takes longer than sending."""

LATE_S = 1.0
"""No piece is late before, nor before it has had one and a half times the time that its like take; then it is if it
comes at a third of their rate, or at half of it when no other is left to ask for."""

TRICKLE_S, TRICKLE_RATE = 10.0, 64 * 1024
"""A holder sends what it has: one that after so many seconds has sent fewer bytes per second trickles, though it be the
only one, so that nothing tells what its like take."""

_LATE, _LATE_AT_THE_END, _GRACE = 3.0, 2.0, 1.5
_VERY = 2.0
"""A piece that is late by so many times as much is brought by another home, though that costs its bytes once more."""
_PAST = 16


class Progress:
    """Of the flights of one fetch.

    Args:
        pace: what members deliver; it is told of all that comes.
    """

    def __init__(self, pace: Throughput) -> None:
        self._pace = pace
        self._past: dict[Role, deque[float]] = {role: deque(maxlen=_PAST) for role in Role}

    def landed(self, flight: Flight, now: float) -> None:
        """Note that a flight has brought all it was to bring."""
        self._past[_alike(flight)].append(flight.rate(now))

    def ended(self, flight: Flight, now: float) -> None:
        """Note that a flight has ended, whatever it brought."""
        if (flight.role.is_holder or flight.role is Role.HOME) and (
            flight.position > flight.start or now - flight.began_at > LATE_S
        ):
            self._note_pace(flight, now)

    def sample(self, flights: Sequence[Flight], now: float) -> None:
        """Note each home's pace in the middle of a piece: a slow one is known before its first piece is there."""
        for flight in flights:
            if flight.role is Role.HOME and not flight.sampled and now - flight.began_at > LATE_S:
                assert flight.stop is not None
                typical = self._typical(flight, flights, now)
                if typical is not None and (now - flight.began_at) * typical > (flight.stop - flight.start) / 2:
                    flight.sampled = True
                    self._note_pace(flight, now)

    def trickling(self, flights: Sequence[Flight], now: float) -> list[Flight]:
        """Flights from holders of which next to nothing comes."""
        return [
            flight
            for flight in flights
            if flight.role.is_holder and now - flight.began_at > TRICKLE_S and flight.rate(now) < TRICKLE_RATE
        ]

    def latest(self, flights: Sequence[Flight], now: float, *, at_the_end: bool) -> tuple[Flight, bool] | None:
        """The piece that will be here last of those that are late, and whether it is very late; None if none is.

        Args:
            flights: all that are on their way.
            now: monotonic seconds.
            at_the_end: whether nothing else is left to ask for.
        """
        factor = _LATE_AT_THE_END if at_the_end else _LATE
        latest: tuple[float, Flight, bool] | None = None
        for flight in flights:
            if now - flight.began_at < LATE_S or _has_twin(flight, flights):
                continue
            assert flight.stop is not None
            typical = self._typical(flight, flights, now)
            rate = max(flight.rate(now), 1.0)
            remaining_s = (flight.stop - flight.position) / rate
            if typical is None or rate * factor > typical or remaining_s < LATE_S / 2:
                continue
            if (now - flight.began_at) * typical < _GRACE * (flight.stop - flight.start):
                continue
            if latest is None or remaining_s > latest[0]:
                latest = remaining_s, flight, rate * factor * _VERY <= typical
        return latest[1:] if latest is not None else None

    def _typical(self, flight: Flight, flights: Iterable[Flight], now: float) -> float | None:
        """What a flight by the same way brings, in bytes per second."""
        others = [
            f.rate(now)
            for f in flights
            if f is not flight and _alike(f) is _alike(flight) and now - f.began_at > LATE_S / 2
        ]
        rates = [*self._past[_alike(flight)], *others]
        return statistics.median(rates) if len(rates) > 1 else None

    def _note_pace(self, flight: Flight, now: float) -> None:
        if flight.stop is None or flight.stop - flight.start < PACE_BYTES:
            return
        count, seconds = flight.position - flight.start, now - flight.began_at
        latency_s = (flight.first_at or now) - flight.began_at
        self._pace.landed(flight.source, count, seconds, latency_s, now, home=flight.role is Role.HOME)


def _alike(flight: Flight) -> Role:
    """The role under which flights are compared: holders send at the same rate whoever asks."""
    return Role.HOLDER if flight.role.is_holder else flight.role


def _has_twin(flight: Flight, flights: Iterable[Flight]) -> bool:
    """Whether some of its bytes come from another source as well."""
    assert flight.stop is not None
    return any(
        other is not flight and other.stop is not None and other.start < flight.stop and flight.start < other.stop
        for other in flights
    )
