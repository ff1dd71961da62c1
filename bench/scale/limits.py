"""Where flat membership stops being sensible, and what zones would change: budgets of a node, and where each is spent.

A budget says what a node may spend on knowing all others; the number of nodes at which it is spent follows from the
lines of `flat`, or from the fluid model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gossip.core.config import lan
from mirror.settings import PlanSettings

from .flat import Flat
from .pulls import BY_ZONE, HOMES, THIN_MIN, Results
from .world import WAVES

IDLE_BYTES_PER_S: Final = 12_500.0
"""Sent while nothing happens, bytes per second: 1 % of a line of 10 Mbit/s, the thinnest that is worth a mirror."""

WAVE_BYTES_PER_S: Final = 1_250_000.0
"""Sent while all pull, bytes per second: 1 % of a link of 1 Gbit/s, which is busy with layers then."""

WAVE_PACKETS_PER_S: Final = 1_000.0
"""Sent while all pull, packets per second, and as many received: a node in Python takes a tenth of a millisecond for
each, so these are a fifth of a core."""

WAVE_CPU: Final = 0.25
"""Used by gossip while all pull, of one core: what a container host of four cores does not miss for a minute."""

MEMORY_BYTES: Final = 64 * 2.0**20
"""Tables and filters, bytes: half of what Spegel's chart gives Spegel as a whole."""

FILTERS_BYTES: Final = float(lan().directory_max_bytes)
"""Memory of all filters that a node keeps, bytes: beyond it lookups do not find some members, by the product's own
setting."""

RATIO: Final = 2.0
"""R of a wave of all nodes at once: half of what the links could do."""

DELEGATES: Final = 3
"""Members of every other zone that a node would know: one may fail while another restarts."""

ZONE_NODES: Final = 100
"""Nodes of a zone in the example that is computed: what was simulated whole, and measured."""

NODES_MAX: Final = 1_000_000
"""Where a search ends: a budget that is not spent there is never spent."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget.

    Args:
        what: it is for.
        limit: how much.
        unit: of it.
        cost: of one node in a flat cluster of a size.
    """

    what: str
    limit: float
    unit: str
    cost: Callable[[int], float]

    def spent_at(self) -> int | None:
        """The least number of nodes at which it is spent; None if that is beyond a million."""
        low, high = 2, NODES_MAX
        if self.cost(high) <= self.limit:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.cost(middle) <= self.limit else (low, middle)
        return low


def budgets(flat: Flat) -> list[Budget]:
    """All that a node has for knowing the others."""
    growth = flat.growth
    return [
        Budget("idle bytes", IDLE_BYTES_PER_S, "B/s", growth.idle.at),
        Budget("bytes of gossip in a wave of pulls", WAVE_BYTES_PER_S, "B/s", growth.wave.at),
        Budget("packets of gossip in a wave of pulls", WAVE_PACKETS_PER_S, "packets/s", growth.wave_packets.at),
        Budget("CPU of gossip in a wave of pulls", WAVE_CPU, "of a core", growth.wave_cpu.at),
        Budget("memory of tables and filters", MEMORY_BYTES, "bytes", flat.memory),
        Budget("memory of filters, the product's own bound", FILTERS_BYTES, "bytes", flat.filters.at),
        Budget("members, the product's own bound", float(lan().members_max), "members", float),
    ]


def members_known(size: int, zone: int) -> float:
    """Members that a node knows if zones are of a size: its own zone, and delegates of each other."""
    zones = max(1.0, size / zone)
    return min(size, zone + DELEGATES * (zones - 1))


@dataclass(frozen=True, slots=True)
class Zoned:
    """What zones would change at one size: a cost in a flat cluster, and in one of zones."""

    nodes: int
    what: str
    unit: str
    flat: float
    zoned: float


_BOTH: Final = (HOMES, BY_ZONE)
_PULLED: Final = (
    ("R, all at once", "ratio", "ideal times", False),
    ("R, all at once, thin lines between zones", "ratio", "ideal times", True),
    ("from zone to zone, all at once", "cross", "images", False),
)


def with_zones(flat: Flat, sizes: Sequence[int], results: Results) -> list[Zoned]:
    """The costs of a node that knows its own zone and delegates of the others, beside those of one that knows all."""
    found = []
    for size in sizes:
        known = round(members_known(size, ZONE_NODES))
        found.append(Zoned(size, "members that a node knows", "members", size, known))
        found += [Zoned(size, it.what, it.unit, it.cost(size), it.cost(known)) for it in budgets(flat)[:5]]
        for what, key, unit, thin in _PULLED:
            one, other = (results.samples(key, size, kind, WAVES[0], thin=thin) for kind in _BOTH)
            if one.values and other.values:
                found.append(Zoned(size, what, unit, one.median, other.median))
    return found


def first_above(results: Results, limit: float) -> int | None:
    """The least number of nodes on the grid from which R of all at once stays above a limit."""
    above = None
    for size in reversed(results.sizes):
        if results.samples("ratio", size, HOMES, WAVES[0]).median <= limit:
            break
        above = size
    return above


def findings(flat: Flat, sizes: Sequence[int], results: Results) -> list[str]:
    """What follows, in sentences made of the figures."""
    spent = sorted(((at, it) for it in budgets(flat) if (at := it.spent_at()) is not None), key=lambda pair: pair[0])
    said = []
    if spent:
        at, first = spent[0]
        said.append(
            f"Flat membership stops being sensible at {at:,} nodes: there a node spends its budget of {first.what} "
            f"({first.limit:g} {first.unit}). Then follow "
            + "; ".join(f"{it.what} at {where:,}" for where, it in spent[1:])
            + "."
        )
    kept = [it.what for it in budgets(flat) if it.spent_at() is None]
    if kept:
        said.append(f"Never spent, up to a million nodes: {'; '.join(kept)}.")
    above = first_above(results, RATIO)
    if above is not None:
        said.append(
            f"If all nodes pull an image of 100 MB in four layers at once, R is above {RATIO:g} from {above:,} nodes "
            "on, of those that were computed: a home sends its piece to everybody, and all ask for the same "
            f"{PlanSettings().window_max} pieces of a blob at a time, so R grows as nodes over these. In a rolling "
            "wave those who are done help, and R grows much later."
        )
    for size in sizes:
        if size > ZONE_NODES:
            known = members_known(size, ZONE_NODES)
            said.append(
                f"With {size:,} nodes in zones of {ZONE_NODES}, a node that knows its own zone and {DELEGATES} "
                f"delegates of each other knows {known:,.0f} members instead of {size:,}, and pays for membership as "
                "in a flat cluster of so many."
            )
        if size >= THIN_MIN:
            said.append(_between_zones(size, results))
    return said


def _between_zones(size: int, results: Results) -> str:
    """What homes in each zone would change, at one size."""
    flat, zoned = ([results.of(size, kind, WAVES[0], thin=thin)[0] for thin in (False, True)] for kind in _BOTH)
    return (
        f"With {size:,} nodes in {flat[0].zones} zones, all at once, homes in each zone that ask those of the cluster "
        f"bring the bytes between zones from {flat[0].cross:,.0f} images to {zoned[0].cross:,.0f}, R from "
        f"{flat[0].ratio:.1f} to {zoned[0].ratio:.1f}, and with thin lines between zones from {flat[1].ratio:.1f} to "
        f"{zoned[1].ratio:.1f}. Upstream sends {flat[0].upstream:.2f} and {zoned[0].upstream:.2f} images."
    )
