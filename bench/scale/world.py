"""The world of the fluid model: nodes in zones, the links between them, an image, and how it is pulled."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..lab.images import NAMED
from .fluid import Water

MBIT: Final = 1e6 / 8
"""Bytes per second of one Mbit/s."""

IMAGE: Final = "100MB-4"
"""The image of Spegel's benchmark that is pulled, if nobody says."""

ZONES_MIN: Final = 3
"""Zones of a cluster: a region of a cloud has three."""

ZONE_NODES_MAX: Final = 500
"""Nodes of a zone at most: beyond 1,500 nodes there are more zones."""

OVERSUBSCRIBED: Final = 4.0
"""A thin line of a zone to the others carries a quarter of what its nodes' links could: common between racks."""

ROLLING_SHARE: Final = 0.2
"""Share of the nodes that pull at a time in the wave `rolling`, as in the lab and in Spegel's benchmark."""

WAVES: Final = ("at once", "rolling")


def layers_of(image: str) -> Sequence[int]:
    """The layers of one of the images of Spegel's benchmark, by its name: their sizes, bytes."""
    shape = NAMED[image]
    return (shape.size_bytes // shape.layers,) * shape.layers


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is pulled, over which links.

    Args:
        nodes: how many.
        zones: among which they are spread evenly.
        link: of a node, bytes per second, either way.
        zone_link: of a zone to all that is outside of it, bytes per second, either way; None: no bottleneck.
        upstream: what the registry can send, bytes per second.
        layers: sizes of the image's blobs, bytes.
        parallel: blobs that a client asks for at a time, as containerd does.
        spread_s: time over which the clients of a wave start, seconds.
        seed: of the digests, and so of the homes; and of chance.
    """

    nodes: int
    zones: int = 1
    link: float = 1000 * MBIT
    zone_link: float | None = None
    upstream: float = 1000 * MBIT
    layers: Sequence[int] = field(default_factory=lambda: layers_of(IMAGE))
    parallel: int = 3
    spread_s: float = 0.0
    seed: int = 1

    @property
    def image(self) -> int:
        """Bytes of all layers."""
        return sum(self.layers)

    @property
    def ideal_s(self) -> float:
        """How long one download takes over the narrowest link on its way, seconds."""
        return self.image / min(self.link, self.upstream)

    def names(self) -> list[str]:
        """Of the nodes; node i is in zone i mod zones."""
        return [f"node{number + 1}" for number in range(self.nodes)]

    def key(self, layer: int) -> bytes:
        """The digest of a layer."""
        return hashlib.sha256(f"{self.seed}/{layer}".encode()).digest()

    def batches(self, wave: str) -> list[range]:
        """Which nodes pull at a time."""
        size = self.nodes if wave == "at once" else math.ceil(self.nodes * ROLLING_SHARE)
        return [range(start, min(self.nodes, start + size)) for start in range(0, self.nodes, size)]


def world_of(nodes: int, seed: int = 1, *, thin: bool = False) -> World:
    """A cluster of a size on links of 1 Gbit/s, whose clients start within a quarter of a second.

    Args:
        nodes: how many.
        seed: of the digests, and of chance.
        thin: whether a zone's line to the others carries a quarter of what its nodes' links could; else it is none.
    """
    zones = max(ZONES_MIN, math.ceil(nodes / ZONE_NODES_MAX))
    world = World(nodes=nodes, zones=zones, spread_s=0.25, seed=seed)
    return replace(world, zone_link=world.link * nodes / zones / OVERSUBSCRIBED) if thin else world


@dataclass(frozen=True, slots=True)
class Port:
    """The two directions of a link, by the numbers that `Water` gave them."""

    up: int
    down: int


class Lines:
    """The links of a world: one to upstream, a port for each zone, and ports of nodes.

    Args:
        world: which.
        water: takes the links.
    """

    def __init__(self, world: World, water: Water) -> None:
        self._world = world
        self._water = water
        self.upstream = water.link(world.upstream)
        bound = world.zone_link
        self._zones = [] if bound is None else [self._port(bound) for _ in range(world.zones)]

    def node(self) -> Port:
        """A new port of a node, or of one that stands for many in the same situation."""
        return self._port(self._world.link)

    def between(self, source: int | None, target: int, count: int) -> list[tuple[int, float]]:
        """The links of zones on the way of so many transfers; None as the source is upstream."""
        if source == target or not self._zones:
            return []
        leaving = [] if source is None else [(self._zones[source].up, count)]
        return [*leaving, (self._zones[target].down, count)]

    def _port(self, capacity: float) -> Port:
        return Port(self._water.link(capacity), self._water.link(capacity))


@dataclass(slots=True)
class Ledger:
    """What a wave has cost, and how long it took.

    Args:
        nodes: that pulled.
        image: bytes.
        upstream_bytes: that upstream sent.
        members_bytes: that nodes sent to each other.
        cross_bytes: of these, what went from one zone to another.
        requests: that nodes made, of each other and of upstream.
        seconds: for each batch, from its start to its last node's end.
        sent_most_bytes: by the node that sent most.
    """

    nodes: int
    image: int
    upstream_bytes: float = 0.0
    members_bytes: float = 0.0
    cross_bytes: float = 0.0
    requests: float = 0.0
    seconds: list[float] = field(default_factory=list)
    sent_most_bytes: float = 0.0

    @property
    def upstream_share(self) -> float:
        """U: bytes that upstream sent, in images."""
        return self.upstream_bytes / self.image

    @property
    def cross_share(self) -> float:
        """Bytes that went from one zone to another, in images."""
        return self.cross_bytes / self.image

    def ratio(self, ideal_s: float) -> float:
        """R: the time of all batches over that of as many ideal ones."""
        return sum(self.seconds) / (len(self.seconds) * ideal_s)

    def carry(self, count: float, size: float, *, source: int | None, target: int) -> None:
        """Note transfers from one zone to another; None as the source is upstream."""
        self.requests += count
        if source is None:
            self.upstream_bytes += count * size
            return
        self.members_bytes += count * size
        if source != target:
            self.cross_bytes += count * size
