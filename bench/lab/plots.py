"""Where the bytes came from, over time, as plots."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

from ..report import MIB
from .results import Found
from .settings import Settings

mpl.use("Agg")

_COLOURS: Final = {"upstream": "tab:red", "members": "tab:blue", "proxy": "tab:green"}


def draw(found: Sequence[Found], settings: Settings, target: Path) -> None:
    """The first run of each mode, in one file, whose suffix gives the format."""
    runs = [run for run in found if run.repeat == 0]
    figure, places = pyplot.subplots(
        1, len(runs), figsize=(7 * len(runs), 5), layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for axes, run in zip(places[0], runs, strict=True):
        _draw(axes, run, settings)
    figure.suptitle(f"{settings.scenario}, {settings.nodes} nodes: what a node has received; mean, least and most")
    figure.savefig(target)
    pyplot.close(figure)


def _draw(axes: Axes, run: Found, settings: Settings) -> None:
    at = [sample.at for sample in run.samples]
    for source in run.samples[0].received:
        rows = [[value / MIB for value in sample.received[source]] for sample in run.samples]
        colour = _COLOURS[source]
        axes.plot(at, [statistics.fmean(row) for row in rows], "o-", markersize=3, color=colour, label=f"from {source}")
        axes.fill_between(at, [min(row) for row in rows], [max(row) for row in rows], color=colour, alpha=0.15)
    axes.axhline(settings.image / MIB, linestyle="--", color="grey", label="the image")
    axes.axvline(settings.ideal_s, linestyle=":", color="grey", label="ideal time")
    axes.set(title=run.mode, xlabel="s", ylabel="MiB per node")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
