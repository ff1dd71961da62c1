"""Plots as SVG, whose colours follow the page: dark or light as the reader's screen is."""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from .figures import Spread

COLOURS: Final = 8
"""How many colours there are for series; the page defines each for dark and light, as `--series-0` and so on."""

_INK, _FAINT, _EVEN = "#010101", "#020202", "#040404"
_SERIES: Final = [f"#03030{number}" for number in range(COLOURS)]
_VARIABLES: Final = {
    _INK: "--ink",
    _FAINT: "--faint",
    _EVEN: "--even",
    **{it: f"--series-{n}" for n, it in enumerate(_SERIES)},
}
"""Colours as they are drawn, and the variable of the page that stands in their place afterwards."""

_MARKS: Final = "osDd^vPX"
_BOUND: Final = 1e12
"""Beyond this number nothing is drawn: no figure of a bench comes near it."""

_SIZES_MOST: Final = 40
"""How many numbers of nodes an axis marks at most; more would be a grey band, and take long to place."""

_NUMBERS_MOST: Final = 8
"""How many numbers the axis of figures has at most; more than that are not read."""

_COLUMNS_MOST: Final = 3
"""How many columns a legend has at most: more are read as one line of text."""

_GAP_PX: Final = 5.0
"""What is free between two numbers of an axis at least, pixels at 100 to the inch: about the width of a digit."""

_LOG_FROM: Final = 10.0
"""How many times its least figure the largest one of an axis is before it is logarithmic, where that is allowed: below,
lines from 0 show as much, and small differences do not look like cliffs."""

_MARGIN: Final = 0.16
"""What is free beside the longest bar, as a share of the axis: its text stands there."""

_LOG: Final = " (logarithmic)"
"""What the name of such an axis ends in."""

_WIDTH_IN: Final = 5.6
_LINES_HEIGHT_IN: Final = 3.4
_ROW_IN: Final = 0.36
_EDGES_IN: Final = 0.75
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, slots=True)
class Series:
    """A line.

    Args:
        name: for the legend.
        colour: number of its colour and mark.
        points: its figures against a number.
    """

    name: str
    colour: int
    points: Sequence[tuple[float, Spread]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar.

    Args:
        name: beside it.
        colour: number of its colour; None is grey, for what is nobody's.
        figure: how long it is; None leaves its place empty.
        text: what is written at its end.
        beyond: whether an arrow says that it goes on, to the right (1) or to the left (-1); a figure that was still
            growing has one to the right without it.
    """

    name: str
    colour: int | None
    figure: Spread | None
    text: str
    beyond: int = 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot.

    Args:
        name: for a file.
        title: what it shows, which is also read out to those who do not see it.
        svg: the picture.
    """

    name: str
    title: str
    svg: str


@mpl.rc_context(_STYLE)
def lines(
    name: str, title: str, labels: tuple[str, str], series: Sequence[Series], *, log: bool = False
) -> Plot | None:
    """Lines against a number of nodes, with the range of each figure; None if a number is out of bounds.

    Args:
        name: for a file.
        title: what it shows.
        labels: of the axes: quantity and unit.
        series: the lines.
        log: whether an axis may be logarithmic, and say so; it is where its numbers differ by ten times or more and
            are above 0. Every other one of figures begins at 0.
    """
    figures = [figure for line in series for _, figure in line.points]
    at = sorted({x for line in series for x, _ in line.points})
    if not figures or not _drawable(figures, at):
        return None
    figure, axes = _canvas(_LINES_HEIGHT_IN)
    for line in series:
        _line(axes, line)
    low, high = min(it.low for it in figures), max(it.high for it in figures)
    log_x, log_y = log and _is_wide(at[0], at[-1]), log and _is_wide(low, high)
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, low))
    axes.set_xlabel(labels[0] + _LOG * log_x)
    axes.set_title(labels[1] + _LOG * log_y)
    axes.grid(axis="y")
    _name(figure, axes)
    _number(figure, axes.yaxis, log=log_y)
    _number_sizes(figure, axes, at)
    return Plot(name, title, _svg(figure, name))


def _line(axes: Axes, line: Series) -> None:
    points = sorted(line.points, key=lambda point: point[0])
    below = [it.median - it.low for _, it in points]
    above = [it.high - it.median for _, it in points]
    axes.errorbar(
        [x for x, _ in points],
        [it.median for _, it in points],
        yerr=(below, above),
        color=_SERIES[line.colour % COLOURS],
        marker=_MARKS[line.colour % COLOURS],
        markersize=4.5,
        linewidth=1.6,
        capsize=2.5,
        label=line.name,
    )


def _name(figure: Figure, axes: Axes) -> None:
    """A legend below, in as many columns as have room."""
    marks, names = axes.get_legend_handles_labels()
    for columns in range(min(_COLUMNS_MOST, len(names)), 0, -1):
        legend = figure.legend(marks, names, loc="outside lower center", ncols=columns)
        _lay_out(figure)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


@mpl.rc_context(_STYLE)
def bars(name: str, title: str, label: str, rows: Sequence[Bar], *, log: bool = False) -> Plot | None:
    """Horizontal bars with the range of each figure; None if there is none, or a number is out of bounds.

    Args:
        name: for a file.
        title: what it shows.
        label: of the axis: quantity and unit.
        rows: from the top.
        log: whether the axis is logarithmic, and says so, if all figures allow it; bars then begin at 1.
    """
    figures = [row.figure for row in rows if row.figure is not None]
    if not figures or not _drawable(figures, [0.0]):
        return None
    figure, axes = _canvas(_ROW_IN * len(rows) + _EDGES_IN)
    log = log and all(it.low > 0 for it in figures)
    start = 1.0 if log else 0.0
    for place, row in enumerate(rows):
        if row.figure is not None:
            _bar(axes, place, row, row.figure, start)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if log:
        axes.set_xscale("log")
        axes.axvline(start, color=_INK, linewidth=0.8)
    axes.margins(x=_MARGIN)
    if not log and all(it.low >= 0 for it in figures):  # nothing is less than nothing, also where all is
        axes.set_xlim(0.0, (1 + _MARGIN) * max(it.high for it in figures) or 1.0)
    axes.set_xlabel(label + _LOG * log, loc="right")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    _number(figure, axes.xaxis, log=log)
    return Plot(name, title, _svg(figure, name))


def _bar(axes: Axes, place: int, row: Bar, found: Spread, start: float) -> None:
    colour = _EVEN if row.colour is None else _SERIES[row.colour % COLOURS]
    axes.barh(place, found.median - start, left=start, height=0.62, color=colour)
    if found.width:
        axes.plot([found.low, found.high], [place, place], color=_INK, linewidth=1.2, marker="|", markersize=6)
    beyond = row.beyond or int(found.is_open)
    if beyond:
        axes.plot([found.median], [place], color=colour, marker=">" if beyond > 0 else "<", markersize=11)
    axes.annotate(
        row.text,
        (max(found.high, start), place),
        xytext=(11 if beyond else 6, 0),
        textcoords="offset points",
        va="center",
        color=_INK,
        annotation_clip=False,
    )


def _is_wide(low: float, high: float) -> bool:
    """Whether numbers differ so much that a logarithmic axis shows more of them."""
    return low > 0 and high >= _LOG_FROM * low


def _number(figure: Figure, axis: Axis, *, log: bool) -> None:
    """Write as many round numbers along an axis as have room."""
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for locator in _round_ones(axis) if log else _even_ones():
        axis.set_major_locator(locator)
        _lay_out(figure)
        if not _touch(axis):
            return


def _even_ones() -> Iterator[MaxNLocator]:
    """Round steps, then fewer and fewer of them."""
    yield from (MaxNLocator(most, steps=[1, 2, 5, 10]) for most in range(_NUMBERS_MOST, 0, -1))


def _round_ones(axis: Axis) -> Iterator[FixedLocator]:
    """1, 2 and 5 with their tens, powers of ten alone, then fewer and fewer of them."""
    low, high = axis.get_view_interval()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tries = [[(lead, power) for power in powers for lead in (1, 2, 5)]]
    tries += [[(1, power) for power in powers if power % step == 0] for step in range(1, len(powers))]
    for found in tries:
        numbers = [number for lead, power in found if low <= (number := float(f"{lead}e{power}")) <= high]
        if numbers and len(numbers) <= 2 * _NUMBERS_MOST:
            yield FixedLocator(numbers)


def _number_sizes(figure: Figure, axes: Axes, at: Sequence[float]) -> None:
    """Mark the numbers of nodes, and write as many of them as have room, the least and the most before others."""
    axes.xaxis.set_minor_locator(NullLocator())
    sizes = at[:: math.ceil(len(at) / _SIZES_MOST)]
    names = [f"{x:,g}" for x in sizes]
    axes.set_xticks(sizes, names)
    _lay_out(figure)
    ends = [(box.x0, box.x1) for box in (it.get_window_extent() for it in axes.get_xticklabels())]
    free = -math.inf
    for place, (left, right) in enumerate(ends):
        if left < free or (place < len(ends) - 1 and right + _GAP_PX > ends[-1][0]):
            names[place] = ""
        else:
            free = right + _GAP_PX
    axes.set_xticks(sizes, names)


def _touch(axis: Axis) -> bool:
    """Whether two numbers of an axis stand too close to each other."""
    boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
    ends = sorted((box.x0, box.x1) if isinstance(axis, XAxis) else (box.y0, box.y1) for box in boxes)
    return any(one[1] + _GAP_PX > other[0] for one, other in pairwise(ends))


def _drawable(figures: Sequence[Spread], at: Sequence[float]) -> bool:
    return all(abs(value) < _BOUND for figure in figures for value in figure.values) and all(
        abs(x) < _BOUND for x in at
    )


def _canvas(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _lay_out(figure: Figure) -> None:
    """Give everything its place, so that it can be measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks, and of names that leave no room
        figure.draw_without_rendering()


def _svg(figure: Figure, salt: str) -> str:
    """The picture, without what only a file of its own needs."""
    out = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the machine's font lacks: the reader's has them
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would reach the whole page
    text = re.sub(r"font-family: [^;]*;", "font-family: system-ui, sans-serif;", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # several pictures in one page would share these names
    text = re.sub(
        r'(<svg [^>]*?)width="[^"]*" ?', r"\1", re.sub(r'(<svg [^>]*?)height="[^"]*" ?', r"\1", text, count=1), count=1
    )
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def standalone(plot: Plot, style: str) -> str:
    """A file of its own: with the colours, for dark and light."""
    head, tail = plot.svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>\n<style>{style}</style>{tail}\n'
