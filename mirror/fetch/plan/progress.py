"""Progress: how flights compare with others in the same role, and which of them are late. Pure: told the time."""

import enum
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...cluster.throughput import Throughput
from ...settings import PlanSettings
from ...sources import UPSTREAM, Role
from .flight import Flight


class _Rate(NamedTuple):
    """What one flight delivered, and of which source."""

    source: str
    bytes_per_s: float


class _UnderWay(NamedTuple):
    """What a flight has delivered so far, and as what it is compared with others."""

    flight: Flight
    role: Role
    rate: _Rate


class Lateness(enum.Enum):
    """Why a flight is late."""

    LATE = "it is slow"
    """Its bytes may be slow to come to the source; that delivers."""
    STILL = "nothing has come of it for seconds"
    """The source may have forgotten it, whatever else it sends."""
    SLOW = "all that its source sends is slow"
    DOUBLED = "it is slow, and so are others that bring some of the same bytes"
    """A third request is worth it only to a holder, which has them; a fourth is not."""

    @property
    def is_very_late(self) -> bool:
        """Whether it is worth its bytes once more."""
        return self in (Lateness.STILL, Lateness.SLOW)


class Progress:
    """The progress of the flights of one fetch.

    Args:
        throughput: what members deliver; it is told what flights deliver.
        settings: when a flight is late.
    """

    def __init__(self, throughput: Throughput, settings: PlanSettings) -> None:
        self._throughput = throughput
        self._settings = settings
        self._past: dict[Role, deque[_Rate]] = {role: deque(maxlen=settings.rates_remembered) for role in Role}
        """Of the last flights that landed, by role."""
        self._sampled: set[Flight] = set()
        """Flights whose throughput was noted while they were under way."""
        self._before: dict[Flight, int] = {}
        """Of flights under way: what had come from their source when they began, bytes."""

    def launched(self, flight: Flight) -> None:
        """Take note that a flight begins."""
        self._before[flight] = self._throughput.total(flight.source)

    def arrived(self, flight: Flight, position: int, now: float) -> None:
        """Take note that a flight's bytes have arrived up to `position`."""
        flight.moved_at = now
        self._throughput.came(flight.source, position - flight.position, now)

    def landed(self, flight: Flight, now: float) -> None:
        """Take note that a flight delivered all that it was to deliver."""
        self._past[_compared_as(flight)].append(_Rate(flight.source, flight.rate(now)))

    def ended(self, flight: Flight, now: float) -> None:
        """Take note that a flight has ended, whatever it delivered."""
        self._sampled.discard(flight)
        tells = flight.position > flight.start or now - flight.began_at > self._settings.late_s
        if tells and (flight.role.is_holder or _tells_of_a_home(flight)):
            self._note_throughput(flight, now)
        self._before.pop(flight, None)

    def sample(self, flights: Iterable[Flight], now: float) -> None:
        """Note each home's throughput in the middle of a piece, so that a slow one is known before it has sent one."""
        under_way = self._under_way(flights, now)
        for flight in flights:
            young = now - flight.began_at <= self._settings.late_s
            if not _tells_of_a_home(flight) or young or flight in self._sampled:
                continue
            assert flight.stop is not None
            typical = self._typical(flight, under_way)
            if typical is not None and (now - flight.began_at) * typical > (flight.stop - flight.start) / 2:
                self._sampled.add(flight)
                self._note_throughput(flight, now)

    def trickling(self, flights: Iterable[Flight], now: float) -> list[Flight]:
        """Flights from holders from which next to nothing comes, or little beside what upstream sent of this blob."""
        from_upstream = [rate.bytes_per_s for rate in self._past[Role.UPSTREAM]]
        little = statistics.median(from_upstream) / self._settings.trickle_factor if from_upstream else 0.0
        return [flight for flight in flights if flight.role.is_holder and self._is_trickle(flight, little, now)]

    def _is_trickle(self, flight: Flight, little: float, now: float) -> bool:
        """Whether a flight brings less than `little`, bytes per second; or next to nothing, after a longer time."""
        settings = self._settings
        age_s, rate = now - flight.began_at, flight.rate(now)
        is_next_to_nothing = age_s > settings.trickle_after_s and rate < settings.trickle_bytes_per_s
        return is_next_to_nothing or (age_s > settings.trickle_known_s and rate < little)

    def late(self, flights: Iterable[Flight], now: float, *, at_the_end: bool) -> list[tuple[Flight, Lateness]]:
        """The late flights, and why they are late; first the one that will land last.

        Early on a slow flight may yet catch up with the others, so each is given the time that they take. A source that
        is slow in everything is given only the time over which that is counted.

        What a home sends is very late only if the home is slow: if all that comes from it, of all blobs, is as slow
        compared with other sources. Of a home that delivers, one piece is slow because it is slow to come to the home;
        to ask upstream for it once more would make that even slower.

        Args:
            flights: all that are under way.
            now: monotonic seconds.
            at_the_end: whether nothing else is left to ask for.
        """
        factor = self._settings.late_factor_at_end if at_the_end else self._settings.late_factor
        under_way = self._under_way(flights, now)
        judged = [(flight, self._lateness(flight, flights, under_way, factor, now)) for flight in flights]
        late = [(flight, lateness) for flight, lateness in judged if lateness is not None]
        return sorted(late, key=lambda it: _remaining_s(it[0], now), reverse=True)

    def _lateness(
        self, flight: Flight, flights: Iterable[Flight], under_way: Sequence[_UnderWay], factor: float, now: float
    ) -> Lateness | None:
        """Why a flight is late, if it is: if it has less than the typical rate divided by `factor`."""
        settings, age_s = self._settings, now - flight.began_at
        if age_s < settings.late_s:
            return None
        twins = _twins(flight, flights)
        if len(twins) > 1 or any(now - twin.began_at < settings.late_s for twin in twins):
            return None
        assert flight.stop is not None
        typical = self._typical(flight, under_way)
        if typical is None:  # with nothing to compare it to, only a home from which nothing comes is not waited for
            is_mute = flight.role is Role.HOME and not twins and now - flight.moved_at > settings.mute_s
            return Lateness.STILL if is_mute else None
        rates = [max(it.rate(now), 1.0) for it in (flight, *twins)]
        if max(rates) * factor > typical or _remaining_s(flight, now) < settings.late_s / 2:
            return None
        very, lateness = factor * settings.very_late_factor, Lateness.DOUBLED if twins else Lateness.LATE
        if not twins and rates[0] * very <= typical:
            lateness = self._why_very_late(flight, flights, very, typical, now)
        grace_s = settings.late_grace * (flight.stop - flight.start) / typical
        if lateness.is_very_late:
            grace_s = min(grace_s, self._throughput.counted_s)
        return lateness if age_s >= grace_s else None

    def _why_very_late(
        self, flight: Flight, flights: Iterable[Flight], times: float, typical: float, now: float
    ) -> Lateness:
        """Whether it is still, or all that comes from its source so many times as slow as others; or as `typical`."""
        if now - flight.moved_at > self._settings.still_s:
            return Lateness.STILL
        others = {other.source for other in flights} - {flight.source}
        rates = [self._throughput.recent_rate(source, now) for source in others]
        compared = statistics.median(rates) if rates else typical
        # If nothing comes from anybody, upstream pauses, and nobody is slow.
        is_slow = compared > 0 and self._throughput.recent_rate(flight.source, now) * times <= compared
        return Lateness.SLOW if is_slow else Lateness.LATE

    def _under_way(self, flights: Iterable[Flight], now: float) -> list[_UnderWay]:
        """The flights that are old enough for their rate to tell something."""
        old = (flight for flight in flights if now - flight.began_at > self._settings.late_s / 2)
        return [_UnderWay(it, _compared_as(it), _Rate(it.source, it.rate(now))) for it in old]

    def _typical(self, flight: Flight, under_way: Sequence[_UnderWay]) -> float | None:
        """The median rate of flights from other sources in the same role, bytes per second; None if too few are known.

        If a home has no two others to be compared with, it is compared with upstream and holders, too: it is no faster
        than where it has the bytes from. What comes from a source is compared with the rest that comes from it only if
        nothing else is known.
        """
        role = _compared_as(flight)
        alike = (it.rate for it in under_way if it.role is role and it.flight is not flight)
        known = [*self._past[role], *alike]
        others = [rate for rate in known if rate.source != flight.source]
        if role is Role.HOME and len({rate.source for rate in others}) < 2:
            others += [*self._past[Role.UPSTREAM], *self._past[Role.HOLDER]]
        rates = [rate.bytes_per_s for rate in (others if len(others) > 1 else known)]
        return statistics.median(rates) if len(rates) > 1 else None

    def _note_throughput(self, flight: Flight, now: float) -> None:
        if flight.stop is None or flight.stop - flight.start < self._settings.measured_bytes:
            return
        total, own = self._throughput.total(flight.source), flight.position - flight.start
        count, seconds = max(total - self._before.get(flight, total), own), now - flight.began_at
        latency_s = (flight.first_at or now) - flight.began_at
        self._throughput.landed(flight.source, count, seconds, latency_s, now, _compared_as(flight))


def _remaining_s(flight: Flight, now: float) -> float:
    """How long a flight will take until it lands, at the rate that it has had so far, s."""
    assert flight.stop is not None
    return (flight.stop - flight.position) / max(flight.rate(now), 1.0)


def _compared_as(flight: Flight) -> Role:
    """The role within which flights are compared: holders send equally fast, whoever asks."""
    return Role.HOLDER if flight.role.is_holder else flight.role


def _tells_of_a_home(flight: Flight) -> bool:
    """Whether a home sends it, and has it from no other member: how fast it gets it from a holder is not its doing."""
    return flight.role is Role.HOME and flight.first_at is not None and flight.origin in (None, UPSTREAM)


def _twins(flight: Flight, flights: Iterable[Flight]) -> list[Flight]:
    """Other flights that bring some of its bytes."""
    assert flight.stop is not None
    return [
        other
        for other in flights
        if other is not flight and other.stop is not None and other.start < flight.stop and flight.start < other.stop
    ]
