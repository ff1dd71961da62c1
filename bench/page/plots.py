"""Plots as SVG, whose colours follow the page: dark or light as the reader's screen is."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .figures import Spread

COLOURS: Final = 8
"""How many colours there are for series; the page defines each for dark and light, as `--series-0` and so on."""

_INK, _FAINT = "#010101", "#020202"
_SERIES: Final = [f"#03030{number}" for number in range(COLOURS)]
_VARIABLES: Final = {_INK: "--ink", _FAINT: "--faint", **{it: f"--series-{n}" for n, it in enumerate(_SERIES)}}
"""Colours as they are drawn, and the variable of the page that stands in their place afterwards."""

_MARKS: Final = "osDd^vPX"
_BOUND: Final = 1e12
"""Beyond this number nothing is drawn: no figure of a bench comes near it."""

_TICKS_MOST: Final = 8
"""How many numbers an axis has at most."""

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
        colour: number of its colour.
        figure: how long it is; None leaves its place empty.
        text: what is written at its end.
    """

    name: str
    colour: int
    figure: Spread | None
    text: str


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
        labels: of the axes.
        series: the lines.
        log: whether both axes are logarithmic, if all figures allow it.
    """
    figures = [figure for line in series for _, figure in line.points]
    at = [x for line in series for x, _ in line.points]
    if not figures or not _drawable(figures, at):
        return None
    figure, axes = _canvas(_LINES_HEIGHT_IN)
    log = log and min(at) > 0 and all(it.low > 0 for it in figures)
    for line in series:
        points = sorted(line.points, key=lambda point: point[0])
        medians = [it.median for _, it in points]
        below = [it.median - it.low for _, it in points]
        above = [it.high - it.median for _, it in points]
        axes.errorbar(
            [x for x, _ in points],
            medians,
            yerr=(below, above),
            color=_SERIES[line.colour % COLOURS],
            marker=_MARKS[line.colour % COLOURS],
            markersize=4.5,
            linewidth=1.6,
            capsize=2.5,
            label=line.name,
        )
    if log:
        _make_log(axes, "x")
        _make_log(axes, "y")
    else:
        axes.set_ylim(bottom=min(0.0, *(it.low for it in figures)))
        axes.set_xticks(sorted(set(at)), [f"{x:g}" for x in sorted(set(at))])
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.grid(axis="y")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(series)), frameon=False
    )
    return Plot(name, title, _svg(figure, name))


@mpl.rc_context(_STYLE)
def bars(name: str, title: str, label: str, rows: Sequence[Bar], *, log: bool = False) -> Plot | None:
    """Horizontal bars with the range of each figure; None if there is none, or a number is out of bounds.

    Args:
        name: for a file.
        title: what it shows.
        label: of the axis.
        rows: from the top.
        log: whether the axis is logarithmic, if all figures allow it; bars then begin at 1.
    """
    figures = [row.figure for row in rows if row.figure is not None]
    if not figures or not _drawable(figures, [0.0]):
        return None
    figure, axes = _canvas(_ROW_IN * len(rows) + _EDGES_IN)
    log = log and all(it.low > 0 for it in figures)
    for place, row in enumerate(rows):
        if row.figure is None:
            continue
        found = row.figure
        start = 1.0 if log else 0.0
        axes.barh(place, found.median - start, left=start, height=0.62, color=_SERIES[row.colour % COLOURS])
        if found.width:
            axes.plot([found.low, found.high], [place, place], color=_INK, linewidth=1.2, marker="|", markersize=6)
        axes.annotate(
            row.text,
            (max(found.high, start), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if log:
        _make_log(axes, "x")
    axes.margins(x=0.16)
    axes.set_xlabel(label)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return Plot(name, title, _svg(figure, name))


def _make_log(axes: Axes, which: str) -> None:
    """A logarithmic axis whose numbers are written out."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=_TICKS_MOST))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _drawable(figures: Sequence[Spread], at: Sequence[float]) -> bool:
    return all(abs(value) < _BOUND for figure in figures for value in figure.values) and all(
        abs(x) < _BOUND for x in at
    )


def _canvas(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


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
