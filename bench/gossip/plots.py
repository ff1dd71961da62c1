"""How the costs and times of gossip grow with the number of nodes, as plots."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

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
    whole = found.grown
    sizes = [it.size for it in whole]
    key.plot(sizes, [it.calm.joined.median for it in whole], "s-", label="a join, all")
    dead.plot(sizes, [it.verdicts.healthy / it.verdicts.hours for it in whole], "o-", label="healthy, a node-hour")
    dead.plot(sizes, [it.verdicts.stalled / it.verdicts.stalls for it in whole], "o-", label="stalled, a stall")
    sent.plot(sizes, [it.calm.wave.bytes for it in whole], "o-", label="a wave of pulls, B/s")
    sent.plot(sizes, [it.calm.idle.bytes for it in whole], "o-", label="idle, B/s")
    sent.plot(sizes, [it.calm.wave.packets for it in whole], "s-", label="a wave of pulls, packets/s")
    sent.plot(sizes, [it.calm.idle.packets for it in whole], "s-", label="idle, packets/s")
    sent.set_yscale("log")
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
        axes.set(title=title, xlabel="nodes", xscale="log")
        if axes is not sent:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(target)
    pyplot.close(figure)


def _both(axes: Axes, found: Found, label: str, value: Callable[[Grown | Modelled], float]) -> None:
    """The results of nodes and of the model, in one colour."""
    (line,) = axes.plot([it.size for it in found.grown], [value(it) for it in found.grown], "o-", label=label)
    axes.plot(
        [it.size for it in found.modelled],
        [value(it) for it in found.modelled],
        "x--",
        color=line.get_color(),
        label=f"{label}, model",
    )


def _extended(axes: Axes, found: Found, value: Callable[[Calm | Extrapolated], float]) -> None:
    """What was counted, and what follows from it."""
    counted = [(it.size, value(it.calm)) for it in found.grown]
    (line,) = axes.plot(*zip(*counted, strict=True), "o-", label="counted")
    beyond = [*counted[-1:], *((it.size, value(it)) for it in found.extrapolated)]
    if found.extrapolated:
        axes.plot(*zip(*beyond, strict=True), "x--", color=line.get_color(), label="extrapolated")
