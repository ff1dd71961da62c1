"""The plots, as curves: for matplotlib, and for whoever draws them from the JSON."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .dht import requests, rounds, table_size
from .figure import Figures
from .flat import GOSSIP
from .found import Found
from .pulls import BY_ZONE, DHT, HOMES, KINDS
from .world import IMAGE, WAVES

_KADEMLIA: Final = "DHT"
_MIB: Final = 2.0**20
_SHORT: Final = {HOMES: "homes", BY_ZONE: "homes in each zone", DHT: "whole blobs, by a DHT"}
_STANDING: Final = ("reprovide", "regions", "refresh", "keepalive")
"""What a DHT sends while nobody pulls."""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve.

    Args:
        name: in the legend.
        x: ascending.
        y: at each of them.
        dashed: whether it is computed, beside others that were simulated.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Args:
        title: what it shows.
        x_label: and unit.
        y_label: and unit.
        series: its curves.
        x_scale: `log` or `linear`.
        y_scale: the same.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    x_scale: str = "log"
    y_scale: str = "log"


def plots(found: Found, figures: Figures) -> list[Plot]:
    """All of them, against the number of nodes."""
    return [*_pulls(found), *_costs(found, figures), _lookups(found)]


def _pulls(found: Found) -> Iterable[Plot]:
    results = found.pulls
    for wave in WAVES:
        series = [Series(_SHORT[kind], *results.curve("ratio", kind, wave)) for kind in KINDS]
        if wave == WAVES[0]:
            series += [
                Series(f"{_SHORT[kind]}, thin lines", *results.curve("ratio", kind, wave, thin=True), dashed=True)
                for kind in (HOMES, BY_ZONE)
            ]
        yield Plot(f"R, {wave}: time in ideal times ({IMAGE})", "nodes", "ideal times", series)
    upstream = [
        Series(f"{_SHORT[kind]}, {wave}", *results.curve("upstream", kind, wave), dashed=wave != WAVES[0])
        for kind, wave in ((HOMES, WAVES[0]), (DHT, WAVES[0]), (DHT, WAVES[1]))
    ]
    yield Plot("U: bytes of upstream", "nodes", "images", upstream)
    crossing = [
        Series(f"{_SHORT[kind]}, {wave}", *results.curve("cross", kind, wave), dashed=wave != WAVES[0])
        for kind, wave in ((HOMES, WAVES[0]), (BY_ZONE, WAVES[0]), (HOMES, WAVES[1]), (DHT, WAVES[1]))
    ]
    yield Plot("From zone to zone", "nodes", "images", [_above_zero(series) for series in crossing])


def _costs(found: Found, figures: Figures) -> Iterable[Plot]:
    growth, kept = found.flat.growth, f"{found.keys} keys a node"
    standing = _series(figures, _KADEMLIA, f"DHT, {kept}", _STANDING)
    idle = [*_counted(found, figures, "gossip, idle", "idle", growth.idle.at), standing]
    wave = [
        *_counted(found, figures, "gossip, a wave of pulls", "wave", growth.wave.at),
        _series(figures, _KADEMLIA, "DHT, a wave of pulls", ("wave",)),
    ]
    yield Plot("What a node sends to know the others", "nodes", "B/s", [*idle, *wave])
    memory = [
        _curve_of(found, f"gossip: tables and filters, {kept}", lambda size: found.flat.memory(size) / _MIB),
        _series(figures, _KADEMLIA, f"DHT: records, {kept}", ("memory",), 1 / _MIB),
    ]
    yield Plot("What a node keeps of the others", "nodes", "MiB", memory)
    known = [
        _series(figures, GOSSIP, "gossip: all know that it is dead", ("detect",)),
        _series(figures, _KADEMLIA, "DHT: its records are gone, mean", ("stale",)),
    ]
    yield Plot("A holder dies: until nobody is sent to it", "nodes", "s", known)


def _lookups(found: Found) -> Plot:
    walked = [found.walked[size] for size in sorted(found.walked)]
    sizes = [it.nodes for it in walked]
    series = [
        Series("nodes in a table", sizes, [it.table for it in walked]),
        Series("nodes in a table, formula", sizes, [table_size(size) for size in sizes], dashed=True),
        Series("requests of a miss", sizes, [it.requests for it in walked]),
        Series("requests of a miss, formula", sizes, [requests(size) for size in sizes], dashed=True),
        Series("requests of a hit", sizes, [it.hit_requests for it in walked]),
        Series("rounds of a miss", sizes, [it.rounds for it in walked]),
        Series("rounds of a miss, formula", sizes, [rounds(size) for size in sizes], dashed=True),
    ]
    return Plot("A Kademlia; by gossip a lookup needs no request", "nodes", "", series, y_scale="linear")


def _counted(found: Found, figures: Figures, name: str, key: str, at: Callable[[int], float]) -> list[Series]:
    """What was simulated, and the line through it."""
    sizes = sorted(found.calm)
    values = [figures.value(GOSSIP, size, key) or 0.0 for size in sizes]
    return [Series(name, sizes, values), _curve_of(found, f"{name}, by lines", at)]


def _curve_of(found: Found, name: str, at: Callable[[int], float]) -> Series:
    sizes = [size for size in found.pulls.sizes if size >= min(found.calm)]
    return Series(name, sizes, [at(size) for size in sizes], dashed=True)


def _series(figures: Figures, of: str, name: str, keys: Sequence[str], scale: float = 1.0) -> Series:
    """The sum of some figures, where all of them are known."""
    rows = [(size, [figures.value(of, size, key) for key in keys]) for size in figures.sizes(of)]
    full = [(size, scale * sum(v for v in values if v is not None)) for size, values in rows if None not in values]
    return Series(name, [size for size, _ in full], [value for _, value in full])


def _above_zero(series: Series) -> Series:
    """Without the points that no logarithm has."""
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y > 0]
    return Series(series.name, [x for x, _ in points], [y for _, y in points], series.dashed)
