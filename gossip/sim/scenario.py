"""All scenarios: what happens, under which settings, and what it must come to over many seeds.

    python -m gossip.sim --scenario storm --seed 17

replays a run and prints its trace.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Final

from ..core.config import GossipConfig, fast, lan
from ..core.messages import FilterKind
from . import properties
from .cluster import Cluster
from .invariants import InvariantError
from .steps import Figures, hasty
from .storm import MUST_HAPPEN, storm

_STORY_LINES: Final = 40
_SEALED_SHARE: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a quantile of something measured over many seeds."""

    quantile: float
    limit: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated.

    Args:
        play: lets it happen, and returns what was measured; its docstring's first line explains it.
        config: of all nodes.
        must_happen: what has to occur at least once over many seeds.
        goals: of figures, over many seeds.
        enough: how many seeds are many.
        checked: whether the invariants are checked after every step.
    """

    play: Callable[[Cluster], Figures]
    config: GossipConfig
    must_happen: tuple[str, ...] = ()
    goals: Mapping[str, Goal] = field(default_factory=dict)
    enough: int = 20
    checked: bool = True

    @property
    def summary(self) -> str:
        """What it is about, in a line."""
        return (self.play.__doc__ or "").partition("\n")[0]


def _exact(config: GossipConfig) -> GossipConfig:
    """The same settings, with keys published instead of Bloom filters."""
    return replace(config, filters=FilterKind.EXACT)


_LAN: Final = lan(label="sim")
_RARE: Final = GossipConfig(label="sim", probe_interval_s=30.0, sync_interval_s=300.0)  # a day goes by faster

SCENARIOS: Final[dict[str, Scenario]] = {
    "storm": Scenario(storm, hasty(), MUST_HAPPEN, enough=50),
    "filters": Scenario(
        properties.filters, _LAN, ("lost", "duplicated", "overtaken", "new generation", "stream: fetch"), enough=10
    ),
    "storm-exact": Scenario(storm, _exact(hasty()), MUST_HAPPEN, enough=10),
    "filters-exact": Scenario(
        properties.filters,
        _exact(_LAN),
        ("lost", "duplicated", "overtaken", "new generation", "stream: fetch"),
        enough=4,
    ),
    "partition": Scenario(properties.partition, _LAN, ("cut", "MemberFailed"), enough=2),
    "day": Scenario(properties.day, _RARE, ("cut", "MemberFailed"), enough=2),
    "restart": Scenario(properties.restart, _LAN, ("moved", "clock set", "epoch raised", "MemberUpdated"), enough=10),
    "namesakes": Scenario(
        properties.namesakes,
        _LAN,
        ("lost", "sealed", "NameConflict"),
        {"gives way, s": Goal(0.5, 1.0)},
        enough=10,
        checked=False,
    ),
    "leaves": Scenario(properties.leaves, _LAN, ("lost", "killed meanwhile", "MemberLeft", "MemberFailed"), enough=10),
    "stalls": Scenario(
        properties.stalls, _LAN, ("lost", "Paused", "MemberSuspected", "Refuted"), enough=1, checked=False
    ),
    "detection": Scenario(
        properties.detection,
        _LAN,
        ("MemberFailed",),
        # what serf 0.9.4 takes with the same settings
        {"N = 10, s": Goal(0.5, 6.1), "N = 20, s": Goal(0.5, 7.8)},
        enough=10,
    ),
    "detection-fast": Scenario(
        properties.detection, fast(label="sim"), ("MemberFailed",), {"N = 10, s": Goal(0.5, 2.8)}, enough=10
    ),
    "keys": Scenario(properties.keys, _LAN, ("lost",), {"0% loss, s": Goal(0.99, 0.05)}, enough=4),
}


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went.

    Args:
        figures: what was measured.
        happened: how often what occurred.
        trace: the story, in lines.
        digest: a hash over every datagram.
    """

    figures: Figures
    happened: Counter[str]
    trace: tuple[str, ...]
    digest: str


def run(name: str, seed: int) -> Report:
    """Run one scenario; in a third of the seeds packets are sealed.

    Raises:
        InvariantError: a rule was broken, or something was not so in time; the message says how to replay it.
    """
    scenario = SCENARIOS[name]
    rng = random.Random(f"{name}/{seed}")
    sealed = rng.random() < _SEALED_SHARE
    cluster = Cluster(seed, scenario.config, keys=(rng.randbytes(32),) if sealed else (), checked=scenario.checked)
    cluster.journal.happened["sealed"] += sealed
    try:
        figures = scenario.play(cluster)
    except AssertionError as error:
        story = "\n".join(cluster.journal.trace[-_STORY_LINES:])
        replay = f"replay: python -m gossip.sim --scenario {name} --seed {seed}"
        raise InvariantError(f"{error}\n{replay}\n{story}") from error
    happened = cluster.journal.happened + cluster.network.fired
    return Report(figures, happened, tuple(cluster.journal.trace), cluster.journal.digest)


def runs(name: str, seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    """Run seeds in `jobs` processes at a time; the reports come in the order of the seeds.

    Raises:
        InvariantError: the first of them that fails.
    """
    if jobs == 1:
        yield from (run(name, seed) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(partial(run, name), seeds)


class Tally:
    """What many runs of one scenario came to."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.runs = 0
        self.figures: Figures = {}
        self.happened: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        """Count one more run."""
        self.runs += 1
        self.happened += report.happened
        for name, values in report.figures.items():
            self.figures.setdefault(name, []).extend(values)

    def shortcomings(self) -> list[str]:
        """What never happened, and which goals were missed; nothing if the runs were too few to say."""
        if self.runs < self._scenario.enough:
            return []
        goals = self._scenario.goals
        never = [f"never happened: {name}" for name in self._scenario.must_happen if not self.happened[name]]
        never += [f"never measured: {name}" for name in goals if name not in self.figures]
        return never + [
            f"{name}: {quantile(self.figures[name], goal.quantile):.3f}, the goal is {goal.limit:g}"
            for name, goal in goals.items()
            if name in self.figures and quantile(self.figures[name], goal.quantile) > goal.limit
        ]

    def lines(self) -> list[str]:
        """The figures, for people."""
        return [
            f"{name}: median {quantile(values, 0.5):.3f}, p99 {quantile(values, 0.99):.3f}, max {max(values):.3f}"
            for name, values in self.figures.items()
        ]


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
