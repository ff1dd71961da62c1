"""The plots, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib import pyplot

from .curves import Plot

mpl.use("Agg")

_COLUMNS: Final = 3


def draw(plots: Sequence[Plot], target: Path) -> None:
    """All in one file, whose suffix gives the format; what is computed beside simulated figures is dashed."""
    rows = -(-len(plots) // _COLUMNS)
    figure, places = pyplot.subplots(
        rows, _COLUMNS, figsize=(5 * _COLUMNS, 4 * rows), layout="constrained", squeeze=False
    )
    for axes, plot in zip([axes for row in places for axes in row], plots, strict=False):
        for series in plot.series:
            axes.plot(series.x, series.y, "x--" if series.dashed else "o-", markersize=4, label=series.name)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label, xscale=plot.x_scale, yscale=plot.y_scale)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    for axes in [axes for row in places for axes in row][len(plots) :]:
        axes.remove()
    figure.savefig(target)
    pyplot.close(figure)
