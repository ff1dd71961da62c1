"""Waves of pulls in the fluid model: which ones, and what they give."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..report import Samples
from .homes import Homes
from .whole import Whole
from .world import IMAGE, MBIT, WAVES, Ledger, World, layers_of, world_of

HOMES: Final = "homes"
BY_ZONE: Final = "homes by zone"
DHT: Final = "DHT, no homes"

KINDS: Final[Mapping[str, Callable[[World, str], Ledger]]] = {
    HOMES: lambda world, wave: Homes(world).play(wave),
    BY_ZONE: lambda world, wave: Homes(world, by_zone=True).play(wave),
    DHT: lambda world, wave: Whole(world).play(wave),
}
"""How nodes pull: by homes, as the product does; by homes in each zone, which ask those of the cluster, as it might;
and whole blobs from who has announced them, as Spegel does."""

IMAGES: Final = ("10MB-4", IMAGE, "1GB-4")
"""Images of four layers, by the names that Spegel's benchmark gives them; of the one in the middle, everything is
computed."""

GRID: Final = (2, 3, 5, 8, 16, 32, 64, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Numbers of nodes between which curves are drawn."""

THIN_MIN: Final = 32
"""Nodes from which lines between zones may be thin: fewer share a rack."""

SEEDS: Final = 3
"""Digests of which R of homes is computed, all at once: they say who the homes are, and of few pieces one node may have
several by chance."""


@dataclass(frozen=True, slots=True)
class Case:
    """One wave in one cluster; as in `world_of`."""

    nodes: int
    kind: str
    wave: str
    image: str = IMAGE
    seed: int = 1
    thin: bool = False

    def world(self) -> World:
        """The cluster, on links of 1 Gbit/s."""
        return replace(world_of(self.nodes, self.seed, thin=self.thin), layers=layers_of(self.image))


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a wave gave.

    Args:
        ratio: R, the time of all batches in ideal ones.
        upstream: U, bytes that upstream sent, in images.
        members: bytes that nodes sent to each other, in images.
        cross: of these, what went from one zone to another, in images.
        sent_most: by one node, in images.
        requests: made by a node, mean.
        zones: in which the nodes were.
        upstream_mbit_per_s: mean rate on upstream's link, Mbit/s.
    """

    ratio: float
    upstream: float
    members: float
    cross: float
    sent_most: float
    requests: float
    zones: int
    upstream_mbit_per_s: float


def pull(case: Case) -> Pulled:
    """Compute one."""
    world = case.world()
    ledger = KINDS[case.kind](world, case.wave)
    return pulled(world, ledger)


def pulled(world: World, ledger: Ledger) -> Pulled:
    """The figures of a ledger."""
    return Pulled(
        ratio=ledger.ratio(world.ideal_s),
        upstream=ledger.upstream_share,
        members=ledger.members_bytes / ledger.image,
        cross=ledger.cross_share,
        sent_most=ledger.sent_most_bytes / ledger.image,
        requests=ledger.requests / ledger.nodes,
        zones=world.zones,
        upstream_mbit_per_s=ledger.upstream_bytes / sum(ledger.seconds) / MBIT,
    )


def cases(sizes: Iterable[int], *, quick: bool = False) -> list[Case]:
    """All that are computed for some numbers of nodes, the slowest first.

    Args:
        sizes: numbers of nodes.
        quick: leave other images out.
    """
    found = list[Case]()
    for size in sorted(set(sizes), reverse=True):
        found += [Case(size, kind, wave) for kind in KINDS for wave in WAVES]
        thin = (HOMES, BY_ZONE) if size >= THIN_MIN else ()
        found += [Case(size, kind, WAVES[0], thin=True) for kind in thin]
        found += [Case(size, HOMES, WAVES[0], seed=seed) for seed in range(2, SEEDS + 1)]
        others = () if quick else (image for image in IMAGES if image != IMAGE)
        found += [Case(size, HOMES, WAVES[0], image) for image in others]
    return found


class Results:
    """The results of many cases."""

    def __init__(self, found: Mapping[Case, Pulled]) -> None:
        self._found = found

    @property
    def sizes(self) -> list[int]:
        """Numbers of nodes, ascending."""
        return sorted({case.nodes for case in self._found})

    def of(self, nodes: int, kind: str, wave: str, image: str = IMAGE, *, thin: bool = False) -> list[Pulled]:
        """Those of one wave, one for each seed."""
        wanted = Case(nodes, kind, wave, image, thin=thin)
        return [found for case, found in self._found.items() if replace(case, seed=wanted.seed) == wanted]

    def samples(
        self, what: str, nodes: int, kind: str, wave: str, image: str = IMAGE, *, thin: bool = False
    ) -> Samples:
        """One figure of these, by the name of the field of `Pulled`; empty if it was not computed."""
        return Samples([getattr(it, what) for it in self.of(nodes, kind, wave, image, thin=thin)])

    def curve(self, what: str, kind: str, wave: str, *, thin: bool = False) -> tuple[Sequence[int], Sequence[float]]:
        """One figure against the number of nodes: medians."""
        known = [(size, self.samples(what, size, kind, wave, thin=thin)) for size in self.sizes]
        points = [(size, samples.median) for size, samples in known if samples.values]
        return [size for size, _ in points], [median for _, median in points]
