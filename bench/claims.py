"""What README claims against others: each sentence, and the figures and rules that decide it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from .page.figures import Figures, spread
from .page.results import Cell
from .page.words import DHT, DIRECT, METRICS, SPEGEL, mode_words
from .report import OURS


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure that bears on a claim.

    Args:
        what: it is.
        found: the figure with its range, in words.
        allowed: what it has to be, in words.
        holds: whether it is.
    """

    what: str
    found: str
    allowed: str
    holds: bool


Rule = Callable[[Figures], Sequence[Finding]]


class Verdict(Enum):
    """Of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim.

    Args:
        id: a short name that stays.
        sentence: as README has it.
        rules: all of them must hold, each wherever it was measured.
        long: whether only the long suite measures it.
    """

    id: str
    sentence: str
    rules: Sequence[Rule]
    long: bool = False

    def findings(self, figures: Figures) -> list[Finding]:
        """All figures that bear on it."""
        return [finding for rule in self.rules for finding in rule(figures)]

    def decisive(self, figures: Figures) -> Finding | None:
        """One figure that it fails by, or else the first one; None if nothing was measured."""
        found = self.findings(figures)
        return next((finding for finding in found if not finding.holds), found[0] if found else None)

    def verdict(self, figures: Figures) -> Verdict:
        """It fails by one figure; it holds when every rule has one and none fails."""
        found = [rule(figures) for rule in self.rules]
        if any(not finding.holds for findings in found for finding in findings):
            return Verdict.FAILS
        return Verdict.HOLDS if all(found) else Verdict.UNKNOWN


def lab(
    scenario: str,
    key: str,
    *,
    mode: str = OURS,
    most: float = math.inf,
    least: float = -math.inf,
    per_node: bool = False,
    **settings: Any,
) -> Rule:
    """In every trial of a scenario with these settings a figure of a mode is within bounds, in the median.

    Args:
        scenario: its name.
        key: of the figure.
        mode: whose.
        most: that is allowed; 0 is meant for every single run.
        least: that is wanted.
        per_node: whether the bounds are for each node.
        settings: that the trial must have.
    """

    def rule(figures: Figures) -> list[Finding]:
        found = []
        for trial in figures.lab(scenario, **settings):
            figure = trial.get(mode, key)
            if figure is not None:
                what = f"{scenario}, {trial.where}, {mode_words(mode)}: {METRICS[key].words}"
                times = trial.nodes if per_node else 1
                value = figure.high if most == 0 else figure.median
                if figure.is_bound and most < math.inf:
                    value = math.inf  # at least so much is not at most anything
                found.append(_within(what, figure.shown(METRICS[key].spec), value, least * times, most * times))
        return found

    return rule


def lab_beside(
    scenario: str, key: str, rival: str, *, least: float = -math.inf, most: float = math.inf, **settings: Any
) -> Rule:
    """In every trial of a scenario with these settings our figure is so many times another mode's, in the median."""

    def rule(figures: Figures) -> list[Finding]:
        found = []
        for trial in figures.lab(scenario, **settings):
            ours, theirs = trial.get(OURS, key), trial.get(rival, key)
            if ours is not None and theirs is not None and theirs.median > 0:
                what = f"{scenario}, {trial.where}: {METRICS[key].words}, in times of {mode_words(rival)}"
                ratio = ours.median / theirs.median
                low, high = (0.0 if theirs.is_bound else ratio), (math.inf if ours.is_bound else ratio)
                value = high if most < math.inf else low  # of what is open only one bound is known
                found.append(_within(what, f"{ratio:.2f}", value, least, most))
        return found

    return rule


def cell(
    bench: str, table: str, key: str, *, least: float = -math.inf, most: float = math.inf, **row: str | float
) -> Rule:
    """In every such table this column is within bounds, in the median, in all rows that have these cells."""

    def rule(figures: Figures) -> list[Finding]:
        return [
            _within(f"{bench}: {sheet.name}: {_named(cells)}: {key}", figure.shown(".3g"), figure.median, least, most)
            for sheet in figures.tables(bench, table)
            for cells in sheet.rows
            if all(cells.get(name) == value for name, value in row.items())
            if (figure := spread(cells.get(key))) is not None
        ]

    return rule


def rows_beside(
    bench: str,
    table: str,
    key: str,
    pair: tuple[Mapping[str, str], Mapping[str, str]],
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> Rule:
    """In every such table one row's figure is so many times another's with as many nodes, in the median.

    Args:
        bench: its name.
        table: how the title begins.
        key: of the column.
        pair: cells that the one row has, and the other.
        least: times that are wanted.
        most: times that are allowed.
    """

    def rule(figures: Figures) -> list[Finding]:
        found = []
        for sheet in figures.tables(bench, table):
            one, other = ([row for row in sheet.rows if wanted.items() <= row.items()] for wanted in pair)
            for mine in one:
                for theirs in other:
                    a, b = spread(mine.get(key)), spread(theirs.get(key))
                    if mine.get("size") == theirs.get("size") and a is not None and b is not None and b.median > 0:
                        what = f"{bench}: {sheet.name}: {_named(mine)} in times of {_named(theirs)}: {key}"
                        found.append(_within(what, f"{a.median / b.median:.2f}", a.median / b.median, least, most))
        return found

    return rule


def _within(what: str, shown: str, value: float, least: float, most: float) -> Finding:
    bounds = [f"at least {least:g}"] * (least > -math.inf) + [f"at most {most:g}"] * (most < math.inf)
    return Finding(what, shown, " and ".join(bounds), least <= value <= most)


def _named(cells: Mapping[str, Cell]) -> str:
    """A row by its texts, and its numbers of nodes."""
    return ", ".join(f"{it:g}" if isinstance(it, float) else it for it in cells.values() if isinstance(it, str | float))


_SERF: Final = ({"kind": OURS}, {"kind": "serf"})
_SERF_SEALED: Final = ({"kind": f"{OURS} sealed"}, {"kind": "serf sealed"})
_KNOWS: Final = "How soon everybody knows"

CLAIMS: Final[Sequence[Claim]] = (
    Claim(
        "one-download",
        "Eight nodes that pull 10 MB are done in at most 1.3 times the time of one, and the registry sends it once.",
        (
            lab("fanout", "ratio", most=1.3, nodes=8, image_name="10MB-4", client="http", loss=0.0),
            lab("fanout", "upstream", most=1.02, nodes=8, image_name="10MB-4", client="http", loss=0.0),
        ),
    ),
    Claim(
        "one-large-download",
        "With 100 MB it is at most 1.4 times (measured by `--long` alone).",
        (
            lab("fanout", "ratio", most=1.4, nodes=8, image_name="100MB-4", client="http", loss=0.0),
            lab("fanout", "upstream", most=1.02, nodes=8, image_name="100MB-4", loss=0.0),
        ),
        long=True,
    ),
    Claim(
        "complete-layers",
        "Spegel shares complete layers, so at this moment its nodes take nearly all of it from the registry.",
        (lab("fanout", "upstream", mode=SPEGEL, least=0.8, per_node=True),),
    ),
    Claim(
        "lone-node",
        "A lone node is ready within two seconds.",
        (lab("discover", "ready_alone_s", most=2.0),),
    ),
    Claim(
        "dead-node",
        "Membership is SWIM: within seconds all members know that a node is dead, and ask it no more.",
        (lab("discover", "offered_kill_s", most=10.0), lab("discover", "offered_vanish_s", most=10.0)),
    ),
    Claim(
        "lookup",
        "A lookup takes microseconds.",
        (
            cell("micro", "A lookup", "hit_us", most=100.0, kind="bloom"),
            cell("micro", "A lookup", "miss_us", most=100.0, kind="bloom"),
        ),
    ),
    Claim(
        "news",
        "Gossip keeps these filters equal: all members learn of a new blob within a few hundredths of a second with 5 "
        "nodes, and within a tenth or little more with 100; a lost packet is repaired within two seconds.",
        (
            lab("discover", "found_p99_ms", most=50.0, nodes=5),
            cell("gossip-sim", "A key or a join", "all", most=0.12, size=100.0, by="nodes"),
            cell("gossip-sim", "A key or a join", "lossy", most=2.0),
        ),
    ),
    Claim(
        "lazy",
        "They get them at once, and upstream sends hardly more than these parts.",
        (cell("lazy", "Ranges of a layer", "share", most=1.2, way=OURS),),
    ),
    Claim(
        "no-mirror",
        "Without a mirror the registry sends the image to each node, and the last one waits for all of that.",
        (
            lab("fanout", "upstream", mode=DIRECT, least=0.95, per_node=True),
            lab("fanout", "ratio", mode=DIRECT, least=0.9, per_node=True),
        ),
    ),
    Claim(
        "pull-through",
        "A pull-through cache that all ask at once spares the registry nothing, and they wait no less.",
        (
            lab("fanout", "upstream", mode="pullthrough", least=0.95, per_node=True),
            lab("fanout", "ratio", mode="pullthrough", least=0.95, per_node=True),
        ),
    ),
    Claim(
        "killed",
        "If the process that serves most is killed half-way through a pull, no client of another node sees it.",
        (lab("kill", "client_errors", most=0.0),),
    ),
    Claim(
        "hits",
        "Finding what is there is no reason to prefer gossip to a DHT: a small one has all records on each node, too.",
        (lab_beside("discover", "hit_p50_ms", DHT, least=0.5),),
    ),
    Claim(
        "misses",
        "What nobody has is a reason: a DHT waits up to 20 ms for somebody to name a holder, and the question takes at "
        "least twice as long.",
        (lab_beside("discover", "miss_p50_ms", DHT, most=0.5),),
    ),
    Claim(
        "spegel-costs",
        "Spegel takes a fifth of the CPU for a pull by 5 nodes: about 8 s a GiB beside 40.",
        (lab_beside("fanout", "cpu_s_per_gib", SPEGEL, least=3.0, nodes=5),),
    ),
    Claim(
        "spegel-memory",
        "Spegel takes half of the memory in a pull, 38 MiB beside 76, and less than half when idle, 14 beside 51.",
        (
            lab_beside("fanout", "peak_mib", SPEGEL, least=1.7, nodes=5),
            lab_beside("idle", "idle_pss_mib", SPEGEL, least=2.0, nodes=5),
        ),
    ),
    Claim(
        "spegel-hits",
        "Spegel answers sooner about what another node holds: 1.2 ms beside 2 to 3.",
        (lab_beside("discover", "hit_p50_ms", SPEGEL, least=1.05, nodes=5),),
    ),
    Claim(
        "served",
        "A cached blob is served with half of the speed of nginx or more, and to several clients at once faster than "
        "by docker-registry.",
        (
            cell("serve", "A cached blob", "ratio", least=0.5, server="nginx"),
            *(
                cell("serve", "A cached blob", "ratio", least=1.0, server="docker-registry", load=load)
                for load in ("8 clients", "64 clients", "8 clients, 8 MiB ranges")
            ),
        ),
    ),
    Claim(
        "passed-on",
        "A blob that passes through while it arrives is slower than through nginx, which verifies nothing, or "
        "docker-registry, which verifies it later.",
        (
            cell("relay", "A blob of", "ratio", most=1.0, server="nginx proxy_cache", load="upstream"),
            cell("relay", "A blob of", "ratio", most=1.0, server="docker-registry proxy", load="upstream"),
        ),
    ),
    Claim(
        "memory",
        "When idle, the agent takes at least twice as much memory as either of them; at its peak docker-registry takes "
        "more than the agent.",
        (
            *(
                rows_beside("serve", "Memory", "idle", ({"server": OURS}, {"server": other}), least=2.0)
                for other in ("nginx", "docker-registry")
            ),
            rows_beside("serve", "Memory", "peak", ({"server": OURS}, {"server": "docker-registry"}), most=1.0),
        ),
    ),
    Claim(
        "membership",
        "All members know of a node that joins or leaves sooner than serf's, and of one that was killed about as soon "
        "(measured by `--long` alone).",
        (
            rows_beside("gossip", _KNOWS, "join", _SERF, most=1.0),
            rows_beside("gossip", _KNOWS, "leave", _SERF, most=1.0),
            rows_beside("gossip", _KNOWS, "kill", _SERF, most=1.1),
        ),
        long=True,
    ),
    Claim(
        "idle",
        "An idle node sends less than one of serf, and takes more CPU and memory (measured by `--long` alone).",
        (
            rows_beside("gossip", "Idle", "bytes", _SERF_SEALED, most=1.0),
            rows_beside("gossip", "Idle", "cpu", _SERF, least=1.0),
            rows_beside("gossip", "Idle", "rss", _SERF, least=1.0),
        ),
        long=True,
    ),
)
"""In the order of README."""
