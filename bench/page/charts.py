"""The plots of the page, as far as there are figures for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..report import OURS
from .contest import Answer, Tally
from .figures import Figures, Spread, Trial, spread
from .plots import Bar, Plot, Series, bars, lines
from .results import Result, Sheet
from .words import DHT, METRICS, MODES, SPEGEL, TIMES, mode_words, ordered

_AGAINST_NODES: Final = (("fanout", "ratio"), ("fanout", "upstream"), ("fanout", "cpu_s_per_gib"))
"""What is drawn against the number of nodes."""

_BY_MODE: Final = (("fanout", "ratio"), ("fanout", "upstream"))
"""What is drawn mode by mode at the size that is asked for."""

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
    """How many times ours the other's figures are, question by question."""
    rows, rival = [], tally.rival
    for answer, duel in tally.answers:
        if duel.metric.more or duel.ours.median <= 0 or duel.theirs.median <= 0:
            continue
        ratio = duel.theirs.median / duel.ours.median
        name = f"{answer.trial.scenario}: {answer.question.short}"
        rows.append(Bar(name, colour(rival if ratio > 1 else OURS), Spread([ratio]), f"{ratio:.2f} {TIMES}"))
    other = mode_words(rival)
    title = f"{other}, in times of gossip: right of 1 gossip is better, left of 1 {other}"
    return bars(f"{rival}-beside-gossip", title, "times", rows, log=True)


def _by_mode(answer: Answer) -> Plot | None:
    metric = answer.question.metric
    rows = [
        Bar(mode_words(mode), colour(mode), found, metric.shown(found))
        for mode in ordered(answer.trial.modes)
        if (found := answer.get(mode)) is not None
    ]
    title = f"{answer.question.words} {answer.trial.where}"
    return bars(f"{answer.trial.scenario}-{answer.question.key}", title, answer.question.short, rows)


def _against_nodes(figures: Figures) -> Iterator[Plot | None]:
    for scenario, key in _AGAINST_NODES:
        metric = METRICS[key]
        for number, trials in enumerate(_alike(figures.lab(scenario))):
            modes = ordered(dict.fromkeys(mode for trial in trials for mode in trial.modes))
            series = [
                Series(mode_words(mode), colour(mode), points)
                for mode in modes
                if (points := [(float(it.nodes), found) for it in trials if (found := it.get(mode, key)) is not None])
            ]
            where = trials[0].where.partition(", ")[2]
            title = f"{scenario}: {metric.words}, against the number of nodes; {where}"
            label = f"{metric.words.split(',')[0]}{f', {metric.unit}' if metric.unit else ''}"
            yield lines(f"{scenario}-{key}-{number}", title, ("nodes", label), series)


def _alike(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Those that differ in nothing but the number of nodes, where there are enough of them to make a line."""
    groups: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials:
        key = tuple(f"{trial.settings.get(name)}" for name in _ALIKE)
        groups.setdefault(key, []).append(trial)
    return [group for group in groups.values() if len({trial.nodes for trial in group}) >= _SIZES_LEAST]


def _after_faults(figures: Figures) -> Iterator[Plot | None]:
    for scenario in _FAULTS:
        trials = [trial for trial in figures.lab(scenario) if any("ratio" in found for found in trial.modes.values())]
        rows = [
            Bar(f"{trial.nodes} nodes, {mode_words(mode)}", colour(mode), found, found.shown(".2f"))
            for trial in trials
            for mode in ordered(trial.modes)
            if (found := trial.get(mode, "ratio")) is not None
        ]
        if len(rows) > 1:
            where = trials[0].where.partition(", ")[2]
            title = f"{scenario}: {METRICS['ratio'].words}; {where}"
            yield bars(f"{scenario}-ratio", title, "times of one download", rows[: 2 * _SERIES_MOST])


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
