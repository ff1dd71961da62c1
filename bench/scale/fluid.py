"""A fluid model of transfers: links are shared fairly, bytes flow like water, and packets do not exist.

At every moment each transfer has the rate of max-min fairness: all rates rise together, and those of a link stop where
the link is full. What passes bytes on while they arrive is never faster than what it gets them from.

Equal transfers are one `Flow`. How much a flow loads a link is its weight there: the transfers of it that cross the
link, for a rate of 1 of each. So thousands of nodes in the same situation cost as much to compute as one.

Source: max-min fairness and progressive filling, Bertsekas and Gallager, "Data Networks", 2nd edition, 1992, 6.5.2.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

_WHOLE: Final = 1e-6
"""Bytes that may be missing of what counts as complete: less than any sum of floating-point numbers loses here."""


@dataclass(slots=True, eq=False)
class Flow:
    """Equal transfers that run at the same time.

    Args:
        size: of one of them, bytes.
        uses: links, each with its weight: what a rate of 1 of each transfer adds to the load of the link.
        feeder: brings the bytes that this flow passes on while they arrive; None if they are all there.
        moved: bytes of one transfer so far.
        rate: of one transfer now, bytes per second.
    """

    size: float
    uses: Sequence[tuple[int, float]]
    feeder: "Flow | None" = None
    moved: float = 0.0
    rate: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether all bytes have moved."""
        return self.moved >= self.size - _WHOLE

    @property
    def bound(self) -> "Flow | None":
        """The feeder, if everything that came of it has been passed on, so that it bounds the rate."""
        feeder = self.feeder
        if feeder is None or feeder.is_done or self.moved < feeder.moved - _WHOLE:
            return None
        return feeder


def share(flows: Iterable[Flow], capacities: Sequence[float]) -> None:
    """Give every flow its max-min fair rate.

    Args:
        flows: all that move; every feeder that is not done is among them.
        capacities: of the links, bytes per second, by number.
    """
    flows = list(flows)
    crossing: dict[int, list[Flow]] = {}
    bounded: dict[Flow, list[Flow]] = {}
    open_weight: dict[int, float] = {}
    for flow in flows:
        flow.rate = -1.0
        for link, weight in flow.uses:
            crossing.setdefault(link, []).append(flow)
            open_weight[link] = open_weight.get(link, 0.0) + weight
        if (feeder := flow.bound) is not None:
            bounded.setdefault(feeder, []).append(flow)
    left = {link: capacities[link] for link in crossing}
    open_flows = {link: len(inside) for link, inside in crossing.items()}
    levels = [(left[link] / open_weight[link], link) for link in crossing]
    heapq.heapify(levels)
    while levels:
        level, link = heapq.heappop(levels)
        if not open_flows[link]:
            continue
        now = max(0.0, left[link]) / open_weight[link]
        if now > level * (1 + 1e-12):  # flows that stopped at other links have left more to those that go on
            heapq.heappush(levels, (now, link))
            continue
        stopping = [flow for flow in crossing[link] if flow.rate < 0]
        while stopping:
            flow = stopping.pop()
            if flow.rate >= 0:
                continue
            flow.rate = level
            for crossed, weight in flow.uses:
                left[crossed] -= weight * level
                open_weight[crossed] -= weight
                open_flows[crossed] -= 1
            stopping += bounded.get(flow, ())


@dataclass(slots=True)
class Water:
    """Links, and the flows over them, as time passes.

    Args:
        grain_s: the least time between two looks at who is done, seconds; a flow that ends in between leaves its share
            unused until then.
        grain_share: the same, as a share of the time since `began_at`: what takes long is not looked at more closely.
    """

    grain_s: float = 0.0
    grain_share: float = 0.0
    began_at: float = 0.0
    now: float = 0.0
    steps: int = 0
    capacities: list[float] = field(default_factory=list)
    carried: list[float] = field(default_factory=list)
    """Bytes that each link has carried."""
    _moving: dict[Flow, list[Callable[[], None]]] = field(default_factory=dict)
    _waiting: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def link(self, capacity: float) -> int:
        """Add a link of so many bytes per second, and return its number."""
        self.capacities.append(capacity)
        self.carried.append(0.0)
        return len(self.capacities) - 1

    def start(self, flow: Flow, done: Callable[[], None]) -> Flow:
        """Let a flow run, and call back when all bytes have moved."""
        self._moving[flow] = [done]
        return flow

    def when_done(self, flow: Flow, done: Callable[[], None]) -> None:
        """Call back, too, when a flow that runs is done."""
        self._moving[flow].append(done)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Do something at a time, seconds."""
        self._number += 1
        heapq.heappush(self._waiting, (moment, self._number, act))

    def run(self) -> None:
        """Let time pass until nothing moves and nothing waits."""
        while self._moving or self._waiting:
            while self._waiting and self._waiting[0][0] <= self.now:
                heapq.heappop(self._waiting)[2]()
            if self._moving:
                share(self._moving, self.capacities)
                self._advance()
            elif self._waiting:
                self.now = max(self.now, self._waiting[0][0])

    def _advance(self) -> None:
        """Move bytes until something happens, and tell those whose flows are done."""
        self.steps += 1
        until_next = self._waiting[0][0] - self.now if self._waiting else math.inf
        grain_s = max(self.grain_s, self.grain_share * (self.now - self.began_at))
        step_s = min(max(min(map(_until_change, self._moving)), grain_s), until_next)
        if not math.isfinite(step_s):
            raise ValueError("a flow never ends: it uses no link, or one without capacity")
        self.now += step_s
        for flow in self._moving:  # feeders were started before what they feed
            self._move(flow, step_s)
        for flow in [flow for flow in self._moving if flow.is_done]:
            for done in self._moving.pop(flow):
                done()

    def _move(self, flow: Flow, step_s: float) -> None:
        upto = min(flow.moved + flow.rate * step_s, flow.size)
        if flow.feeder is not None:
            upto = min(upto, flow.feeder.moved)
        before, flow.moved = flow.moved, upto
        if flow.is_done:
            flow.moved = flow.size
        for link, weight in flow.uses:
            self.carried[link] += weight * (flow.moved - before)


def _until_change(flow: Flow) -> float:
    """Seconds until a flow is done, or has passed on all that its feeder has."""
    feeder = flow.feeder
    if feeder is not None and not feeder.is_done:
        gain = flow.rate - feeder.rate
        behind = feeder.moved - flow.moved
        if behind > _WHOLE:
            return behind / gain if gain > 0 else math.inf
        return math.inf
    return (flow.size - flow.moved) / flow.rate if flow.rate > 0 else math.inf
