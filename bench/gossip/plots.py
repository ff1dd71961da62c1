"""How the costs and times of gossip grow with the number of nodes, as plots."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.typing import ColorType

from .results import Calm, Extrapolated, Found, Grown, Modelled

mpl.use("Agg")


def draw(found: Found, target: Path) -> None:
    """Six plots in one file, whose suffix gives the format; the model and extrapolations are dashed."""
    figure, places = pyplot.subplots(2, 3, figsize=(15, 8), layout="constrained")
    (killed, key, dead), (sent, memory, cpu) = places
    _both(killed, found, "lan", lambda it: it.killed["lan"].median)
    _both(killed, found, "fast", lambda it: it.killed["fast"].median)
    _both(key, found, "half of the others", lambda it: it.keys.quantile(0.5))
    _both(key, found, "99 % of the others", lambda it: it.keys.quantile(0.99))
    _both(key, found, "all, median", lambda it: it.keys.everywhere.median)
    lines: Sequence[tuple[Axes, str, str, Callable[[Grown], float]]] = (
        (key, "s-", "a join, all", lambda it: it.calm.joined.median),
        (dead, "o-", "healthy, a node-hour", lambda it: it.verdicts.healthy / it.verdicts.hours),
        (dead, "o-", "stalled, a stall", lambda it: it.verdicts.stalled / it.verdicts.stalls),
        (sent, "o-", "a wave of pulls, B/s", lambda it: it.calm.wave.bytes),
        (sent, "o-", "idle, B/s", lambda it: it.calm.idle.bytes),
        (sent, "s-", "a wave of pulls, packets/s", lambda it: it.calm.wave.packets),
        (sent, "s-", "idle, packets/s", lambda it: it.calm.idle.packets),
    )
    for axes, mark, label, value in lines:
        _plot(axes, [(it.size, value(it)) for it in found.grown], mark, label)
    _extended(memory, found, lambda it: it.node_bytes / 2**20)
    _extended(cpu, found, lambda it: 100 * it.cpu_share)
    for axes, title in (
        (killed, "Killed, until all believe it: s, median"),
        (key, "A key or a join, until others see it: s"),
        (dead, "Declared dead: 10 % loss, a quarter stalls 5 s"),
        (sent, "What a node sends, sealed"),
        (memory, "Tables of a node, empty filters: MiB"),
        (cpu, "CPU of an idle node: % of a core"),
    ):
        if not axes.lines:  # an axis of logarithms needs something on it
            axes.remove()
            continue
        axes.set(title=title, xlabel="nodes", xscale="log")
        if axes is sent:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(target)
    pyplot.close(figure)


def _plot(
    axes: Axes, points: Sequence[tuple[int, float]], mark: str, label: str, colour: ColorType | None = None
) -> ColorType | None:
    """A line through some points, unless there is none; return its colour."""
    if not points:
        return colour
    (line,) = axes.plot(*zip(*points, strict=True), mark, label=label, color=colour)
    return line.get_color()


def _both(axes: Axes, found: Found, label: str, value: Callable[[Grown | Modelled], float]) -> None:
    """The results of nodes and of the model, in one colour."""
    colour = _plot(axes, [(it.size, value(it)) for it in found.grown], "o-", label)
    _plot(axes, [(it.size, value(it)) for it in found.modelled], "x--", f"{label}, model", colour)


def _extended(axes: Axes, found: Found, value: Callable[[Calm | Extrapolated], float]) -> None:
    """What was counted, and what follows from it."""
    counted = [(it.size, value(it.calm)) for it in found.grown]
    colour = _plot(axes, counted, "o-", "counted")
    if found.extrapolated:
        beyond = [(it.size, value(it)) for it in found.extrapolated]
        _plot(axes, [*counted[-1:], *beyond], "x--", "extrapolated", colour)
