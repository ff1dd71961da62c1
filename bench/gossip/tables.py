"""The figures of all sizes as tables, and the goals."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..report import Cell, Goal, Table
from .results import Found, Grown, Modelled, quantile

KEYS: Final = 20
"""How many keys are followed in a cluster at most."""

KILLS: Final = 10
"""How many nodes of a cluster are killed at most."""

_FAST_GOALS: Final = {10: 2.8, 100: 4.5}
"""Median time until all believe a killed node dead, with the preset `fast`, by the number of nodes, seconds."""


def tables(found: Found) -> list[Table]:
    """All of it."""
    return [_killed(found), _spread(found), _sent(found), _verdicts(found), _costs(found)]


def _killed(found: Found) -> Table:
    return _table(
        f"A killed node, until all others believe it dead, s; up to {KILLS} kills: median and range",
        {"by": ("by", ""), "lan": ("lan", ".2f"), "fast": ("fast", ".2f")},
        [{"size": float(it.size), "by": _by(it), **it.killed} for it in _by_size(found)],
    )


def _spread(found: Found) -> Table:
    return _table(
        f"A key or a join, until others see it, s; of up to {KEYS} keys p50 and p99 over all others, or until all\n"
        "see it, median and range; the model has no repair, and counts whom no rumour reached",
        {
            "by": ("by", ""),
            "p50": ("p50", ".3f"),
            "p99": ("p99", ".3f"),
            "all": ("all", ".3f"),
            "lossy": ("all, 10 % lost", ".2f"),
            "join": ("join, all", ".3f"),
            "missed": ("missed", ".0f"),
        },
        [_spread_row(it) for it in _by_size(found)],
    )


def _sent(found: Found) -> Table:
    return _table(
        "What a node sends, sealed; B/s with the headers of IP for datagrams, and without for streams.\n"
        "The wave: every node pulls an image of 12 blobs in a minute, and tells of each when it is complete",
        {
            "bytes": ("idle B/s", ".0f"),
            "streams": ("of it, streams", ".0f"),
            "packets": ("packets/s", ".2f"),
            "wave": ("wave B/s", ".0f"),
            "wave packets": ("packets/s", ".0f"),
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


def _verdicts(found: Found) -> Table:
    return _table(
        "Declared dead by anybody, with 10 % loss, while a quarter of all nodes stands still for 5 s in turn (lan)",
        {
            "hours": ("healthy node-hours", ".2f"),
            "healthy": ("healthy dead", ".0f"),
            "stalls": ("stalls", ".0f"),
            "stalled": ("stalled dead", ".0f"),
        },
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


def _costs(found: Found) -> Table:
    costs = [_cost(it.size, "counted", it.calm.node_bytes, it.calm.idle.bytes, it.calm.cpu_share) for it in found.grown]
    costs += [_cost(it.size, "extrapolated", it.node_bytes, it.idle_bytes, it.cpu_share) for it in found.extrapolated]
    return _table(
        f"An idle node with empty filters:\n{found.arithmetic}",
        {
            "by": ("by", ""),
            "memory": ("MiB of tables", ".2f"),
            "bytes": ("B/s", ".0f"),
            "cpu": ("CPU % of a core", ".3f"),
        },
        costs,
    )


def _table(title: str, columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping[str, Cell]]) -> Table:
    """A table with a row for each number of nodes; a column without a format holds text."""
    formats = {key: spec for key, (_, spec) in columns.items() if spec}
    headings = {"size": "nodes", **{key: heading for key, (heading, _) in columns.items()}}
    return Table(title, headings, {"size": ".0f", **formats}, rows)


def _by_size(found: Found) -> list[Grown | Modelled]:
    both: list[Grown | Modelled] = [*found.grown, *found.modelled]
    return sorted(both, key=lambda it: it.size)


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


def goals(found: Found) -> Iterator[Goal]:
    """The goals, for each number of nodes."""
    for it in found.grown:
        at = f"N = {it.size}"
        yield Goal(f"idle bytes per second, sealed, {at}", 400, it.calm.idle.bytes, most=True)
        yield Goal(f"healthy nodes declared dead, {at}", 0, it.verdicts.healthy, most=True)
        if it.size == 1000:
            slowest = quantile(it.keys.everywhere.values, 0.99)
            yield Goal(f"key visible everywhere, p99 of {len(it.keys.delays)} keys, {at}, s", 0.3, slowest, most=True)
        if it.size in _FAST_GOALS:
            median = statistics.median(it.killed["fast"].values)
            yield Goal(f"killed to dead everywhere, fast, {at}, s", _FAST_GOALS[it.size], median, most=True)
