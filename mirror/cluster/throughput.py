"""Throughput: what members deliver. Pure: told what arrived when.

`Throughput` is what this node measures of the others: moving averages of rate and latency. A plan weighs its holders by
them, and slow homes are told that they are slow. `SlowReports` is what the others say about this node: a member whose
uplink is slow cannot know that by itself, and a ring that it is part of is as slow as it is.
"""

import math
import statistics
from collections.abc import Collection
from dataclasses import dataclass

SLOW = 0.25
"""A member that delivers less than this share of what others do is slow."""

_WEIGHT = 0.3
_MEMBERS_MAX = 1024
_SAMPLES_MIN = 3
_RECENT_S = 30.0
_OTHERS_MIN = 2


@dataclass(slots=True)
class _Average:
    """Of one member: bytes per second while it sends, seconds until it begins to, how often it did, and when last."""

    rate: float
    latency_s: float
    samples: int
    at: float


class Throughput:
    """What each member delivers to this node: as a holder, and as a home, which is no faster than upstream."""

    def __init__(self) -> None:
        self._averages: dict[tuple[str, bool], _Average] = {}

    def landed(self, member: str, count: int, seconds: float, latency_s: float, now: float, *, home: bool) -> None:
        """Note a delivery: so many bytes in so many seconds, the latency until the first of them included."""
        rate = count / max(seconds, 1e-4)
        known = self._averages.pop((member, home), None)
        if known is None:
            known = _Average(rate, latency_s, 0, now)
            while len(self._averages) >= _MEMBERS_MAX:
                del self._averages[next(iter(self._averages))]
        known.rate += _WEIGHT * (rate - known.rate)
        known.latency_s += _WEIGHT * (latency_s - known.latency_s)
        known.samples += 1
        known.at = now
        self._averages[member, home] = known

    def expected_s(self, member: str, count: int) -> float:
        """How long a holder will take for so many bytes; a stranger as long as the fastest, so that it is tried."""
        known = self._averages.get((member, False))
        if known is not None:
            return known.latency_s + count / max(known.rate, 1.0)
        holders = [average.rate for (_, home), average in self._averages.items() if not home]
        return count / max([1.0, *holders])

    def share(self, member: str, among: Collection[str], now: float) -> float | None:
        """A home's rate as a share of what the median of the others brings; None where too little is known."""
        recent = {
            name: average.rate
            for name in among
            if (average := self._averages.get((name, True))) is not None
            and average.samples >= _SAMPLES_MIN
            and now - average.at < _RECENT_S
        }
        own = recent.pop(member, None)
        if own is None or len(recent) < _OTHERS_MIN:
            return None
        return own / max(statistics.median(recent.values()), 1.0)


class SlowReports:
    """What other members say of this node's pace."""

    def __init__(self) -> None:
        self._shares: dict[str, tuple[float, float]] = {}

    def heard(self, member: str, share: float, now: float) -> None:
        """A member says that this node delivers such a share of what others deliver to it."""
        if not math.isfinite(share) or share < 0:
            return
        self._shares.pop(member, None)
        self._shares[member] = (share, now)
        while len(self._shares) > _MEMBERS_MAX:
            del self._shares[next(iter(self._shares))]

    def slow(self, others: int, now: float) -> bool:
        """Whether several members find this node slow: most of those who said anything lately, and half of all.

        Args:
            others: how many other members are up.
            now: monotonic seconds.
        """
        recent = [share for share, at in self._shares.values() if now - at < _RECENT_S]
        return len(recent) >= max(_OTHERS_MIN, others / 2) and statistics.median(recent) < SLOW

    def clear(self) -> None:
        """Forget it all, for a new try."""
        self._shares.clear()
