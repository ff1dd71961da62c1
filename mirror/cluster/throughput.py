"""Throughput: what members deliver. Pure: told what arrived when.

`Throughput` is what this node measures of the others: moving averages of rate and latency. A plan weighs its holders by
them, and slow homes are told that they are slow. `SlowReports` is what the others say about this node: a member whose
uplink is slow cannot know that by itself, and a ring that it is part of is as slow as it is.
"""

import math
import statistics
from collections.abc import Collection
from dataclasses import dataclass

from ..sources import Role

SLOW = 0.25
"""A member is slow if it delivers less than this share of what the others deliver. A ring with one member at a tenth of
a link is 8.8 times slower (simulated, 8 members); one at a quarter costs no more than leaving it out."""

_WEIGHT = 0.3
"""Weight of the newest sample in a moving average: the last three samples have two thirds of the weight."""

_MEMBERS_MAX = 1024
"""Members remembered, the least recently heard forgotten first: ten times the largest cluster that this is made for."""

_SAMPLES_MIN = 3
"""Samples of a home before it is judged: one alone may have met a busy moment."""

_RECENT_S = 30.0
"""Age up to which a sample or a report counts, s: a link that was slow a minute ago may be idle now."""

_OTHERS_MIN = 2
"""Others to compare with, and reports, at least: with one other it cannot be told which of two is slow."""


@dataclass(slots=True)
class _Average:
    """Of one member in one role.

    Args:
        rate: bytes per second, from the request to the last byte.
        latency_s: from the request to the first byte, s.
        samples: how many deliveries it is made of.
        at: when the last one was noted, monotonic seconds.
    """

    rate: float
    latency_s: float
    samples: int
    at: float


class Throughput:
    """What each member delivers to this node: as a holder, and as a home, which is no faster than upstream."""

    def __init__(self) -> None:
        self._averages: dict[tuple[str, Role], _Average] = {}

    def landed(self, member: str, count: int, seconds: float, latency_s: float, now: float, role: Role) -> None:
        """Take note of a delivery.

        Args:
            member: who delivered.
            count: bytes.
            seconds: from the request to the last byte, s.
            latency_s: the part of that until the first byte, s.
            now: monotonic seconds.
            role: as what it delivered, `HOLDER` or `HOME`.
        """
        rate = count / max(seconds, 1e-4)
        known = self._averages.pop((member, role), None)
        if known is None:
            known = _Average(rate, latency_s, 0, now)
            while len(self._averages) >= _MEMBERS_MAX:
                del self._averages[next(iter(self._averages))]
        known.rate += _WEIGHT * (rate - known.rate)
        known.latency_s += _WEIGHT * (latency_s - known.latency_s)
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
        """A home's rate divided by the median rate of the other homes; None if too little is known."""
        recent = {
            name: average.rate
            for name in among
            if (average := self._averages.get((name, Role.HOME))) is not None
            and average.samples >= _SAMPLES_MIN
            and now - average.at < _RECENT_S
        }
        own = recent.pop(member, None)
        if own is None or len(recent) < _OTHERS_MIN:
            return None
        return own / max(statistics.median(recent.values()), 1.0)


class SlowReports:
    """What other members say about this node's throughput."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, float]] = {}

    def heard(self, member: str, relative_rate: float, now: float) -> None:
        """Take note of what one member measured: this node's rate divided by the median of the other homes'."""
        if not math.isfinite(relative_rate) or relative_rate < 0:
            return
        self._rates.pop(member, None)
        self._rates[member] = (relative_rate, now)
        while len(self._rates) > _MEMBERS_MAX:
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
        recent = [rate for rate, at in self._rates.values() if now - at < _RECENT_S]
        return len(recent) >= max(_OTHERS_MIN, others / 2) and statistics.median(recent) < SLOW

    def clear(self) -> None:
        """Forget everything, before this node serves as a home again."""
        self._rates.clear()
