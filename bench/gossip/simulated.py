"""`python -m bench gossip --sim`: how the times and costs of gossip grow with the cluster, by simulation.

Up to 1,500 real nodes run on a simulated network, each with its whole table (module `crowd`). Beyond that the tables do
not fit a machine: a model gives detection and dissemination (module `model`), and the costs of a node are extrapolated.
The model runs at smaller sizes, too, beside the real nodes.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gossip.core.config import fast, lan
from gossip.sim.network import Weather

from ..memory import deep_bytes
from ..report import BenchError, Report, Samples
from . import crowd, tables
from .growth import Growth
from .model import Model
from .results import Calm, Extrapolated, Found, Grown, Modelled, Spread
from .tables import KEYS, KILLS

FULL_MAX: Final = 1500
MODELLED_MIN: Final = 33  # below, every key is sent to all members directly, which the model leaves out
_JOINS: Final = 5
_WARM_S: Final = 0.5  # simulated seconds of a wave of pulls before its traffic is counted
_LOSSY: Final = Weather(loss=0.1)


def measure(console: Console, sizes: Sequence[int]) -> Report:
    """Run it all, in two processes: some ten minutes for 1,000 nodes and as long for 10,000, on an idle machine.

    Raises:
        BenchError: no size is simulated whole; or a simulated cluster does not do what it should.
    """
    if min(sizes) > FULL_MAX:
        raise BenchError(
            f"clusters of more than {FULL_MAX:,} nodes are not simulated whole, and their costs follow from smaller "
            f"ones: give two sizes of at most {FULL_MAX:,}, too, such as --nodes 100,1000,{min(sizes)}"
        )
    results = simulate(
        console, [(part, size) for size in sorted(set(sizes), reverse=True) for part in _PARTS if _is_for(part, size)]
    )
    whole = sorted(size for part, size in results if part == "calm")
    grown = [Grown(size, results["calm", size], results["stalls", size], results["fast", size]) for size in whole]
    modelled = [results[job] for job in sorted(results) if job[0] == "model"]
    found = Found(grown, modelled, *_extrapolate(grown, [size for size in sizes if size > FULL_MAX]))
    return Report("gossip-sim", list(tables.tables(found)), list(tables.goals(found)), draw=partial(_draw, found))


def _draw(found: Found, target: Path) -> None:
    """Matplotlib, which not every machine has, is loaded when something is drawn."""
    from .plots import draw

    draw(found, target)


def simulate(console: Console, jobs: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Any]:
    """Run parts of the simulation, each for a number of nodes, two at a time; the results by part and number.

    Args:
        console: is told how far it is.
        jobs: `calm` (gives `Calm`), `stalls` (`Verdicts`), `fast` (`Samples` of kills) or `model` (`Modelled`), and the
            number of nodes.
    """
    console.print(f"[dim]{len(jobs)} simulations, two at a time[/dim]")
    results, started_at = dict[tuple[str, int], Any](), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        for job, result in pool.imap_unordered(_simulate, jobs):
            results[job] = result
            part, size = job
            console.print(f"[dim]{time.monotonic() - started_at:4.0f} s  {size} nodes: {part}[/dim]", highlight=False)
    return results


def _is_for(part: str, size: int) -> bool:
    return size >= MODELLED_MIN if part == "model" else size <= FULL_MAX


def _simulate(job: tuple[str, int]) -> tuple[tuple[str, int], Any]:
    part, size = job
    return job, _PARTS[part](size)


def _calm(size: int) -> Calm:
    cluster = crowd.acquainted(size, lan(label="sim"), seed=1)
    idle_s = 30.0 if size <= 200 else 20.0
    started_at = time.process_time()
    idle = crowd.traffic(cluster, idle_s)
    cpu_share = (time.process_time() - started_at) / (idle_s * size)
    node_bytes = deep_bytes(cluster.nodes[0])
    keys = Spread(crowd.keys(cluster, KEYS, _at_once(size, 100)))
    lossy = Spread(crowd.keys(cluster, KEYS // 2, _at_once(size, 100), _LOSSY))
    joined = Samples(crowd.joins(cluster, _JOINS, _at_once(size, 100)))
    wave_s, started_at = max(0.5, min(20.0, 500 / size)), time.process_time()
    wave = crowd.wave(cluster, warm_s=_WARM_S, duration_s=wave_s)
    return Calm(
        idle,
        cpu_share,
        node_bytes,
        keys=keys,
        lossy=lossy,
        joined=joined,
        wave=wave,
        wave_cpu_share=(time.process_time() - started_at) / ((_WARM_S + wave_s) * size),
        killed=Samples(crowd.kills(cluster, KILLS, _at_once(size, 50))),
    )


def _stalls(size: int) -> crowd.Verdicts:
    return crowd.stalls(crowd.acquainted(size, lan(label="sim"), seed=3), max(1, 600 // size))


def _killed_fast(size: int) -> Samples:
    return Samples(crowd.kills(crowd.acquainted(size, fast(label="sim"), seed=2), KILLS, _at_once(size, 50)))


def _at_once(size: int, per: int) -> int:
    """How many changes may happen at once in a cluster without influence on each other."""
    return max(1, size // per)


def _model(size: int) -> Modelled:
    model = Model(lan(), size, seed=1)
    keys = Spread([model.spread(number) for number in range(max(5, min(KEYS, 50_000 // size)))])
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
    """The costs of a node in clusters that were not simulated whole."""
    if len(grown) < 2:
        return [], "to extrapolate, two sizes are needed that are simulated whole"
    growth = Growth({it.size: it.calm for it in grown})
    return [
        Extrapolated(size, growth.memory.at(size), growth.idle.at(size), growth.cpu.at(size)) for size in sizes
    ], growth.arithmetic
