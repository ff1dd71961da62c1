"""The figures as tables, the goals, and what goes into the JSON beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any, Final

from ..report import Cell, Goal, Report, Table
from . import dht, limits
from .curves import Plot, plots
from .dht import REPROVIDE_S
from .figure import Figures
from .flat import GOSSIP
from .found import Found
from .kademlia import ALPHA, PROVIDERS_WANTED, K
from .lab import Checked, apart
from .pulls import BY_ZONE, HOMES, IMAGES, KINDS
from .world import IMAGE, OVERSUBSCRIBED, WAVES, world_of

_WAYS: Final = (*((kind, False) for kind in KINDS), (HOMES, True), (BY_ZONE, True))
"""How nodes pull, and whether lines between zones are thin."""

_KADEMLIA: Final = "DHT"
_MIB: Final = 2.0**20
_UPSTREAM_GOAL: Final = 1.02
_LINE_GOAL: Final = 0.25
_LAB_GOAL: Final = 0.25
_LAB_UPSTREAM_GOAL: Final = 0.1


def report(found: Found) -> Report:
    """All of it."""
    figures = found.figures()
    said = limits.findings(found.flat, found.sizes, found.pulls)
    if found.checked:
        said.append(apart(found.checked))
    tables = [
        *_waves(found),
        _images(found),
        *_costs(found, figures),
        _times(found, figures),
        _lookups(found),
        _budgets(found, said),
        _zones(found),
        *_lab(found.checked),
        _arithmetic(found, figures),
    ]
    details = {
        "settings": _settings(found),
        "findings": said,
        "plots": [asdict(plot) for plot in plots(found, figures)],
        "arithmetic": [asdict(figure) for figure in figures],
    }
    return Report("scale", tables, list(_goals(found, figures)), details)


def plots_of(found: Found) -> list[Plot]:
    """The plots."""
    return plots(found, found.figures())


def _settings(found: Found) -> Mapping[str, Any]:
    world = world_of(max(found.sizes))
    return {
        "nodes": found.sizes,
        "keys_per_node": found.keys,
        "blobs_pulled_per_node_per_s": found.pulled_per_s,
        "link_bytes_per_s": world.link,
        "upstream_bytes_per_s": world.upstream,
        "zone_link_share_of_its_nodes_links": 1 / OVERSUBSCRIBED,
        "clients_start_within_s": world.spread_s,
        "kademlia_k": K,
        "kademlia_alpha": ALPHA,
        "providers_wanted": PROVIDERS_WANTED,
        "reprovide_s": REPROVIDE_S,
    }


def _waves(found: Found) -> Iterator[Table]:
    world = world_of(max(found.sizes))
    ways = [
        (size, wave, kind, thin)
        for size, wave, (kind, thin) in product(found.sizes, WAVES, _WAYS)
        if found.pulls.of(size, kind, wave, thin=thin)
    ]

    def table(title: str, columns: Mapping[str, tuple[str, str]]) -> Table:
        rows: list[dict[str, Cell]] = []
        for size, wave, kind, thin in ways:
            cells: dict[str, Cell] = {what: found.pulls.samples(what, size, kind, wave, thin=thin) for what in columns}
            rows.append({"nodes": float(size), "wave": wave, "kind": f"{kind}, thin lines" if thin else kind, **cells})
        return _table(title, columns, rows, {"wave": "wave", "kind": "how"})

    yield table(
        f"Waves of pulls in the fluid model: {IMAGE}, links of {world.link * 8 / 1e9:g} Gbit/s, upstream "
        f"{world.upstream * 8 / 1e9:g} Gbit/s;\n"
        "thin lines: a zone's line to the others is a quarter of its nodes' links, else no bottleneck;\n"
        "R: the last node's time over the ideal one, of all batches; U: bytes of upstream, in images; median and range",
        {"zones": ("zones", ".0f"), "ratio": ("R", ".2f"), "upstream": ("U", ".2f")},
    )
    yield table(
        "The same waves: bytes on the links in images, requests of a node, and what upstream sends on average",
        {
            "members": ("from nodes", ".0f"),
            "cross": ("between zones", ".0f"),
            "sent_most": ("a node, most", ".1f"),
            "requests": ("requests", ".0f"),
            "upstream_mbit_per_s": ("upstream Mbit/s", ".0f"),
        },
    )


def _images(found: Found) -> Table:
    rows: list[dict[str, Cell]] = []
    for size in found.pulls.sizes:
        samples = {image: found.pulls.samples("ratio", size, HOMES, WAVES[0], image) for image in IMAGES}
        rows.append({"nodes": float(size), **{image: it if it.values else None for image, it in samples.items()}})
    return _table(
        "R of homes, all at once, by the image: there are no more homes than pieces; median and range of digests",
        {image: (image, ".2f") for image in IMAGES},
        rows,
    )


def _costs(found: Found, figures: Figures) -> Iterator[Table]:
    def table(title: str, columns: Mapping[str, tuple[str, str]], texts: Mapping[str, str]) -> Table:
        rows: list[dict[str, Cell]] = []
        for size in found.sizes:
            row: dict[str, Cell] = {"nodes": float(size), "by": "nodes" if size in found.calm else "lines"}
            for column in columns:
                of, keys, scale = _COSTS[column]
                values = [figures.value(of, size, key) for key in keys]
                row[column] = scale * sum(value for value in values if value is not None)
            rows.append(row)
        return _table(title, columns, rows, texts)

    yield table(
        f"What a node pays for gossip, with {found.keys} keys a node: sent, with headers; simulated nodes, or lines\n"
        "through them. The wave: every node pulls an image of 12 blobs in a minute",
        {
            "idle": ("idle B/s", ".0f"),
            "packets": ("packets/s", ".1f"),
            "cpu": ("CPU %", ".3f"),
            "wave": ("wave B/s", ".0f"),
            "wave_packets": ("packets/s", ".0f"),
            "wave_cpu": ("CPU %", ".1f"),
            "memory": ("MiB", ".1f"),
        },
        {"by": "by"},
    )
    yield table(
        f"What a node pays for a DHT, with {found.keys} keys a node: sent, with headers, by formula",
        {
            "dht_idle": ("idle B/s", ".0f"),
            "dht_wave": ("wave B/s, beside", ".0f"),
            "dht_memory": ("MiB", ".1f"),
        },
        {},
    )


_COSTS: Final[Mapping[str, tuple[str, Sequence[str], float]]] = {
    "idle": (GOSSIP, ("idle",), 1),
    "packets": (GOSSIP, ("idle_packets",), 1),
    "cpu": (GOSSIP, ("cpu",), 100),
    "wave": (GOSSIP, ("wave",), 1),
    "wave_packets": (GOSSIP, ("wave_packets",), 1),
    "wave_cpu": (GOSSIP, ("wave_cpu",), 100),
    "memory": (GOSSIP, ("tables", "filters"), 1 / _MIB),
    "dht_idle": (_KADEMLIA, ("reprovide", "regions", "refresh", "keepalive"), 1),
    "dht_wave": (_KADEMLIA, ("wave",), 1),
    "dht_memory": (_KADEMLIA, ("memory",), 1 / _MIB),
}


def _times(found: Found, figures: Figures) -> Table:
    columns = {
        "detect": ("dead, all know", ".1f"),
        "key": ("key, 99 %", ".3f"),
        "join": ("join, all", ".3f"),
        "stale": ("DHT: dead one offered for", ".0f"),
    }
    rows: list[dict[str, Cell]] = [
        {
            "nodes": float(size),
            **{key: figures.value(_KADEMLIA if key == "stale" else GOSSIP, size, key) for key in columns},
        }
        for size in found.sizes
    ]
    return _table("How soon others know, s; a DHT's records of a dead holder stay until they expire", columns, rows)


def _lookups(found: Found) -> Table:
    columns = {
        "table": ("table", ".0f"),
        "table_formula": ("formula", ".0f"),
        "requests": ("miss", ".1f"),
        "requests_formula": ("formula", ".1f"),
        "rounds": ("rounds", ".2f"),
        "rounds_formula": ("formula", ".2f"),
        "hit_requests": ("hit", ".1f"),
        "hit_rounds": ("rounds", ".2f"),
        "local": ("local %", ".0f"),
        "found": ("found %", ".0f"),
    }
    rows: list[dict[str, Cell]] = [
        {
            **asdict(it),
            "nodes": float(size),
            "local": 100 * it.local,
            "found": 100 * it.found,
            "table_formula": dht.table_size(size),
            "requests_formula": dht.requests(size),
            "rounds_formula": dht.rounds(size),
        }
        for size, it in sorted(found.walked.items())
    ]
    return _table(
        f"A Kademlia, k = {K}, {ALPHA} requests at a time, simulated over random ids: means of 200 lookups, beside\n"
        "the formulas: nodes in a table; requests and rounds of a miss, and of a hit; hits that need no request; the\n"
        f"closest nodes that were found. With up to {K} nodes all have all records; by gossip no request is needed",
        columns,
        rows,
    )


def _budgets(found: Found, said: Sequence[str]) -> Table:
    rows: list[dict[str, Cell]] = []
    for budget in limits.budgets(found.flat):
        at = budget.spent_at()
        rows.append(
            {"what": budget.what, "limit": budget.limit, "unit": budget.unit, "at": None if at is None else float(at)}
        )
    return Table.of(
        "\n".join(["Where flat membership stops being sensible: the nodes at which a budget is spent", *said]),
        {"what": "budget of a node for knowing the others", "unit": "unit"},
        {"limit": ("limit", ",.4g"), "at": ("spent at nodes", ",.0f")},
        rows,
    )


def _zones(found: Found) -> Table:
    zoned = limits.with_zones(found.flat, found.sizes, found.pulls)
    rows: list[dict[str, Cell]] = [
        {"nodes": float(it.nodes), "what": it.what, "unit": it.unit, "flat": it.flat, "zoned": it.zoned} for it in zoned
    ]
    return _table(
        f"What zones would change: each node knows the {limits.ZONE_NODES} nodes of its zone and "
        f"{limits.DELEGATES} delegates of every other;\nhomes in each zone, of which there are as many as in the "
        "fluid model, ask the homes of the cluster",
        {"flat": ("flat", ",.4g"), "zoned": ("in zones", ",.4g")},
        rows,
        {"what": "what", "unit": "unit"},
    )


def _lab(checked: Sequence[Checked]) -> Iterator[Table]:
    if checked:
        rows: list[dict[str, Cell]] = [
            {
                "nodes": float(it.nodes),
                "scenario": it.scenario,
                "mode": it.mode,
                "mib": it.image / _MIB,
                "layers": float(it.layers),
                "lab_ratio": it.lab_ratio,
                "model_ratio": it.model_ratio,
                "apart": 100 * it.apart,
                "lab_upstream": it.lab_upstream,
                "model_upstream": it.model_upstream,
            }
            for it in checked
        ]
        yield _table(
            "The fluid model beside the lab: median and range; of the model over 20 digests",
            {
                "mib": ("MiB", ".0f"),
                "layers": ("layers", ".0f"),
                "lab_ratio": ("R, lab", ".2f"),
                "model_ratio": ("R, model", ".2f"),
                "apart": ("apart %", ".0f"),
                "lab_upstream": ("U, lab", ".3f"),
                "model_upstream": ("U, model", ".3f"),
            },
            rows,
            {"scenario": "scenario", "mode": "mode"},
        )


def _arithmetic(found: Found, figures: Figures) -> Table:
    rows: list[dict[str, Cell]] = [
        {
            "nodes": float(it.nodes),
            "of": it.of,
            "what": it.what,
            "value": it.value,
            "unit": it.unit,
            "formula": it.formula,
            "numbers": it.numbers,
        }
        for it in figures
        if it.nodes in found.sizes
    ]
    texts = {"of": "of", "what": "what", "unit": "unit", "formula": "formula", "numbers": "numbers"}
    return _table("The arithmetic", {"value": ("value", ".4g")}, rows, texts)


def _table(
    title: str,
    columns: Mapping[str, tuple[str, str]],
    rows: Sequence[Mapping[str, Cell]],
    texts: Mapping[str, str] | None = None,
) -> Table:
    """A table whose first column is the number of nodes."""
    headings = {"nodes": "nodes", **(texts or {}), **{key: heading for key, (heading, _) in columns.items()}}
    return Table(title, headings, {"nodes": ",.0f", **{key: spec for key, (_, spec) in columns.items()}}, rows)


def _goals(found: Found, figures: Figures) -> Iterator[Goal]:
    for size in found.sizes:
        upstream = found.pulls.samples("upstream", size, HOMES, WAVES[0]).median
        yield Goal(f"U of homes, all at once, N = {size}", _UPSTREAM_GOAL, upstream, most=True)
        ratio = found.pulls.samples("ratio", size, HOMES, WAVES[0]).median
        yield Goal(f"R of homes, all at once, N = {size}", limits.RATIO, ratio, most=True)
    for size, calm in sorted(found.calm.items())[1:-1]:
        for what, trend in (("idle", found.flat.growth.idle), ("wave", found.flat.growth.wave)):
            off = abs(trend.at(size) / trend.counted(calm) - 1)
            yield Goal(
                f"bytes of gossip, {what}, by lines: share beside simulated, N = {size}", _LINE_GOAL, off, most=True
            )
    for size, calm in sorted(found.calm.items()):
        if (model := found.modelled.get(size)) is not None:
            off = abs(model.killed["lan"].median / calm.killed.median - 1)
            yield Goal(f"detection, reduced model beside real nodes, N = {size}", _LINE_GOAL, off, most=True)
    for it in found.checked:
        at = f"{it.scenario}, {it.mode}, N = {it.nodes}"
        yield Goal(f"R, model beside the lab: share, {at}", _LAB_GOAL, abs(it.apart), most=True)
        off = abs(it.lab_upstream.median - it.model_upstream.median)
        yield Goal(f"U, model beside the lab: images, {at}", _LAB_UPSTREAM_GOAL, off, most=True)
