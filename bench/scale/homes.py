"""Pulling by homes, in the fluid model: each piece has a home, which fetches it for all, and passes it on meanwhile.

The rings, the sizes of pieces and the window are the product's own (`mirror.cluster.homes`, `mirror.settings`). Nodes
of one zone that start at the same time do the same at the same time, so a `Crowd` of them is computed as one; in a
small cluster each node is a crowd of its own, which is exact. Of a larger crowd, a node that is the home of a piece
has a line of its own for that: that it is a client as well is left out there.

Left out as well: requests for late pieces (rule 7 of docs/homes.md), failures, round trips, and the time that a client
needs when all bytes are here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from mirror.cluster.homes import Ring, home_piece_size
from mirror.settings import PlanSettings

from .fluid import Flow, Water
from .world import Ledger, Lines, Port, World

EXACT_MAX: Final = 16
"""Nodes up to which each is computed by itself."""

COHORTS: Final = {1_500: 4, 5_000: 2, math.inf: 1}
"""Groups of a zone that start one after the other, by the number of nodes up to which it holds: what can be computed
within seconds."""

KNOWN_S: Final = 0.02
"""Time until all others know that a node holds a blob, seconds: what gossip takes in a small cluster."""

_GRAIN: Final = 1 / 400
"""The least step, as a share of the ideal time, and of the time since a batch began."""


@dataclass(slots=True, eq=False)
class Crowd:
    """Nodes that do the same at the same time.

    Args:
        nodes: their numbers.
        zone: in which all of them are.
        starts_s: after the beginning of the wave, seconds.
        port: of one that stands for all.
    """

    nodes: Sequence[int]
    zone: int
    starts_s: float
    port: Port
    served: float = 0.0
    """Bytes that each of them has sent as a holder."""

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.nodes)


@dataclass(frozen=True, slots=True)
class Sender:
    """Where bytes come from.

    Args:
        link: on which they leave.
        zone: None for upstream.
        count: nodes among which the transfers are spread evenly, and for one of which the link stands.
    """

    link: int
    zone: int | None
    count: int = 1


@dataclass(slots=True)
class Blob:
    """One layer: its pieces, its homes, and who holds all of it."""

    sizes: list[int]
    rings: list[Ring]
    """From upstream down: that of the cluster, or that and the one of each zone."""
    copies: dict[tuple[int, int], Flow] = field(default_factory=dict)
    """What homes have fetched or are fetching, by piece and home."""
    holders: list[Crowd] = field(default_factory=list)
    wanting: int = 0
    """Nodes that are fetching it."""


@dataclass(slots=True)
class Fetch:
    """What a crowd fetches of one blob."""

    crowd: Crowd
    blob: Blob
    done: Callable[[], None]
    next: int = 0
    under_way: int = 0
    credit: float = 0.0
    """Pieces that holders could have sent, less those that they did."""


class Homes:
    """Waves of pulls in one cluster.

    Args:
        world: the cluster and the image.
        by_zone: whether each zone has homes of its own, which ask the homes of the cluster: it is not what the product
            does, but what zones would change.
        exact_max: nodes up to which each is computed by itself.
    """

    def __init__(self, world: World, *, by_zone: bool = False, exact_max: int = EXACT_MAX) -> None:
        self._world = world
        self._settings = PlanSettings()
        self.water = Water(grain_share=_GRAIN)
        """The links, and what they have carried."""
        self._lines = Lines(world, self.water)
        self._exact = world.nodes <= exact_max
        self._ports: dict[int, Port] = {}
        self._numbers = {name: number for number, name in enumerate(world.names())}
        self._blobs = [self._blob(layer, size, by_zone=by_zone) for layer, size in enumerate(world.layers)]
        self._pulling: list[Crowd] = []
        self._sent: dict[int, float] = {}
        """Bytes that each node sent as a home."""
        self._ledger = Ledger(world.nodes, world.image)

    def play(self, wave: str) -> Ledger:
        """Let a wave happen: `at once` or `rolling`. Once for each cluster."""
        world, water = self._world, self.water
        for batch in world.batches(wave):
            began, ends = water.now, list[float]()
            water.began_at, water.grain_s = began, 0.0 if self._exact else world.ideal_s * _GRAIN
            for crowd in self._crowds(batch):
                self._pulling.append(crowd)
                water.at(began + crowd.starts_s, partial(self._pull, crowd, ends))
            water.run()
            self._ledger.seconds.append(max(ends))
        self._ledger.sent_most_bytes = self._sent_most()
        return self._ledger

    def _sent_most(self) -> float:
        """By one node, as a home and as a holder."""
        sent = dict(self._sent)
        for crowd in self._pulling:
            for node in crowd.nodes if crowd.served else ():
                sent[node] = sent.get(node, 0.0) + crowd.served
        return max(sent.values(), default=0.0)

    # Who

    def _blob(self, layer: int, size: int, *, by_zone: bool) -> Blob:
        world = self._world
        names, key = world.names(), world.key(layer)
        rings = [Ring.of(key, names)]
        if by_zone:
            rings += [Ring.of(key, names[zone :: world.zones]) for zone in range(world.zones)]
        unit = home_piece_size(size, len(rings[-1]))
        return Blob([min(unit, size - start) for start in range(0, size, unit)], rings)

    def _crowds(self, batch: range) -> list[Crowd]:
        """Those who pull in a batch, by zone and start."""
        world = self._world
        if self._exact:
            step_s = world.spread_s / len(batch)
            return [
                Crowd([node], self._zone(node), step_s * place, self._port_of(node)) for place, node in enumerate(batch)
            ]
        cohorts = next(count for most, count in COHORTS.items() if world.nodes <= most)
        zones = [[node for node in batch if self._zone(node) == zone] for zone in range(world.zones)]
        return [
            Crowd(nodes, zone, world.spread_s * cohort / cohorts, self._lines.node())
            for zone, inside in enumerate(zones)
            for cohort in range(cohorts)
            if (nodes := inside[cohort::cohorts])
        ]

    def _port_of(self, node: int) -> Port:
        """A node's own line: that of its crowd if it is alone there."""
        if node not in self._ports:
            self._ports[node] = self._lines.node()
        return self._ports[node]

    def _zone(self, node: int) -> int:
        return node % self._world.zones

    # What a crowd does

    def _pull(self, crowd: Crowd, ends: list[float]) -> None:
        """Fetch all blobs, some at a time, in order."""
        began, waiting = self.water.now, list(self._blobs)
        left = len(waiting)

        def next_blob() -> None:
            if waiting:
                fetch = Fetch(crowd, waiting.pop(0), blob_done)
                fetch.blob.wanting += crowd.count
                self._fill(fetch)

        def blob_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                ends.append(self.water.now - began)
            next_blob()

        for _ in range(self._world.parallel):
            next_blob()

    def _fill(self, fetch: Fetch) -> None:
        """Ask for as many pieces as the window allows, in order."""
        window = self._window(fetch.blob)
        while fetch.next < len(fetch.blob.sizes) and fetch.under_way < window:
            fetch.next += 1
            fetch.under_way += 1
            self._ask(fetch, fetch.next - 1)

    def _window(self, blob: Blob) -> int:
        settings, holders = self._settings, sum(crowd.count for crowd in blob.holders)
        of_a_home = settings.window_homes_alone if self._world.parallel == 1 else settings.window_homes
        wanted = max(int(of_a_home * len(blob.rings[0])), settings.holder_lanes * holders, settings.window_min)
        return min(wanted, settings.window_max)

    def _came(self, fetch: Fetch) -> None:
        """A piece is here: ask for the next one, or be done."""
        fetch.under_way -= 1
        if fetch.next < len(fetch.blob.sizes):
            self._fill(fetch)
        elif not fetch.under_way:
            fetch.blob.wanting -= fetch.crowd.count
            self.water.at(self.water.now + KNOWN_S, partial(fetch.blob.holders.append, fetch.crowd))
            fetch.done()

    def _ask(self, fetch: Fetch, piece: int) -> None:
        """Take a piece from a holder that is free, or from its home, which fetches it when it is first asked."""
        crowd, blob = fetch.crowd, fetch.blob
        free = sum(holder.count for holder in blob.holders)
        fetch.credit += min(1.0, free / blob.wanting)
        if is_from_holder := free > 0 and fetch.credit >= 1.0:
            fetch.credit -= 1.0
        way = [] if is_from_holder else self._way(blob, piece, crowd.zone)
        here = self._copies_in(crowd, blob, piece)
        receivers = crowd.count - len(here)
        size, came = blob.sizes[piece], partial(self._came, fetch)
        if not receivers:  # they are homes of it, and the last one is the last to have it
            if here[-1].is_done:
                self.water.at(self.water.now, came)
            else:
                self.water.when_done(here[-1], came)
            return
        if is_from_holder:
            source, feeder = self._holder(blob, receivers * size), None
        else:
            source, feeder = self._as_sender(way[-1], receivers * size), _unless_done(blob.copies[piece, way[-1]])
        uses = [*self._uses(source, crowd.zone, receivers), (crowd.port.down, 1.0)]
        self.water.start(Flow(size, uses, feeder), came)
        self._ledger.carry(receivers, size, source=source.zone, target=crowd.zone)

    def _copies_in(self, crowd: Crowd, blob: Blob, piece: int) -> list[Flow]:
        """What nodes of a crowd have fetched of a piece, or are fetching, because they are homes of it."""
        homes = dict.fromkeys(self._homes(blob, piece, crowd.zone))
        return [blob.copies[piece, home] for home in homes if (piece, home) in blob.copies and home in crowd.nodes]

    # Where it comes from

    def _homes(self, blob: Blob, piece: int, zone: int) -> list[int]:
        """The homes of a piece, from upstream down to a zone."""
        cluster, *zones = blob.rings
        rings = [cluster, zones[zone]] if zones else [cluster]
        return [self._numbers[next(ring.homes(piece))] for ring in rings]

    def _way(self, blob: Blob, piece: int, zone: int) -> list[int]:
        """The homes that pass a piece on to a zone, each of which has it, or fetches it from now on."""
        way = self._homes(blob, piece, zone)
        for above, home in zip([None, *way], way, strict=False):
            if (piece, home) not in blob.copies:
                self._fetch(blob, piece, home, above)
        return way

    def _fetch(self, blob: Blob, piece: int, home: int, above: int | None) -> None:
        """Let a home fetch a piece from the home above it, or from a holder, or from upstream."""
        size, feeder = blob.sizes[piece], None
        if above is not None:
            source, feeder = self._as_sender(above, size), _unless_done(blob.copies[piece, above])
        elif blob.holders:
            source = self._holder(blob, size)
        else:
            source = Sender(self._lines.upstream, None)
        uses = [*self._uses(source, self._zone(home), 1), (self._port_of(home).down, 1.0)]
        blob.copies[piece, home] = self.water.start(Flow(size, uses, feeder), _nothing)
        self._ledger.carry(1, size, source=source.zone, target=self._zone(home))

    def _holder(self, blob: Blob, sent_bytes: float) -> Sender:
        """The holders that have sent least, once so much more is on their account; each of them sends the same."""
        holder = min(blob.holders, key=lambda crowd: crowd.served)
        holder.served += sent_bytes / holder.count
        return Sender(holder.port.up, holder.zone, holder.count)

    def _as_sender(self, home: int, sent_bytes: float) -> Sender:
        """A home, once so much more is on its account."""
        self._sent[home] = self._sent.get(home, 0.0) + sent_bytes
        return Sender(self._port_of(home).up, self._zone(home))

    def _uses(self, source: Sender, zone: int, count: int) -> list[tuple[int, float]]:
        """The links on the way of so many transfers into a zone, but for the last one."""
        return [(source.link, count / source.count), *self._lines.between(source.zone, zone, count)]


def _unless_done(copy: Flow) -> Flow | None:
    return None if copy.is_done else copy


def _nothing() -> None:
    """What is done when a home has a piece: those that it passes it on to have callbacks of their own."""
