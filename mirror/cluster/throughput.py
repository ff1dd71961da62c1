"""Throughput: what members deliver. Pure: told what arrived when.

`Throughput` is what this node measures of the others: moving averages of rate and latency. A plan weighs its holders by
them, and slow homes are told that they are slow. It also knows how much came of each source within the last seconds.
`SlowReports` is what the others say about this node: a member whose uplink is slow cannot know that by itself, and a
ring that it is part of is as slow as it is.
"""

import math
import statistics
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from ..settings import ClusterSettings
from ..sources import Role


@dataclass(slots=True)
class _Average:
    """Of one member in one role.

    Args:
        rate: bytes per second of all that it sends, from a request to its last byte.
        latency_s: from the request to the first byte, s.
        samples: how many deliveries it is made of.
        at: when the last one was noted, monotonic seconds.
    """

    rate: float
    latency_s: float
    samples: int
    at: float


class Throughput:
    """What each member delivers to this node: as a holder, and as a home, which is no faster than upstream.

    Args:
        settings: what counts, and for how long.
    """

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        self._settings = settings or ClusterSettings()
        self._averages: dict[tuple[str, Role], _Average] = {}
        self._came: dict[int, Counter[str]] = {}
        """Bytes by source, for each of the last slots of time."""
        self._totals: dict[str, int] = {}
        """Bytes by source, ever; those from which nothing came for longest are forgotten first."""

    def came(self, source: str, count: int, now: float) -> None:
        """Take note of bytes that came from a member or from upstream, of whatever blob."""
        slot = self._slot(now)
        if slot not in self._came:
            first = slot - self._settings.recent_slots
            self._came = {past: counts for past, counts in self._came.items() if past > first}
            self._came[slot] = Counter()
        self._came[slot][source] += count
        self._totals[source] = self._totals.pop(source, 0) + count
        while len(self._totals) > self._settings.remembered_max:
            del self._totals[next(iter(self._totals))]

    def total(self, source: str) -> int:
        """What has come from a source so far, of all blobs together, bytes: the difference of two tells a rate."""
        return self._totals.get(source, 0)

    @property
    def counted_s(self) -> float:
        """The time over which `recent_rate` counts, s."""
        return self._settings.recent_s

    def recent_rate(self, source: str, now: float) -> float:
        """What came from a source within the last seconds, of all blobs together, bytes per second."""
        first = self._slot(now) - self._settings.recent_slots
        count = sum(counts[source] for slot, counts in self._came.items() if slot > first)
        return count / self._settings.recent_s

    def _slot(self, now: float) -> int:
        return math.floor(now * self._settings.recent_slots / self._settings.recent_s)

    def landed(self, member: str, count: int, seconds: float, latency_s: float, now: float, role: Role) -> None:
        """Take note of a delivery.

        Args:
            member: who delivered.
            count: bytes that came of it meanwhile, those of other requests included: of several requests each gets a
                part of what a member can send, and one that others ask less has fewer.
            seconds: from the request to the last byte, s.
            latency_s: the part of that until the first byte, s.
            now: monotonic seconds.
            role: as what it delivered, `HOLDER` or `HOME`.
        """
        rate = count / max(seconds, 1e-4)
        known = self._averages.pop((member, role), None)
        if known is None:
            known = _Average(rate, latency_s, 0, now)
            while len(self._averages) >= self._settings.remembered_max:
                del self._averages[next(iter(self._averages))]
        weight = self._settings.sample_weight
        known.rate += weight * (rate - known.rate)
        known.latency_s += weight * (latency_s - known.latency_s)
        known.samples += 1
        known.at = now
        self._averages[member, role] = known

    def expected_s(self, member: str, count: int) -> float:
        """How long a holder will take for `count` bytes, s; a stranger as long as the fastest, so that it is tried."""
        known = self._averages.get((member, Role.HOLDER))
        if known is not None:
            return known.latency_s + count / max(known.rate, 1.0)
        holders = [average.rate for (_, role), average in self._averages.items() if role is Role.HOLDER]
        return count / max([1.0, *holders])

    def relative_rate(self, member: str, among: Collection[str], now: float) -> float | None:
        """A home's rate divided by the median rate of the other homes; None if too little is known.

        Only those are compared that delivered at about the same time: one that was last asked while many wanted bytes
        of it is not slower than one that was asked by this node alone, a few seconds later.
        """
        own = self._as_home(member) if member in among else None
        if own is None or now - own.at >= self._settings.sample_age_max_s:
            return None
        homes = (self._as_home(name) for name in among if name != member)
        rates = [home.rate for home in homes if home is not None and abs(home.at - own.at) < self._settings.recent_s]
        if len(rates) < self._settings.others_min:
            return None
        return own.rate / max(statistics.median(rates), 1.0)

    def _as_home(self, member: str) -> _Average | None:
        """What a member delivers as a home; None if too little is known."""
        known = self._averages.get((member, Role.HOME))
        return known if known is not None and known.samples >= self._settings.samples_min else None


class SlowReports:
    """What other members say about this node's throughput.

    Args:
        settings: what counts, and for how long.
    """

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        self._settings = settings or ClusterSettings()
        self._rates: dict[str, tuple[float, float]] = {}

    def heard(self, member: str, relative_rate: float, now: float) -> None:
        """Take note of what one member measured: this node's rate divided by the median of the other homes'."""
        if not math.isfinite(relative_rate) or relative_rate < 0:
            return
        self._rates.pop(member, None)
        self._rates[member] = (relative_rate, now)
        while len(self._rates) > self._settings.remembered_max:
            del self._rates[next(iter(self._rates))]

    @property
    def members(self) -> Collection[str]:
        """Names of those that said anything."""
        return self._rates.keys()

    def slow(self, others: int, now: float) -> bool:
        """Whether several members find this node slow: most of those who said anything lately, and half of all.

        Args:
            others: how many other members are up.
            now: monotonic seconds.
        """
        recent = [rate for rate, at in self._rates.values() if now - at < self._settings.sample_age_max_s]
        enough = len(recent) >= max(self._settings.others_min, others / 2)
        return enough and statistics.median(recent) < self._settings.slow_rate

    def clear(self) -> None:
        """Forget everything, before this node serves as a home again."""
        self._rates.clear()
