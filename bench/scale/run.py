"""`python -m bench scale`: from 100 to 10,000 nodes, by simulation and on paper."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..gossip import crowd
from ..gossip.simulated import FULL_MAX, MODELLED_MIN, simulate
from ..report import Report
from . import tables
from .flat import Flat
from .found import Found
from .kademlia import Walked, walk
from .lab import check
from .pulls import GRID, Case, Results, cases, pull

KEYS: Final = 300
"""Keys that each node holds: some 25 images of 12 blobs; real Spegel was measured with as many."""

_WHOLE: Final = (100, 300, 1000)
"""Clusters of gossip that are simulated whole; the one in the middle shows how straight the lines are."""

_WHOLE_QUICK: Final = (40, 60, 100)
_QUICK_MAX: Final = 1000
_LOOKUPS: Final = 200
"""Lookups in each Kademlia."""


def measure(console: Console, sizes: Sequence[int], lab: Sequence[Path], *, quick: bool = False) -> Report:
    """Run it all: a quarter of an hour on two idle cores, most of it for gossip with 1,000 nodes; `quick`: two minutes.

    Args:
        console: is told how far it is.
        sizes: numbers of nodes.
        lab: JSON of the lab, to which the model is compared.
        quick: smaller clusters of gossip are simulated, and nothing is computed beyond 1,000 nodes.

    Raises:
        BenchError: a file of the lab is none.
    """
    checked = check(lab)
    sizes = sorted({size for size in sizes if not quick or size <= _QUICK_MAX} or {_QUICK_MAX})
    grid = sorted({*sizes, *(size for size in GRID[:: 3 if quick else 1] if size <= max(sizes))})
    pulls, walked = _computed(console, grid, quick=quick)
    simulated = simulate(console, _gossip_jobs(sizes, quick=quick))
    calm = {size: result for (part, size), result in simulated.items() if part == "calm"}
    modelled = {size: result for (part, size), result in simulated.items() if part == "model"}
    per_s = crowd.BLOBS / crowd.WAVE_S
    found = Found(sizes, KEYS, per_s, calm, modelled, walked, pulls, checked, Flat(calm, KEYS))
    return replace(tables.report(found), draw=partial(_draw, found))


def _draw(found: Found, target: Path) -> None:
    """Matplotlib, which not every machine has, is loaded when something is drawn."""
    from .plots import draw

    draw(tables.plots_of(found), target)


def _gossip_jobs(sizes: Sequence[int], *, quick: bool) -> list[tuple[str, int]]:
    """What of gossip is simulated, the slowest first."""
    if quick:
        whole, models = {*_WHOLE_QUICK}, {max(_WHOLE_QUICK)}
    else:
        whole = {*_WHOLE, *(size for size in sizes if size <= FULL_MAX)}
        models = {size for size in {*sizes, *whole} if size >= MODELLED_MIN}
    jobs = [("calm", size) for size in whole] + [("model", size) for size in models]
    return sorted(jobs, key=lambda job: (-job[1], job[0]))


def _computed(console: Console, grid: Sequence[int], *, quick: bool) -> tuple[Results, dict[int, Walked]]:
    """The waves of pulls and the Kademlias, on all cores."""
    waves, started_at = cases(grid, quick=quick), time.monotonic()
    lookups = sorted(grid, reverse=True)
    console.print(f"[dim]{len(waves)} waves of pulls, {len(lookups)} Kademlias[/dim]")
    found, walked = dict[Case, Any](), dict[int, Walked]()
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 4)) as pool:
        walking = pool.imap_unordered(_walk, lookups)
        for case, result in pool.imap_unordered(_pull, waves):
            found[case] = result
        walked |= {it.nodes: it for it in walking}
    console.print(f"[dim]{time.monotonic() - started_at:4.0f} s[/dim]", highlight=False)
    return Results(found), walked


def _pull(case: Case) -> tuple[Case, Any]:
    return case, pull(case)


def _walk(size: int) -> Walked:
    return walk(size, _LOOKUPS)
