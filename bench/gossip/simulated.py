"""`python -m bench gossip --sim`: how gossip grows with the cluster, by simulation.

Up to 1,500 nodes the product's own nodes run on a simulated network, each with its whole table (module `crowd`). Beyond
that tables do not fit a machine, and a model takes over for detection and dissemination (module `model`); it runs at
smaller sizes too, beside the real nodes. What a node of such a cluster costs is extrapolated, and the arithmetic shown.
"""

import importlib.util
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gossip.core.config import fast, lan
from gossip.sim.network import Weather

from ..report import BenchError, Cell, Goal, Report, Samples, Table
from . import crowd
from .footprint import deep_bytes
from .model import Model

FULL_MAX: Final = 1500
_MODELLED_MIN: Final = 33  # below, keys are told to everybody directly, which the model leaves out
_KEYS, _JOINS, _KILLS = 20, 5, 10
_LOSSY: Final = Weather(loss=0.1)
_FAST_GOALS: Final = {10: 2.8, 100: 4.5}


@dataclass(frozen=True, slots=True)
class Spread:
    """How long it took others to see keys, s: a list for each key."""

    delays: Sequence[Sequence[float]]

    @property
    def everywhere(self) -> Samples:
        """For each key, until all had it."""
        return Samples([max(times) for times in self.delays])

    def quantile(self, share: float) -> float:
        """Within what time that share of all others had a key."""
        return _quantile([at for times in self.delays for at in times], share)


@dataclass(frozen=True, slots=True)
class Modelled:
    """What the model says of one size; times in s."""

    size: int
    keys: Spread
    missed: int
    killed: dict[str, Samples]


@dataclass(frozen=True, slots=True)
class Calm:
    """What was found while nothing worse happened than single nodes killed; times in s, rates per node and second."""

    idle: crowd.Traffic
    cpu_share: float
    node_bytes: int
    keys: Spread
    lossy: Spread
    joined: Samples
    wave: crowd.Traffic
    killed: Samples


@dataclass(frozen=True, slots=True)
class Grown:
    """What was found with the product's own nodes at one size."""

    size: int
    calm: Calm
    verdicts: crowd.Verdicts
    killed_fast: Samples

    @property
    def keys(self) -> Spread:
        """How keys spread."""
        return self.calm.keys

    @property
    def killed(self) -> dict[str, Samples]:
        """How long it took to find killed nodes dead, by preset."""
        return {"lan": self.calm.killed, "fast": self.killed_fast}


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """What a node of a cluster that was not simulated whole is to cost."""

    size: int
    node_bytes: float
    idle_bytes: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Found:
    """All of it."""

    grown: list[Grown]
    modelled: list[Modelled]
    extrapolated: list[Extrapolated]
    arithmetic: str


def measure(console: Console, sizes: Sequence[int], plot: Path | None) -> Report:
    """Run it all, in two processes: some ten minutes for 1,000 nodes and as long for 10,000, on an idle machine.

    Raises:
        BenchError: a plot is wanted, and matplotlib is not there; or a simulated cluster does not do what it should.
    """
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise BenchError("a plot needs matplotlib: pip install 'skvaller[bench]'")
    jobs = [(part, size) for size in sorted(set(sizes), reverse=True) for part in _PARTS if _is_for(part, size)]
    console.print(f"[dim]{len(jobs)} simulations, two at a time[/dim]")
    results, began = dict[tuple[str, int], Any](), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        for job, result in pool.imap_unordered(_simulate, jobs):
            results[job] = result
            part, size = job
            console.print(f"[dim]{time.monotonic() - began:4.0f} s  {size} nodes: {part}[/dim]", highlight=False)
    whole = sorted(size for part, size in results if part == "calm")
    grown = [Grown(size, results["calm", size], results["stalls", size], results["fast", size]) for size in whole]
    modelled = [results[job] for job in sorted(results) if job[0] == "model"]
    found = Found(grown, modelled, *_extrapolate(grown, [size for size in sizes if size > FULL_MAX]))
    if plot is not None:
        from .plots import draw

        draw(found, plot)
    return Report("gossip-sim", list(_tables(found)), list(_goals(found)))


def _is_for(part: str, size: int) -> bool:
    return size >= _MODELLED_MIN if part == "model" else size <= FULL_MAX


def _simulate(job: tuple[str, int]) -> tuple[tuple[str, int], Any]:
    part, size = job
    return job, _PARTS[part](size)


def _calm(size: int) -> Calm:
    cluster = crowd.acquainted(size, lan(label="sim"), seed=1)
    idle_s = 30.0 if size <= 200 else 20.0
    began = time.process_time()
    idle = crowd.traffic(cluster, idle_s)
    cpu_share = (time.process_time() - began) / (idle_s * size)
    return Calm(
        idle,
        cpu_share,
        deep_bytes(cluster.nodes[0]),
        keys=Spread(crowd.keys(cluster, _KEYS, _at_once(size, 100))),
        lossy=Spread(crowd.keys(cluster, _KEYS // 2, _at_once(size, 100), _LOSSY)),
        joined=Samples(crowd.joins(cluster, _JOINS, _at_once(size, 100))),
        wave=crowd.wave(cluster, warm_s=0.5, duration_s=max(0.5, min(20.0, 500 / size))),
        killed=Samples(crowd.kills(cluster, _KILLS, _at_once(size, 50))),
    )


def _stalls(size: int) -> crowd.Verdicts:
    return crowd.stalls(crowd.acquainted(size, lan(label="sim"), seed=3), max(1, 600 // size))


def _killed_fast(size: int) -> Samples:
    return Samples(crowd.kills(crowd.acquainted(size, fast(label="sim"), seed=2), _KILLS, _at_once(size, 50)))


def _at_once(size: int, per: int) -> int:
    """How many independent things may happen together in a cluster without being in each other's way."""
    return max(1, size // per)


def _model(size: int) -> Modelled:
    model = Model(lan(), size, seed=1)
    keys = Spread([model.spread(number) for number in range(max(5, min(_KEYS, 50_000 // size)))])
    missed = sum(size - 1 - len(times) for times in keys.delays)
    killed = {}
    for name, preset in (("lan", lan), ("fast", fast)):
        times = [Model(preset(), size, seed).detect() for seed in range(max(5, min(30, 20_000 // size)))]
        killed[name] = Samples([at for at in times if at is not None])
    return Modelled(size, keys, missed, killed)


_PARTS: Final[dict[str, Callable[[int], Any]]] = {
    "calm": _calm,
    "stalls": _stalls,
    "fast": _killed_fast,
    "model": _model,
}


def _extrapolate(grown: Sequence[Grown], sizes: Sequence[int]) -> tuple[list[Extrapolated], str]:
    """Straight lines through the smallest and the largest cluster that were simulated whole.

    Memory grows with the number of members. Bytes and CPU have a constant part, probing, and one that grows with the
    records that full exchanges carry in a second: members, twice, over the time between two that a node begins.
    """
    if len(grown) < 2:
        return [], "to extrapolate, two sizes are needed that are simulated whole"
    first, last = grown[0], grown[-1]
    memory = _line((first.size, first.calm.node_bytes), (last.size, last.calm.node_bytes))
    traffic = _line((_records(first.size), first.calm.idle.bytes), (_records(last.size), last.calm.idle.bytes))
    cpu = _line((_records(first.size), first.calm.cpu_share), (_records(last.size), last.calm.cpu_share))
    arithmetic = (
        f"memory = {memory[0] / 1024:.0f} KiB + {memory[1] / 1024:.2f} KiB x members\n"
        "r = records per second in full exchanges = 2 x members / (30 s x max(1, log2(members) - 4))\n"
        f"B/s = {traffic[0]:.0f} + {traffic[1]:.1f} x r; CPU % = {100 * cpu[0]:.3f} + {100 * cpu[1]:.4f} x r, and what "
        "sockets take for two packets a second"
    )
    return [
        Extrapolated(size, _at(memory, size), _at(traffic, _records(size)), _at(cpu, _records(size))) for size in sizes
    ], arithmetic


def _records(size: int) -> float:
    return 2 * size / crowd.sync_pause_s(lan(), size)


def _line(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """(value at 0, slope) of the straight line through two points."""
    slope = (other[1] - one[1]) / (other[0] - one[0])
    return one[1] - slope * one[0], slope


def _at(line: tuple[float, float], x: float) -> float:
    return line[0] + line[1] * x


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# What is shown


def _tables(found: Found) -> Iterator[Table]:
    by_size: list[Grown | Modelled] = [*found.grown, *found.modelled]
    by_size.sort(key=lambda it: it.size)
    yield Table(
        f"A killed node, until all others believe it dead, s; up to {_KILLS} kills: median and range",
        {"size": "nodes", "by": "by", "lan": "lan", "fast": "fast"},
        {"size": ".0f", "lan": ".2f", "fast": ".2f"},
        [{"size": float(it.size), "by": _by(it), **it.killed} for it in by_size],
    )
    yield Table(
        f"A key or a join, until others see it, s; of up to {_KEYS} keys p50 and p99 over all others, or until all\n"
        "see it, median and range; the model has no repair, and counts whom no rumour reached",
        {
            "size": "nodes",
            "by": "by",
            "p50": "p50",
            "p99": "p99",
            "all": "all",
            "lossy": "all, 10 % lost",
            "join": "join, all",
            "missed": "missed",
        },
        {"size": ".0f", "p50": ".3f", "p99": ".3f", "all": ".3f", "lossy": ".2f", "join": ".3f", "missed": ".0f"},
        [_spread_row(it) for it in by_size],
    )
    yield Table(
        "What a node sends, sealed; B/s with the headers of IP for datagrams, and without for streams.\n"
        "The wave: every node pulls an image of 12 blobs in a minute, and tells of each when it is complete",
        {
            "size": "nodes",
            "bytes": "idle B/s",
            "streams": "of it, streams",
            "packets": "packets/s",
            "wave": "wave B/s",
            "wave packets": "packets/s",
        },
        {
            "size": ".0f",
            "bytes": ".0f",
            "streams": ".0f",
            "packets": ".2f",
            "wave": ".0f",
            "wave packets": ".0f",
        },
        [
            {
                "size": float(it.size),
                "bytes": it.calm.idle.bytes,
                "streams": it.calm.idle.stream_bytes,
                "packets": it.calm.idle.packets,
                "wave": it.calm.wave.bytes,
                "wave packets": it.calm.wave.packets,
            }
            for it in found.grown
        ],
    )
    yield Table(
        "Declared dead by anybody, with 10 % loss, while a quarter of all nodes stands still for 5 s in turn (lan)",
        {
            "size": "nodes",
            "hours": "healthy node-hours",
            "healthy": "healthy dead",
            "stalls": "stalls",
            "stalled": "stalled dead",
        },
        {"size": ".0f", "hours": ".2f", "healthy": ".0f", "stalls": ".0f", "stalled": ".0f"},
        [
            {
                "size": float(it.size),
                "hours": it.verdicts.hours,
                "healthy": float(it.verdicts.healthy),
                "stalls": float(it.verdicts.stalls),
                "stalled": float(it.verdicts.stalled),
            }
            for it in found.grown
        ],
    )
    costs: list[dict[str, Cell]] = [
        _cost(it.size, "counted", it.calm.node_bytes, it.calm.idle.bytes, it.calm.cpu_share) for it in found.grown
    ]
    costs += [_cost(it.size, "extrapolated", it.node_bytes, it.idle_bytes, it.cpu_share) for it in found.extrapolated]
    yield Table(
        f"An idle node with empty filters:\n{found.arithmetic}",
        {"size": "nodes", "by": "by", "memory": "MiB of tables", "bytes": "B/s", "cpu": "CPU % of a core"},
        {"size": ".0f", "memory": ".2f", "bytes": ".0f", "cpu": ".3f"},
        costs,
    )


def _by(it: Grown | Modelled) -> str:
    return "model" if isinstance(it, Modelled) else "nodes"


def _spread_row(it: Grown | Modelled) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "size": float(it.size),
        "by": _by(it),
        "p50": it.keys.quantile(0.5),
        "p99": it.keys.quantile(0.99),
        "all": it.keys.everywhere,
    }
    if isinstance(it, Modelled):
        return row | {"missed": float(it.missed)}
    return row | {"lossy": it.calm.lossy.everywhere, "join": it.calm.joined}


def _cost(size: int, by: str, node_bytes: float, idle_bytes: float, cpu_share: float) -> dict[str, Cell]:
    return {
        "size": float(size),
        "by": by,
        "memory": node_bytes / 2**20,
        "bytes": idle_bytes,
        "cpu": 100 * cpu_share,
    }


def _goals(found: Found) -> Iterator[Goal]:
    for it in found.grown:
        at = f"N = {it.size}"
        yield Goal(f"idle bytes per second, sealed, {at}", 400, it.calm.idle.bytes, most=True)
        yield Goal(f"healthy nodes declared dead, {at}", 0, it.verdicts.healthy, most=True)
        if it.size == 1000:
            slowest = _quantile(it.keys.everywhere.values, 0.99)
            yield Goal(f"key visible everywhere, p99 of {len(it.keys.delays)} keys, {at}, s", 0.3, slowest, most=True)
        if it.size in _FAST_GOALS:
            median = statistics.median(it.killed["fast"].values)
            yield Goal(f"killed to dead everywhere, fast, {at}, s", _FAST_GOALS[it.size], median, most=True)
