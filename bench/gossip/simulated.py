"""`python -m bench gossip --sim`: how gossip grows with the cluster, by simulation.

Up to some thousand nodes the product's own nodes run on a simulated network, each with its whole table. They are made
acquainted at once instead of joining one by one, which would take longer than what is to be measured. Beyond, a table
each does not fit this machine, and a model takes over (module `model`); it runs at the smaller sizes too, beside the
real nodes, so that one can see how far to believe it.
"""

import importlib.util
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gossip.core.config import GossipConfig, fast, lan
from gossip.core.members import State
from gossip.core.membership import record_message
from gossip.sim.cluster import Cluster, keys_of
from gossip.sim.network import CALM, Weather

from ..report import BenchError, Cell, Goal, Report, Samples, Table
from . import model

FULL_MAX: Final = 2000
_HEADER_BYTES: Final = 28  # IPv4 and UDP, so that the figures are those of the IP layer
_IDLE_S: Final = 30.0
_STEP_S: Final = 0.005
_POLL_S: Final = 0.05
_WITHIN_S: Final = 120.0
_WAVE_S, _WAVE_NODE_S, _WAVE_PER_S = 60.0, 6000, 12 / 60  # a minute, or so many seconds of nodes, if that is shorter
_STALL_S, _STALL_ROUNDS = 5.0, 6
_KEY: Final = bytes(range(32))


@dataclass(slots=True)
class Curve:
    """What was found at one size; times in s, rates per node and second."""

    size: int
    modelled: bool = False
    bytes_idle: float | None = None
    packets_idle: float | None = None
    bytes_wave: float | None = None
    detected: dict[str, Samples] = field(default_factory=dict)
    key: list[float] = field(default_factory=list)
    key_all: Samples = field(default_factory=Samples)
    join: Samples = field(default_factory=Samples)
    healthy_dead: float | None = None
    stalled_dead: float | None = None
    cpu_us: float | None = None
    table_bytes: float | None = None

    def key_quantile(self, share: float) -> float | None:
        """Within what time that share of all members saw a key."""
        times = sorted(self.key)
        return times[min(len(times) - 1, int(share * len(times)))] if times else None


def measure(console: Console, sizes: Sequence[int], plot: Path | None) -> Report:
    """Run it all; some minutes for 1,000 nodes.

    Raises:
        BenchError: a plot is wanted, and matplotlib is not there.
    """
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise BenchError("--plot needs matplotlib: pip install 'skvaller[bench]'")
    curves: list[Curve] = []
    with console.status("simulating") as status:
        for size in sizes:
            tell = _teller(status.update, f"{size} nodes")
            if size <= FULL_MAX:
                curves.append(_full(size, tell))
            tell("by the model")
            curves.append(_modelled(size))
    if plot is not None:
        _draw(curves, plot)
    return Report("gossip-sim", _tables(curves), list(_goals(curves)))


def _teller(update: Callable[[str], None], prefix: str) -> Callable[[str], None]:
    return lambda what: update(f"{prefix}: {what}")


# The product's own nodes


def _full(size: int, tell: Callable[[str], None]) -> Curve:
    curve = Curve(size)
    repeats = max(3, min(10, 1000 // size))
    tell("getting acquainted")
    before = _rss_bytes()
    cluster = acquainted(size, lan(label="sim"), seed=1)
    curve.table_bytes = (_rss_bytes() - before) / size
    tell("idle")
    began, datagrams = time.process_time(), cluster.happened["datagrams"]
    curve.bytes_idle, curve.packets_idle = _traffic(cluster, _IDLE_S)
    curve.cpu_us = 1e6 * (time.process_time() - began) / max(1, cluster.happened["datagrams"] - datagrams)
    tell("keys")
    for number in range(repeats):
        _advertise(cluster, number, curve)
    tell("a wave of pulls")
    curve.bytes_wave = _wave(cluster)
    tell("joins")
    for number in range(repeats):
        curve.join.values.append(_join(cluster, f"j{number}"))
    tell("stalls")
    curve.healthy_dead, curve.stalled_dead = _stalls(cluster)
    for name, preset in (("lan", lan), ("fast", fast)):
        tell(f"kills, {name}")
        if name == "fast":
            cluster = acquainted(size, preset(label="sim"), seed=2)
            cluster.run(5.0)
        curve.detected[name] = Samples([_kill(cluster, f"n{number % (size - 1) + 1}") for number in range(repeats)])
    return curve


def acquainted(size: int, config: GossipConfig, seed: int) -> Cluster:
    """A sealed cluster in which everybody has just heard of everybody, and nobody has anything to tell."""
    cluster = Cluster(seed, config, keys=(_KEY,), checked=False)
    for number in range(size):
        cluster.start(f"n{number}")
    records = [record_message(node.me) for node in cluster.nodes]
    for node in cluster.nodes:
        node.merge([record for record in records if record.name != node.name], cluster.network.now, stranger=False)
        node._rumours.clear()
        node.events()
    cluster.run(10.0)
    return cluster


def _traffic(cluster: Cluster, duration_s: float) -> tuple[float, float]:
    """Bytes and packets per node and second."""
    before = cluster.happened.copy()
    cluster.run(duration_s)
    packets = cluster.happened["datagrams"] - before["datagrams"]
    sent = cluster.happened["bytes"] - before["bytes"] + cluster.happened["stream bytes"] - before["stream bytes"]
    share = duration_s * len(cluster.running)
    return (sent + packets * _HEADER_BYTES) / share, packets / share


def _advertise(cluster: Cluster, number: int, curve: Curve) -> None:
    (key,) = keys_of(number, 0, 1)
    nodes = cluster.nodes
    holder = nodes[number * 7 % len(nodes)]
    unseen = [node for node in nodes if node is not holder]
    at = cluster.network.now
    cluster.advertise(holder.name, [key])
    while unseen and cluster.network.now - at < _WITHIN_S:
        cluster.run(_STEP_S)
        still = [node for node in unseen if not node.holders(key)]
        curve.key += [cluster.network.now - at] * (len(unseen) - len(still))
        unseen = still
    curve.key_all.values.append(cluster.network.now - at)
    cluster.run(3.0)


def _wave(cluster: Cluster) -> float:
    """All nodes pull images: each has a new blob every five seconds, on average. Returns bytes per node and second."""
    rng, size = random.Random(5), len(cluster.running)
    lasts_s = min(_WAVE_S, _WAVE_NODE_S / size)
    names = [rng.choice(cluster.running).name for _ in range(round(lasts_s * size * _WAVE_PER_S))]
    before, at = cluster.happened.copy(), cluster.network.now
    for number, name in enumerate(names):
        cluster.run(max(0.0, at + lasts_s * number / len(names) - cluster.network.now))
        cluster.advertise(name, keys_of(_number_of(name), number, 1))
    cluster.run(max(0.0, at + lasts_s - cluster.network.now))
    packets = cluster.happened["datagrams"] - before["datagrams"]
    sent = cluster.happened["bytes"] - before["bytes"] + cluster.happened["stream bytes"] - before["stream bytes"]
    return (sent + packets * _HEADER_BYTES) / lasts_s / size


def _number_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big") & 0xFFFFFFFF


def _join(cluster: Cluster, name: str) -> float:
    others = cluster.nodes
    at = cluster.network.now
    cluster.start(name, [others[1].name])
    took_s = cluster.run_until(lambda: all(_state(node, name) is State.ALIVE for node in others), _WITHIN_S, _STEP_S)
    cluster.run(3.0)
    cluster.crash(name)
    del cluster.hosts[name]
    cluster.run(0.1)
    assert took_s is not None, f"{name} is not known to all after {cluster.network.now - at} s"
    return took_s


def _stalls(cluster: Cluster) -> tuple[float, float]:
    """A quarter of the nodes stand still for 5 s in turn, with a tenth lost: verdicts on the others, and on those."""
    cluster.run(60.0)
    cluster.network.weather = Weather(loss=0.1)
    names = [node.name for node in cluster.nodes]
    healthy = stalled = 0
    for _ in range(max(1, min(_STALL_ROUNDS, 600 // len(names)))):
        chosen = set(cluster.rng.sample(names, max(1, len(names) // 4)))
        for name in chosen:
            cluster.pause(name, _STALL_S)
        before = len(cluster.failures)
        cluster.run(_STALL_S + 1.0)
        found = {name for _, name in cluster.failures[before:] if name in names}
        healthy += len(found - chosen)
        stalled += len(found & chosen)
    cluster.network.weather = CALM
    cluster.run(60.0)
    return healthy, stalled


def _kill(cluster: Cluster, name: str) -> float:
    cluster.run(2.0 + cluster.rng.random())
    cluster.crash(name)
    nodes = cluster.nodes
    took_s = cluster.run_until(lambda: all(_state(node, name) is State.DEAD for node in nodes), _WITHIN_S, _POLL_S)
    assert took_s is not None, f"{name} is not known dead"
    cluster.start(name, [nodes[0].name])
    cluster.run(3.0)
    return took_s


def _state(node: Any, name: str) -> State | None:
    member = node.member(name)
    return member.state if member is not None else None


def _rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# The model


def _modelled(size: int) -> Curve:
    curve = Curve(size, modelled=True)
    runs = max(5, min(200, 200_000 // size))
    rng = random.Random(size)
    for _ in range(runs):
        times = model.spread(lan(), size, rng)
        curve.key += times
        curve.key_all.values.append(max(times))
    curve.detected = {
        name: Samples([model.detect(preset(), size, rng) for _ in range(200)])
        for name, preset in (("lan", lan), ("fast", fast))
    }
    return curve


# What is shown


def _tables(curves: list[Curve]) -> list[Table]:
    rows: list[dict[str, Cell]] = [
        {
            "size": float(curve.size),
            "by": "model" if curve.modelled else "nodes",
            "lan": curve.detected["lan"],
            "fast": curve.detected["fast"],
            "p50": curve.key_quantile(0.5),
            "p99": curve.key_quantile(0.99),
            "all": curve.key_all,
            "join": curve.join if curve.join.values else None,
        }
        for curve in curves
    ]
    known = Table(
        "How soon everybody knows, s: median and range",
        {
            "size": "nodes",
            "by": "by",
            "lan": "killed, lan",
            "fast": "killed, fast",
            "p50": "key p50",
            "p99": "key p99",
            "all": "key, all",
            "join": "join",
        },
        {"size": ".0f", "lan": ".1f", "fast": ".1f", "p50": ".3f", "p99": ".3f", "all": ".2f", "join": ".2f"},
        rows,
    )
    full = [curve for curve in curves if not curve.modelled]
    costs: list[dict[str, Cell]] = [
        {
            "size": float(curve.size),
            "bytes": curve.bytes_idle,
            "packets": curve.packets_idle,
            "wave": curve.bytes_wave,
            "healthy": curve.healthy_dead,
            "stalled": curve.stalled_dead,
            "cpu": (curve.cpu_us or 0) * 2 * (curve.packets_idle or 0) / 1e4,
            "memory": (curve.table_bytes or 0) / 2**20,
        }
        for curve in full
    ]
    price = Table(
        "What it costs a node, sealed. CPU % of a core = packets/s sent and received x measured µs a packet;\n"
        "deaths: verdicts with 10 % loss and a quarter of the nodes standing still for 5 s in turn",
        {
            "size": "nodes",
            "bytes": "idle B/s",
            "packets": "packets/s",
            "wave": "B/s, 12 blobs a node and min",
            "healthy": "deaths of healthy",
            "stalled": "of stalled",
            "cpu": "CPU %",
            "memory": "MiB of tables",
        },
        {
            "size": ".0f",
            "bytes": ".0f",
            "packets": ".2f",
            "wave": ".0f",
            "healthy": ".0f",
            "stalled": ".0f",
            "cpu": ".2f",
            "memory": ".2f",
        },
        costs,
    )
    return [known, price]


def _goals(curves: list[Curve]) -> Iterator[Goal]:
    for curve in curves:
        if curve.modelled:
            continue
        at = f"N = {curve.size}"
        if curve.bytes_idle is not None:
            yield Goal(f"idle bytes per second, sealed, {at}", 400, curve.bytes_idle, most=True)
        if (late := curve.key_quantile(0.99)) is not None and curve.size == 1000:
            yield Goal(f"key visible, p99, {at}, s", 0.3, late, most=True)
        if curve.size in _FAST_GOALS:
            goal = _FAST_GOALS[curve.size]
            yield Goal(f"killed to dead everywhere, fast, {at}, s", goal, curve.detected["fast"].median, most=True)
        if curve.healthy_dead is not None:
            yield Goal(f"healthy nodes declared dead, {at}", 0, curve.healthy_dead, most=True)


_FAST_GOALS: Final = {10: 2.8, 100: 4.5}


def _draw(curves: list[Curve], target: Path) -> None:
    """Four pictures against the number of nodes; the model dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    full, modelled = [c for c in curves if not c.modelled], [c for c in curves if c.modelled]
    figure, ((killed, key), (cost, dead)) = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for found, style in ((full, "o-"), (modelled, "x--")):
        sizes, by = [curve.size for curve in found], " (model)" if found is modelled else ""
        for preset in ("lan", "fast"):
            medians = [curve.detected[preset].median for curve in found]
            killed.plot(sizes, medians, style, label=f"{preset}{by}")
        for share in (0.5, 0.99):
            times = [curve.key_quantile(share) for curve in found]
            key.plot(sizes, times, style, label=f"{share:.0%} of members{by}")
    sizes = [curve.size for curve in full]
    cost.plot(sizes, [curve.bytes_idle for curve in full], "o-", label="idle, sealed")
    cost.plot(sizes, [curve.bytes_wave for curve in full], "o-", label="12 blobs a node and minute")
    dead.plot(sizes, [curve.healthy_dead for curve in full], "o-", label="healthy nodes")
    dead.plot(sizes, [curve.stalled_dead for curve in full], "o-", label="nodes stalled for 5 s")
    for axes, title in (
        (killed, "killed, until all know: s"),
        (key, "a key, until members see it: s"),
        (cost, "bytes per second and node"),
        (dead, "declared dead: 10 % loss, a quarter stalls"),
    ):
        axes.set(title=title, xlabel="nodes", xscale="log")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(target)
    pyplot.close(figure)
