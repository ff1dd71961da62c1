"""Pulling by a DHT without homes, in the fluid model: a whole blob comes from one node that holds it, or upstream.

These are Spegel's rules, as its code has them (v0.7.4): a node announces a blob when it is complete; who wants it asks
the DHT, which names three providers at most; one of them sends all of it. Where nobody has announced it by then, the
client takes it from upstream. Which providers a lookup finds first has nothing to do with zones or with load, so the
model draws one holder at random for each blob and node.

Left out: lookups (0 in the model), races between providers, breaks, and that a slow answer sends the client upstream.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from .fluid import Flow, Water
from .world import Ledger, Lines, Port, World

KNOWN_S: Final = 0.1
"""Time from a complete blob until a lookup finds it, seconds: measured beside real Spegel with 8 nodes, 94 of 100 were
found by then, 72 of 100 within 10 ms."""

STARTS_MAX: Final = 20
"""Moments at which the clients of a wave start, at most: each is one more step to compute."""

_GRAIN: Final = 1 / 100
"""The least step, as a share of the ideal time, and of the time since a batch began."""


@dataclass(slots=True, eq=False)
class Puller:
    """One node that pulls."""

    node: int
    zone: int
    port: Port
    waiting: list[int]
    left: int
    began: float = 0.0
    sent_bytes: float = 0.0


@dataclass(slots=True)
class Announced:
    """Who holds a blob, and how large it is."""

    size: int
    holders: list[Puller] = field(default_factory=list)


class Whole:
    """Waves of pulls in one cluster; each node by itself.

    Args:
        world: the cluster and the image.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(world.seed)
        self.water = Water(grain_share=_GRAIN)
        """The links, and what they have carried."""
        self._lines = Lines(world, self.water)
        self._blobs = [Announced(size) for size in world.layers]
        self._pullers: list[Puller] = []
        self._ledger = Ledger(world.nodes, world.image)

    def play(self, wave: str) -> Ledger:
        """Let a wave happen: `at once` or `rolling`. Once for each cluster."""
        world, water = self._world, self.water
        water.grain_s = world.ideal_s * _GRAIN
        for batch in world.batches(wave):
            began, ends = water.now, list[float]()
            water.began_at = began
            starts = min(STARTS_MAX, len(batch))
            for place, node in enumerate(batch):
                at = began + world.spread_s * (place % starts) / starts
                water.at(at, partial(self._begin, self._puller(node), ends))
            water.run()
            self._ledger.seconds.append(max(ends))
        self._ledger.sent_most_bytes = max(puller.sent_bytes for puller in self._pullers)
        return self._ledger

    def _puller(self, node: int) -> Puller:
        layers = len(self._blobs)
        puller = Puller(node, node % self._world.zones, self._lines.node(), list(range(layers)), layers)
        self._pullers.append(puller)
        return puller

    def _begin(self, puller: Puller, ends: list[float]) -> None:
        puller.began = self.water.now
        for _ in range(self._world.parallel):
            self._next(puller, ends)

    def _next(self, puller: Puller, ends: list[float]) -> None:
        """Fetch the next blob, if there is one."""
        if puller.waiting:
            blob = self._blobs[puller.waiting.pop(0)]
            self._fetch(puller, blob, partial(self._came, puller, blob, ends))

    def _fetch(self, puller: Puller, blob: Announced, came: Callable[[], None]) -> None:
        """Take a blob from a holder, or from upstream if none is known."""
        source = self._rng.choice(blob.holders) if blob.holders else None
        if source is not None:
            source.sent_bytes += blob.size
        zone = None if source is None else source.zone
        leaves = self._lines.upstream if source is None else source.port.up
        uses = [(leaves, 1.0), *self._lines.between(zone, puller.zone, 1), (puller.port.down, 1.0)]
        self.water.start(Flow(blob.size, uses), came)
        self._ledger.carry(1, blob.size, source=zone, target=puller.zone)

    def _came(self, puller: Puller, blob: Announced, ends: list[float]) -> None:
        self.water.at(self.water.now + KNOWN_S, partial(blob.holders.append, puller))
        puller.left -= 1
        if not puller.left:
            ends.append(self.water.now - puller.began)
        self._next(puller, ends)
