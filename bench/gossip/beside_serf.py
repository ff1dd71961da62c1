"""`python -m bench gossip`: how soon real processes know of a change, beside serf, and what that costs.

All clusters run on one machine, in one network namespace, one after the other; each repeat begins with another kind.
Both kinds print what they see line by line. The lines are timed as they arrive, so both are measured in the same way.
"""

import random
import secrets
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from rich.console import Console
from rich.status import Status

from testbed.network import Namespace

from ..machine import need, need_root
from ..report import MIB, OURS, BenchError, Cell, Goal, Report, Samples, Table
from ..rounds import turned
from .kinds import ours, serf
from .namespace import lose, sent
from .processes import Agent, Cluster

STOPS_S: Final = (2, 5, 15)
_KEY: Final = bytes(range(32))
_START_S: Final = 60.0
"""How long a cluster may take to form, and a new node to be seen, seconds."""

_DEAD_S: Final = 90.0
"""How long all may take to believe a node dead or gone, seconds."""

_BACK_S: Final = 60.0
"""How long all may take to see a node again, or a key, seconds."""

_CALM_S: Final = 3.0
"""Pause before something is measured, so that what happened before is over, seconds."""

_LINGER_S: Final = 3.0
"""How long late verdicts are waited for after a node has come back, seconds."""

_LOSS: Final = 0.1
"""Share of datagrams that is lost while keys are advertised the second time."""

_FAST_GOAL: Final = (10, 2.8)
"""With this number of nodes and the preset `fast`, the median time until a killed node is dead everywhere, seconds."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to measure.

    Args:
        repeats: clusters of each kind and size.
        leaves: graceful leaves in each of those.
        kills: nodes killed in each of those, one after the other.
        keys: keys advertised in each of ours, with and without loss.
        idle_s: for how long idle clusters are watched.
        stops: whether nodes are suspended for a while, too, which takes most of the time.
    """

    repeats: int = 3
    leaves: int = 3
    kills: int = 3
    keys: int = 20
    idle_s: float = 15.0
    stops: bool = True


class Figures:
    """Samples by what was measured, how many nodes, and which kind."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int, str], Samples] = {}

    def add(self, what: str, size: int, kind: str, *values: float) -> None:
        """Take some more samples."""
        self._samples.setdefault((what, size, kind), Samples()).values.extend(values)

    def get(self, what: str, size: int, kind: str) -> Samples | None:
        """Those of one thing, if it was measured."""
        return self._samples.get((what, size, kind))

    def table(self, title: str, kinds: Sequence[str], columns: dict[str, tuple[str, str]]) -> Table:
        """A row per size and kind that has any of these."""
        sizes = sorted({size for _, size, _ in self._samples})
        rows: list[dict[str, Cell]] = []
        for size in sizes:
            for kind in kinds:
                cells: dict[str, Cell] = {what: _cell(self.get(what, size, kind)) for what in columns}
                if any(cell is not None for cell in cells.values()):
                    rows.append({"size": float(size), "kind": kind, **cells})
        headings = {"size": "nodes", "kind": "kind", **{what: heading for what, (heading, _) in columns.items()}}
        return Table(title, headings, {"size": ".0f", **{what: spec for what, (_, spec) in columns.items()}}, rows)


def measure(console: Console, sizes: Sequence[int], amount: Amount) -> Report:
    """Run it all.

    Raises:
        BenchError: serf or root are missing, or a cluster does not do what it should.
    """
    need_root("gossip")
    need(serf="serf", ip="iproute2", nft="nftables")
    figures = Figures()
    whole, idle = (serf(), ours(), ours("fast")), (serf(_KEY), ours(key=_KEY))
    with console.status("making a namespace") as status, Namespace("gossip") as namespace:
        for repeat in range(amount.repeats):
            for size in sizes:
                for kind in turned([*whole, *idle], repeat):
                    progress = f"{kind.name}, {size} nodes, repeat {repeat + 1} of {amount.repeats}"
                    status.update(progress)
                    with Cluster(kind, namespace.name) as cluster:
                        trial = Trial(cluster, namespace, size, figures, partial(_tell, status, progress))
                        trial.run(amount, idle_only=kind in idle)
    return _report(figures, sizes, [kind.name for kind in (*whole, *idle)], amount)


@dataclass
class Trial:
    """One cluster's life."""

    cluster: Cluster
    namespace: Namespace
    size: int
    figures: Figures
    say: Callable[[str], None]

    def run(self, amount: Amount, *, idle_only: bool) -> None:
        """Start it, watch it idle, then join, leave, kill and stop nodes, and advertise keys."""
        self.say("starting")
        started_at = time.monotonic()
        for _ in range(self.size):
            self.cluster.start()
        formed = self.cluster.until(self.cluster.whole, _START_S, "all see all")
        self._add("formed", formed - started_at)
        self.say("idle")
        self._idle(amount.idle_s)
        if idle_only:
            return
        self.say("joining and leaving")
        for number in range(amount.leaves):
            self._join_and_leave(first=number == 0)
        self.say("killing")
        for number in range(amount.kills):
            self._kill(f"n{self.size - number % (self.size - 1)}")
        if self.cluster.kind.name.startswith(OURS):
            self.say("advertising keys")
            self._keys("key", amount.keys, 0)
            self._keys("key, loss", amount.keys, _LOSS)
        if amount.stops:
            for stop_s in STOPS_S:
                self.say(f"stopping one for {stop_s} s")
                self._stop(stop_s)

    def _add(self, what: str, *values: float) -> None:
        self.figures.add(what, self.size, self.cluster.kind.name, *values)

    def _idle(self, duration_s: float) -> None:
        time.sleep(_CALM_S)
        agents = list(self.cluster.agents.values())
        cpu_s, before, at = [agent.usage().cpu_s for agent in agents], sent(self.namespace), time.monotonic()
        time.sleep(duration_s)
        took_s = time.monotonic() - at
        octets, packets = (after - early for after, early in zip(sent(self.namespace), before, strict=True))
        uses = [agent.usage() for agent in agents]
        self._add("bytes", octets / took_s / self.size)
        self._add("packets", packets / took_s / self.size)
        self._add(
            "cpu", 100 * statistics.mean(use.cpu_s - early for use, early in zip(uses, cpu_s, strict=True)) / took_s
        )
        self._add("rss", statistics.median(use.rss_bytes for use in uses) / MIB)

    def _join_and_leave(self, *, first: bool) -> None:
        name = f"n{self.size + 1}"
        agent = self.cluster.start(name)
        seen = self.cluster.until(self.cluster.whole, _START_S, "all see the new one")
        up_at = agent.since(agent.started_at, "up", "")
        self._add("join, from exec", seen - agent.started_at)
        self._add("join", seen - (up_at or agent.started_at))
        time.sleep(_CALM_S)
        at = time.monotonic()
        leave = self.cluster.kind.leave
        if isinstance(leave, str):
            agent.order(leave)
        else:
            agent.process.send_signal(leave)
        others = self.cluster.others(name)
        gone = self.cluster.until(
            lambda: all(other.view.get(name) in ("left", "failed") for other in others), _DEAD_S, f"{name} is gone"
        )
        agent.process.wait()
        time.sleep(_CALM_S if first else 1.0)
        self._add("leave", gone - at)
        self._add("leaves", 1)
        self._add("misread", sum(other.since(at, "failed", name) is not None for other in others))
        del self.cluster.agents[name]

    def _kill(self, victim: str) -> None:
        time.sleep(_CALM_S * random.random())
        others = self.cluster.others(victim)
        at = self.cluster.kill(victim)
        self.cluster.until(lambda: all(other.view.get(victim) == "failed" for other in others), _DEAD_S, "it is dead")
        times = [found for other in others if (found := other.since(at, "failed", victim)) is not None]
        self._add("kill, first", min(times) - at)
        self._add("kill", max(times) - at)
        self._count_healthy(at, victim)
        self.cluster.start(victim)
        self.cluster.until(self.cluster.whole, _BACK_S, "it is back")

    def _stop(self, stop_s: float) -> None:
        """Suspend one for a while: a long stall of its event loop, or of its machine, looks the same to the others."""
        time.sleep(_CALM_S)
        victim = f"n{max(2, self.size // 2)}"
        others = self.cluster.others(victim)
        at = self.cluster.signal(victim, signal.SIGSTOP)
        time.sleep(stop_s)
        awake = self.cluster.signal(victim, signal.SIGCONT)
        for _ in range(2):  # once more after a while, for verdicts that come late
            self.cluster.until(self.cluster.whole, _BACK_S, "all see all again")
            time.sleep(_LINGER_S)
        dead = sum(other.since(at, "failed", victim) is not None for other in others)
        late = [seen.at for agent in self.cluster.agents.values() for seen in agent.seen if seen.at >= awake]
        self._add(f"stop {stop_s:g} dead", dead)
        self._add(f"stop {stop_s:g} back", max(late, default=awake) - awake if dead else 0)
        self._count_healthy(at, victim)

    def _count_healthy(self, since: float, victim: str) -> None:
        """Deaths that any node saw of nodes that were healthy."""
        self._add(
            "healthy dead",
            sum(
                seen.word == "failed" and seen.what != victim and seen.at >= since
                for agent in self.cluster.agents.values()
                for seen in agent.seen
            ),
        )

    def _keys(self, what: str, count: int, loss: float) -> None:
        """Advertise keys at one node after the other; each time everybody else is to see it."""
        with self._losing(loss):
            agents = list(self.cluster.agents.values())
            for number in range(count):
                holder = agents[number % len(agents)]
                delays_s = self._advertise(holder, self.cluster.others(holder.name))
                self._add(what, *delays_s)
                self._add(f"{what}, all", max(delays_s))

    def _advertise(self, holder: Agent, others: list[Agent]) -> list[float]:
        """Let one node advertise a key; return how long it took the others to see that, s."""
        key = secrets.token_hex(32)
        for other in others:
            other.order(f"watch {key}")
        time.sleep(0.2)
        at = time.monotonic()
        holder.order(f"advertise {key}")

        def seen() -> list[float]:
            return [found - at for other in others if (found := other.since(at, "holds", key)) is not None]

        self.cluster.until(lambda: len(seen()) == len(others), _BACK_S, "all see the key")
        return seen()

    @contextmanager
    def _losing(self, share: float) -> Iterator[None]:
        lose(self.namespace, share)
        try:
            yield
        finally:
            lose(self.namespace, 0)


def _cell(samples: Samples | None) -> Cell:
    """One sample alone has no range."""
    return samples.median if samples is not None and len(samples.values) == 1 else samples


def _tell(status: Status, progress: str, what: str) -> None:
    status.update(f"{progress}: {what}")


def _report(figures: Figures, sizes: Sequence[int], kinds: Sequence[str], amount: Amount) -> Report:
    for size in sizes:
        for kind in kinds:
            for what in ("key", "key, loss"):
                if (samples := figures.get(what, size, kind)) is not None:
                    values = sorted(samples.values)
                    figures.add(f"{what}, p50", size, kind, statistics.median(values))
                    figures.add(f"{what}, p99", size, kind, values[min(len(values) - 1, int(0.99 * len(values)))])
            for what in ("leaves", "misread", "healthy dead"):
                if (samples := figures.get(what, size, kind)) is not None:
                    figures.add(f"{what}, sum", size, kind, sum(samples.values))
    spread = f"{amount.repeats} repeats: median and range"
    tables = [
        figures.table(
            f"How soon everybody knows, s; {spread}",
            kinds,
            {
                "join": ("join, from up", ".2f"),
                "join, from exec": ("from exec", ".2f"),
                "kill, first": ("SIGKILL, first", ".2f"),
                "kill": ("SIGKILL, all", ".2f"),
                "leave": ("leave, all", ".2f"),
            },
        ),
        figures.table(
            "Misjudged: observers that read a leave as a failure, in all leaves; and deaths of nodes that were well",
            kinds,
            {
                "leaves, sum": ("leaves", ".0f"),
                "misread, sum": ("misread", ".0f"),
                "healthy dead, sum": ("deaths", ".0f"),
            },
        ),
        figures.table(
            f"Idle, per node; {spread}",
            kinds,
            {
                "bytes": ("B/s", ".0f"),
                "packets": ("packets/s", ".2f"),
                "cpu": ("CPU %", ".2f"),
                "rss": ("RSS MiB", ".0f"),
            },
        ),
        figures.table(
            "A key visible at each of the others, s",
            kinds,
            {
                "key, p50": ("p50", ".4f"),
                "key, p99": ("p99", ".4f"),
                "key, loss, p50": ("p50, 10 % loss", ".4f"),
                "key, loss, p99": ("p99, 10 % loss", ".4f"),
                "key, loss, all": ("all, 10 % loss", ".3f"),
            },
        ),
    ]
    if amount.stops:
        columns = {f"stop {s} dead": (f"{s} s: found dead by", ".0f") for s in STOPS_S}
        columns |= {f"stop {s} back": (f"{s} s: back after, s", ".2f") for s in STOPS_S}
        tables.insert(1, figures.table(f"One stopped and continued; {spread}", kinds, columns))
    return Report("gossip", tables, list(_goals(figures, sizes)))


def _goals(figures: Figures, sizes: Sequence[int]) -> Iterator[Goal]:
    def median(what: str, size: int, kind: str) -> float:
        samples = figures.get(what, size, kind)
        if samples is None:
            raise BenchError(f"nothing was measured of {what}")
        return samples.median

    for size in sizes:
        at = f"N = {size}"
        beside = median("kill", size, OURS) / median("kill", size, "serf")
        yield Goal(f"kill to dead everywhere, x serf, {at}", 1.05, beside, most=True)
        yield Goal(f"join visible everywhere, {at}, s", 0.3, median("join", size, OURS), most=True)
        yield Goal(f"idle bytes per second, sealed, {at}", 400, median("bytes", size, f"{OURS} sealed"), most=True)
        yield Goal(f"CPU % of an idle node, {at}", 0.5, median("cpu", size, OURS), most=True)
        yield Goal(f"observers that misread a leave, {at}", 0, median("misread, sum", size, OURS), most=True)
        yield Goal(f"key visible, p99, {at}, s", 0.05, median("key, p99", size, OURS), most=True)
        slowest = figures.get("key, loss, all", size, OURS)
        if slowest is not None:
            yield Goal(f"key visible to all, 10 % loss, slowest, {at}, s", 2.0, max(slowest.values), most=True)
        if size == _FAST_GOAL[0]:
            fast = median("kill", size, f"{OURS} fast")
            yield Goal(f"kill to dead everywhere, fast, {at}, s", _FAST_GOAL[1], fast, most=True)
