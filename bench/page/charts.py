"""The plots of the page, as far as there are figures for them."""

from collections.abc import Iterator, Mapping, Sequence
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
    "cpu_s_per_gib": "CPU of what stands between, s for each GiB",
}
"""Quantity and unit at the axis, by figure; each that is drawn of the lab has a row."""

_FAULTS: Final = ("kill", "vanish", "dark", "partition", "churn", "slow", "lonely")
_ALIKE: Final = ("image", "layers", "link", "upstream", "client", "loss", "congestion")
"""Settings that the points of a line have in common."""

_SIZES_LEAST: Final = 2
"""How many sizes make a line."""

_SIZES_LEAST_TABLE: Final = 3
"""The same for tables of a simulation or a model."""

_PLOTS_MOST: Final = 12
"""How many plots are made of the tables of one file at most."""

_SERIES_MOST: Final = 12
"""How many lines, or groups of bars, a plot has at most."""


_SIDES: Final = {Outcome.BETTER: 1, Outcome.WORSE: -1, Outcome.EVEN: 0}
"""To which side of 1 a bar beside gossip points: right where gossip is better."""

_BEYOND: Final = {1: "\N{GREATER-THAN OR EQUAL TO} ", -1: "\N{LESS-THAN OR EQUAL TO} ", 0: ""}
"""What stands before a ratio of which one side was still growing."""

_ONCE: Final = Spread([1.0])
"""A bar of no length on a logarithmic axis."""

_WHOLE_FROM: Final = 100
"""From where a ratio is written without a fraction: nobody asks for more than three digits."""


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
    found += _by_size(results)
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
                yield bars(f"{scenario}-ratio-{number}", title, _AXES["ratio"], rows[: 2 * _SERIES_MOST])


def _by_size(results: Mapping[str, Result]) -> Iterator[Plot | None]:
    """Tables of the simulation and of the model whose rows are numbers of nodes: a plot for each column of numbers."""
    for name, result in results.items():
        if result.scenario is None:
            plots = [plot for number, sheet in enumerate(result.tables) for plot in _columns(f"{name}-{number}", sheet)]
            yield from plots[:_PLOTS_MOST]


def _columns(name: str, sheet: Sheet) -> Iterator[Plot]:
    headings = sheet.headings
    if next(iter(headings.values()), None) != "nodes":
        return
    size, *columns = headings
    texts = [key for key in columns if any(isinstance(row.get(key), str) for row in sheet.rows)]
    for number, key in enumerate(columns):
        if key in texts:
            continue
        points: dict[str, list[tuple[float, Spread]]] = {}
        for row in sheet.rows:
            x, found = spread(row.get(size)), spread(row.get(key))
            if x is not None and found is not None:
                label = ", ".join(f"{row.get(text)}" for text in texts if row.get(text) is not None)
                points.setdefault(label, []).append((x.median, found))
        series = [
            Series(label, colour, line)
            for colour, (label, line) in enumerate(points.items())
            if len({x for x, _ in line}) >= _SIZES_LEAST_TABLE
        ]
        title = f"{sheet.name}: {headings[key]}"
        plot = lines(f"{name}-{number}", title, ("nodes", headings[key]), series[:_SERIES_MOST], log=True)
        if plot is not None:
            yield plot
