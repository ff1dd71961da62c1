"""The plots of the page, as far as there are figures for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..report import OURS
from .contest import Answer, Duel, Outcome, Tally
from .figures import Figures, Spread, Trial, spread
from .plots import Bar, Plot, Series, bars, lines
from .results import Result, Sheet
from .words import DHT, METRICS, MODES, SPEGEL, TIMES, mode_words, named, ordered

_AGAINST_NODES: Final = (("fanout", "ratio"), ("fanout", "upstream"), ("fanout", "cpu_s_per_gib"))
"""What is drawn against the number of nodes."""

_BY_MODE: Final = (("fanout", "ratio"), ("fanout", "upstream"))
"""What is drawn mode by mode at the size that is asked for."""

_AXES: Final[Mapping[str, str]] = {
    "ratio": "time of the last node, times of one download",
    "upstream": "sent by the registry, images",
    "cpu_s_per_gib": "CPU of the mirrors, s for each GiB",
}
"""Quantity and unit at the axis, by figure; each that is drawn of the lab has a row."""

_FAULTS: Final = ("kill", "vanish", "dark", "partition", "churn", "slow", "lonely")
_ALIKE: Final = ("image", "layers", "link", "upstream", "client", "loss", "congestion")
"""Settings that the points of a line have in common."""

_SIZES_LEAST: Final = 2
"""How many sizes make a line."""

_BARS_MOST: Final = 24
"""How many bars a plot has at most; more would be higher than a screen."""

_MODEL: Final = "model"
"""Marks rows of a model beside simulated ones, which are for those who judge the model: they stay in the tables."""

_SIDES: Final = {Outcome.BETTER: 1, Outcome.WORSE: -1, Outcome.EVEN: 0}
"""To which side of 1 a bar beside gossip points: right where gossip is better."""

_BEYOND: Final = {1: "\N{GREATER-THAN OR EQUAL TO} ", -1: "\N{LESS-THAN OR EQUAL TO} ", 0: ""}
"""What stands before a ratio of which one side was still growing."""

_ONCE: Final = Spread([1.0])
"""A bar of no length on a logarithmic axis."""

_WHOLE_FROM: Final = 100
"""From where a ratio is written without a fraction: nobody asks for more than three digits."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where the figures of a line stand, in tables of a simulation or a model whose rows are numbers of nodes.

    Args:
        line: its name. Of several columns with one name, a later one adds the sizes that the ones before have not.
        colour: number of its colour.
        bench: that makes the table.
        table: how its title begins.
        key: of the column.
        cells: texts that a row has, by their column; others are not of this line.
    """

    line: str
    colour: int
    bench: str
    table: str
    key: str
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curves:
    """A plot against the number of nodes, of tables of a simulation or a model.

    Args:
        name: for a file.
        title: what it shows.
        label: of the axis: quantity and unit.
        columns: its lines.
    """

    name: str
    title: str
    label: str
    columns: Sequence[Column]


_SIM: Final = "gossip-sim"
_SCALE: Final = "scale"
_LOOKUPS: Final = "A Kademlia"
_TIMES_OF_IDEAL: Final = "time of the last node, times of the ideal one (R)"
_HOMES: Final = {"wave": "at once", "kind": "homes"}
_NO_HOMES: Final = {"wave": "at once", "kind": "DHT, no homes"}

CURVES: Final = (
    Curves(
        "dead-named",
        "A node dies: how long until all others believe so (gossip, simulated), or until its records have expired (a "
        "DHT, by how long they last)",
        "time after its death, seconds",
        (
            Column("gossip", 0, _SIM, "A killed node", "lan"),
            Column("gossip", 0, _SCALE, "How soon others know", "detect"),
            Column("gossip, fast timings", 1, _SIM, "A killed node", "fast"),
            Column("DHT", 2, _SCALE, "How soon others know", "stale"),
        ),
    ),
    Curves(
        "new-known",
        "New content, or a new member: how long until others know of it by gossip, simulated",
        "until others know, seconds",
        (
            Column("content, half of the others", 0, _SIM, "A key or a join", "p50"),
            Column("content, all", 1, _SIM, "A key or a join", "all"),
            Column("content, all, 10 % of packets lost", 7, _SIM, "A key or a join", "lossy"),
            Column("member, all", 4, _SIM, "A key or a join", "join"),
            Column("member, all", 4, _SCALE, "How soon others know", "join"),
        ),
    ),
    Curves(
        "sent-idle",
        "What a node sends while nobody pulls: gossip simulated, a DHT by formula for as many keys as its table says",
        "sent, bytes a second",
        (
            Column("gossip", 0, _SIM, "What a node sends", "bytes"),
            Column("gossip", 0, _SCALE, "What a node pays for gossip", "idle"),
            Column("DHT", 2, _SCALE, "What a node pays for a DHT", "dht_idle"),
        ),
    ),
    Curves(
        "sent-wave",
        "What a node sends to tell what it holds, while all pull an image of 12 blobs in a minute: gossip simulated, a "
        "DHT by formula",
        "sent, bytes a second",
        (
            Column("gossip", 0, _SIM, "What a node sends", "wave"),
            Column("gossip", 0, _SCALE, "What a node pays for gossip", "wave"),
            Column("DHT, beside what it sends idle", 2, _SCALE, "What a node pays for a DHT", "dht_wave"),
        ),
    ),
    Curves(
        "sent-packets",
        "Packets that a node sends for gossip, simulated",
        "sent, packets a second",
        (
            Column("while nobody pulls", 0, _SIM, "What a node sends", "packets"),
            Column("while nobody pulls", 0, _SCALE, "What a node pays for gossip", "packets"),
            Column("all pull within a minute", 1, _SIM, "What a node sends", "wave packets"),
            Column("all pull within a minute", 1, _SCALE, "What a node pays for gossip", "wave_packets"),
        ),
    ),
    Curves(
        "model-ratio",
        "All pull a new image at once, by a model of the network: when has the last one got it?",
        _TIMES_OF_IDEAL,
        (
            Column("gossip", 0, _SCALE, "Waves of pulls", "ratio", _HOMES),
            Column("DHT", 2, _SCALE, "Waves of pulls", "ratio", _NO_HOMES),
        ),
    ),
    Curves(
        "model-upstream",
        "All pull a new image at once, by a model of the network: what does the registry send?",
        "sent by the registry, images",
        (
            Column("gossip", 0, _SCALE, "Waves of pulls", "upstream", _HOMES),
            Column("DHT", 2, _SCALE, "Waves of pulls", "upstream", _NO_HOMES),
        ),
    ),
    Curves(
        "model-images",
        "All pull a new image at once by gossip, by a model of the network: a small image has fewer pieces to pass on "
        "than there are nodes",
        _TIMES_OF_IDEAL,
        tuple(
            Column(image, at, _SCALE, "R of homes", image) for at, image in enumerate(("10MB-4", "100MB-4", "1GB-4"))
        ),
    ),
    Curves(
        "kademlia-requests",
        "A lookup in a DHT, simulated: requests to other nodes. Gossip needs none",
        "requests for one lookup",
        (
            Column("what nobody has", 2, _SCALE, _LOOKUPS, "requests"),
            Column("what another node has", 3, _SCALE, _LOOKUPS, "hit_requests"),
        ),
    ),
    Curves(
        "kademlia-rounds",
        "A lookup in a DHT, simulated: how often it waits for answers of other nodes. Gossip waits for none",
        "waits for one lookup, round trips",
        (
            Column("what nobody has", 2, _SCALE, _LOOKUPS, "rounds"),
            Column("what another node has", 3, _SCALE, _LOOKUPS, "hit_rounds"),
        ),
    ),
)
"""What is drawn of the tables of the simulation and of the model: what helps to choose; all else is in tables."""


def colour(mode: str) -> int:
    """The number of a mode's colour, the same in all plots."""
    known = list(MODES)
    return known.index(mode) if mode in known else len(known)


def draw(
    figures: Figures, results: Mapping[str, Result], answers: Sequence[Answer], tallies: Sequence[Tally]
) -> list[Plot]:
    """All plots."""
    found: list[Plot | None] = [_ratios(tally) for tally in tallies if tally.rival in (DHT, SPEGEL)]
    found += [_by_mode(answer) for answer in answers if (answer.trial.scenario, answer.question.key) in _BY_MODE]
    found += _against_nodes(figures)
    found += _after_faults(figures)
    found += [_by_size(results, curves) for curves in CURVES]
    return [plot for plot in found if plot is not None]


def _ratios(tally: Tally) -> Plot | None:
    rival, other = tally.rival, named(tally.rival)
    title = (
        f"How many times more {other} needs than gossip. Bars to the right, in gossip's colour: gossip is better. "
        f"Bars to the left, in the other's: {other} needs less, and is better. Grey: no clear difference. "
        "Where more is better, gossip is divided by the other"
    )
    label = f"{other} in times of gossip"
    return bars(f"{rival}-beside-gossip", title, label, [_beside(*pair) for pair in tally.answers], log=True)


def _beside(answer: Answer, duel: Duel) -> Bar:
    """How many times more the other needs, in the colour of who is better; where one is nothing, only to which side."""
    name = f"{answer.trial.scenario}: {answer.question.short}"
    side = _SIDES[duel.outcome]
    hue = {1: colour(OURS), -1: colour(duel.rival), 0: None}[side]
    more, less = (duel.ours, duel.theirs) if duel.metric.more else (duel.theirs, duel.ours)
    if min(more.median, less.median) <= 0:
        return Bar(name, hue, _ONCE, _nothing(duel), side)
    if more.is_open and less.is_open:
        return Bar(name, hue, _ONCE, f"{duel.metric.shown(more)} with both")
    ratio, beyond = more.median / less.median, more.is_open - less.is_open
    number = f"{ratio:,.0f}" if ratio >= _WHOLE_FROM else f"{ratio:.2f}"
    text = f"{_BEYOND[beyond]}{number} {TIMES}{', more is better' if duel.metric.more else ''}"
    return Bar(name, hue, Spread([ratio]), text, beyond)


def _nothing(duel: Duel) -> str:
    """Who needs nothing."""
    shown = [
        f"{duel.metric.shown(found)} with {who}"
        for who, found in (("gossip", duel.ours), (named(duel.rival), duel.theirs))
        if found.median <= 0
    ]
    return " and ".join(shown)


def _by_mode(answer: Answer) -> Plot | None:
    metric = answer.question.metric
    rows = [
        Bar(mode_words(mode), colour(mode), found, metric.shown(found))
        for mode in ordered(answer.trial.modes)
        if (found := answer.get(mode)) is not None
    ]
    title = f"{answer.question.words} {answer.trial.where}"
    return bars(f"{answer.trial.scenario}-{answer.question.key}", title, _AXES[answer.question.key], rows)


def _against_nodes(figures: Figures) -> Iterator[Plot | None]:
    for scenario, key in _AGAINST_NODES:
        metric = METRICS[key]
        for number, trials in enumerate(_alike(figures.lab(scenario), sizes=_SIZES_LEAST)):
            modes = ordered(dict.fromkeys(mode for trial in trials for mode in trial.modes))
            series = [
                Series(mode_words(mode), colour(mode), points)
                for mode in modes
                if (points := [(float(it.nodes), found) for it in trials if (found := it.get(mode, key)) is not None])
            ]
            where = trials[0].where.partition(", ")[2]
            title = f"{scenario}: {metric.words}, against the number of nodes; {where}"
            yield lines(f"{scenario}-{key}-{number}", title, ("nodes", _AXES[key]), series)


def _alike(trials: Sequence[Trial], *, sizes: int) -> list[list[Trial]]:
    """Those that differ in nothing but the number of nodes, where there are as many sizes."""
    groups: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials:
        key = tuple(f"{trial.settings.get(name)}" for name in _ALIKE)
        groups.setdefault(key, []).append(trial)
    return [group for group in groups.values() if len({trial.nodes for trial in group}) >= sizes]


def _after_faults(figures: Figures) -> Iterator[Plot | None]:
    for scenario in _FAULTS:
        measured = [it for it in figures.lab(scenario) if any("ratio" in found for found in it.modes.values())]
        for number, trials in enumerate(_alike(measured, sizes=1)):
            rows = [
                Bar(f"{trial.nodes} nodes, {mode_words(mode)}", colour(mode), found, found.shown(".2f"))
                for trial in trials
                for mode in ordered(trial.modes)
                if (found := trial.get(mode, "ratio")) is not None
            ]
            if len(rows) > 1:
                where = trials[0].where.partition(", ")[2]
                title = f"{scenario}: {METRICS['ratio'].words}; {where}"
                yield bars(f"{scenario}-ratio-{number}", title, _AXES["ratio"], rows[:_BARS_MOST])


def _by_size(results: Mapping[str, Result], curves: Curves) -> Plot | None:
    found: dict[str, tuple[int, dict[float, Spread]]] = {}
    for column in curves.columns:
        _, points = found.setdefault(column.line, (column.colour, {}))
        for sheet in (sheet for it in results.values() if it.bench == column.bench for sheet in it.tables):
            for x, figure in _points(sheet, column):
                points.setdefault(x, figure)
    series = [
        Series(line, hue, list(points.items())) for line, (hue, points) in found.items() if len(points) >= _SIZES_LEAST
    ]
    return lines(curves.name, curves.title, ("nodes", curves.label), series, log=True)


def _points(sheet: Sheet, column: Column) -> Iterator[tuple[float, Spread]]:
    size, heading = next(iter(sheet.headings.items()), ("", ""))
    if heading != "nodes" or not sheet.title.startswith(column.table):
        return
    for row in sheet.rows:
        at, found = spread(row.get(size)), spread(row.get(column.key))
        like = all(row.get(key) == text for key, text in column.cells.items())
        if at is not None and found is not None and like and row.get("by") != _MODEL:
            yield at.median, found
