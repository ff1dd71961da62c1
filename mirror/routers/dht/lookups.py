"""What this node has asked the DHT lately, and what came back: `locate` reads it. Runs on the agent's event loop."""

import asyncio
import enum
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ...settings import DhtTiming

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the histogram of lookups, s: from a hit in this node's own records to a miss that asks the dead."""


class Outcome(enum.StrEnum):
    """How the wait for a lookup ended; the value stands in a metric."""

    LOCAL = "local"
    """A record of this node named a holder."""
    FOUND = "found"
    """A record of another node did."""
    MISSING = "missing"
    """All nodes closest to the key were asked, and none has a record."""
    LATE = "late"
    """Nothing was known when the time to resolve was over. The lookup went on."""
    REFUSED = "refused"
    """Too many lookups were under way."""


@dataclass(slots=True)
class _Lookup:
    """The lookup of one key.

    Args:
        began_at: of the loop's clock, s.
        waited_for: is done when the first holder is known, nobody is left to ask, or the time to resolve is over.
        holders: ids of the peers that records named, in the order in which they came.
        is_over: whether everybody has been asked, or enough holders are known.
    """

    began_at: float
    waited_for: asyncio.Future[None]
    holders: list[str] = field(default_factory=list)
    is_over: bool = False


class Lookups:
    """The lookups of a node, each used for some seconds.

    Args:
        ask: begins a lookup; `found` and `ended` are called later, on this loop.
        resolve_s: bounds the wait for a lookup, s.
        timing: for how long an answer is used, and how many there are.
    """

    def __init__(self, ask: Callable[[bytes], None], resolve_s: float, timing: DhtTiming) -> None:
        self._ask = ask
        self._resolve_s = resolve_s
        self._timing = timing
        self._lookups: OrderedDict[bytes, _Lookup] = OrderedDict()
        self._running = 0
        self.outcomes: Counter[Outcome] = Counter()
        self._seconds: Counter[float] = Counter()
        self.seconds_sum = 0.0

    def begin(self, key: bytes) -> Awaitable[None] | None:
        """Look a key up, unless its last lookup is new enough; see `Router.look_up`."""
        loop = asyncio.get_running_loop()
        lookup = self._lookups.get(key)
        if lookup is None or self._is_stale(lookup, loop.time()):
            if self._running >= self._timing.lookups_max:
                self._note(Outcome.REFUSED, 0.0)
                return None
            kept = lookup.holders if lookup is not None else []
            lookup = self._lookups[key] = _Lookup(loop.time(), loop.create_future(), list(kept))
            self._running += 1
            self._forget_oldest()
            loop.call_later(self._resolve_s, self._settle, lookup, Outcome.LATE)
            self._ask(key)
        self._lookups.move_to_end(key)
        return None if lookup.waited_for.done() else asyncio.shield(lookup.waited_for)

    def holders(self, key: bytes) -> Sequence[str]:
        """Ids of the peers that the lookups of a key have named so far."""
        lookup = self._lookups.get(key)
        return () if lookup is None else lookup.holders

    def histogram(self) -> Mapping[float, int]:
        """Waits that took at most some time, by that time, s; not cumulated, the last is infinite."""
        return {bound: self._seconds[bound] for bound in (*BUCKETS_S, float("inf"))}

    def named(self) -> set[str]:
        """Ids of all peers that lookups have named lately."""
        return {peer for lookup in self._lookups.values() for peer in lookup.holders}

    def found(self, key: bytes, peer: str, *, is_local: bool) -> None:
        """A record names a holder: one of this node's records, or another's."""
        lookup = self._lookups.get(key)
        if lookup is None:
            return
        if peer not in lookup.holders:
            lookup.holders.append(peer)
        self._settle(lookup, Outcome.LOCAL if is_local else Outcome.FOUND)

    def ended(self, key: bytes, found: Sequence[str]) -> None:
        """A lookup has asked everybody, or found enough: these are the holders, and none that was known before."""
        self._running -= 1
        lookup = self._lookups.get(key)
        if lookup is not None:
            lookup.holders[:] = found
            lookup.is_over = True
            self._settle(lookup, Outcome.MISSING)

    def _is_stale(self, lookup: _Lookup, now: float) -> bool:
        """Whether it is time to ask anew: sooner where fewer holders are known than are looked for."""
        timing = self._timing
        kept_s = timing.lookup_kept_s if len(lookup.holders) >= timing.providers_wanted else timing.lookup_again_s
        return lookup.is_over and now - lookup.began_at >= kept_s

    def _settle(self, lookup: _Lookup, outcome: Outcome) -> None:
        if not lookup.waited_for.done():
            lookup.waited_for.set_result(None)
            self._note(outcome, asyncio.get_running_loop().time() - lookup.began_at)

    def _note(self, outcome: Outcome, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self._seconds[next((bound for bound in BUCKETS_S if seconds <= bound), float("inf"))] += 1
        self.seconds_sum += seconds

    def _forget_oldest(self) -> None:
        """Forget the one that was asked for longest ago, of those that are over."""
        if len(self._lookups) > self._timing.lookups_kept_max:
            first = islice(self._lookups.items(), self._timing.lookups_max + 1)  # one of these is over
            del self._lookups[next(key for key, lookup in first if lookup.is_over)]
