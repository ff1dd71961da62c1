"""The steps of the suite: a command of this package each, with its settings and the time that it usually takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..lab.images import shape_of
from ..lab.modes.table import MODES
from ..lab.run import fits
from ..lab.scenarios import SCENARIOS

_SPEGEL: Final = "spegel"
_DHT: Final = "dht"
_EVERY: Final = ("skvaller", "exact", "dht", "spegel", "direct", "pullthrough", "unshared")
_ALONE: Final = ("direct", "dht", "dht-5s", _SPEGEL, "pullthrough")
"""Modes in which clients that pull at once each take everything from one place, so that time grows with the nodes."""

_START_S: Final[Mapping[str, float]] = {"http": 2.5, "ctr": 4.0}
_START_NODE_S: Final[Mapping[str, float]] = {"http": 0.5, "ctr": 1.2}
"""How long a run of the lab takes beside the pull, seconds: for itself, and for each node, by client."""

_CHANGE_S: Final[Mapping[str, float]] = {
    "discover": 37, "idle": 10, "kill": 2, "vanish": 6, "dark": 10, "partition": 16, "churn": 4,
}  # fmt: skip
"""How much longer a run takes for what happens in it, seconds, by scenario."""

_WATCH_S: Final = 60
"""For how long the lab watches idle nodes, if nobody says, seconds."""

_BATCHES: Final = 5
"""How many nodes, or groups of nodes, an update takes one after the other."""

_HEADERS: Final = 1.05
"""Bytes on the wire by those of the image, about."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step.

    Args:
        name: also of its file, without the suffix.
        arguments: of `python -m bench`, without files.
        usual_s: how long it takes on two cores, seconds, about.
        checks: steps of the lab before it, to whose files its own results are compared; those that are there.
    """

    name: str
    arguments: Sequence[str]
    usual_s: float
    checks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rivals:
    """Programs that the machine's packages do not bring.

    Args:
        spegel: its binary; None leaves that mode out.
        containerd: a containerd of version 2 or newer for it; None for the one on PATH.
    """

    spegel: Path | None = None
    containerd: Path | None = None

    def may_run(self, mode: str, client: str) -> bool:
        """Whether a mode can be run. Spegel serves what a containerd has, so it needs a client that has one."""
        if mode == _SPEGEL:
            return self.spegel is not None and client == "ctr"
        return mode in MODES and (not mode.startswith(_DHT) or find_spec("libp2p") is not None)

    @property
    def absent(self) -> Mapping[str, str]:
        """Modes that are left out everywhere, and what they need."""
        needs = {_DHT: "pip install '.[dht]'", _SPEGEL: "--spegel PATH"}
        return {mode: what for mode, what in needs.items() if not self.may_run(mode, "ctr")}

    @property
    def flags(self) -> Sequence[str]:
        """For commands that have that mode."""
        return [
            word
            for flag, path in (("--spegel", self.spegel), ("--spegel-containerd", self.containerd))
            if path is not None
            for word in (flag, str(path))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A scenario under some settings.

    Args:
        scenario: its name.
        nodes: how many hosts.
        image: a name, or a size.
        mbit: link of each host, Mbit/s.
        upstream_mbit: link of the registry, Mbit/s.
        modes: those of them that the scenario has and that can be run are.
        repeats: of each mode.
        client: http or ctr.
        more: further arguments.
    """

    scenario: str
    nodes: int
    image: str
    mbit: int = 100
    upstream_mbit: int = 100
    modes: Sequence[str] = _EVERY
    repeats: int = 3
    client: str = "http"
    more: Sequence[str] = ()

    def steps(self, rivals: Rivals) -> Iterator[Step]:
        """The step, unless no mode is left."""
        needs = SCENARIOS[self.scenario].needs
        modes = [mode for mode in self.modes if rivals.may_run(mode, self.client) and fits(MODES[mode], needs)]
        if not modes:
            return
        name = f"lab-{self.scenario}-{self.nodes}-{self.image}-{self.upstream_mbit}of{self.mbit}mbit"
        name += "".join(f"-{word.strip('-').replace('.', '_')}" for word in self.more)
        if self.client != "http":
            name += f"-{self.client}"
        arguments = [
            *("lab", self.scenario, "--nodes", f"{self.nodes}", "--image", self.image),
            *("--link", f"{self.mbit}mbit", "--upstream", f"{self.upstream_mbit}mbit"),
            *("--repeats", f"{self.repeats}", "--client", self.client, *self.more),
            *(word for mode in modes for word in ("--mode", mode)),
            *(rivals.flags if _SPEGEL in modes else ()),
        ]
        yield Step(name, arguments, self.repeats * sum(map(self._run_s, modes)))

    def _run_s(self, mode: str) -> float:
        """How long one run takes, about."""
        started_s = _START_S[self.client] + _START_NODE_S[self.client] * self.nodes
        return started_s + self._pull_s(mode) + self._change_s

    def _pull_s(self, mode: str) -> float:
        """How long all clients take, about."""
        if not SCENARIOS[self.scenario].pulls:
            return 0.0
        one_s = shape_of(self.image, None).size_bytes * 8 * _HEADERS / (1e6 * min(self.mbit, self.upstream_mbit))
        if self.scenario == "rolling":
            return one_s * (self.nodes if mode in ("direct", "pullthrough") else min(self.nodes, _BATCHES))
        return one_s * (self.nodes if mode in _ALONE else 1.4)

    @property
    def _change_s(self) -> float:
        """How long the rest of what happens takes, about: idle nodes are watched once, and again with keys."""
        change_s = _CHANGE_S.get(self.scenario, 0.0)
        if self.scenario != "idle":
            return change_s
        watch_s = float(self.more[self.more.index("--watch") + 1]) if "--watch" in self.more else _WATCH_S
        return (change_s + watch_s) * (2 if "--keys" in self.more else 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """Any other bench; its name is made of its arguments.

    Args:
        arguments: of `python -m bench`.
        usual_s: how long it takes, about.
        checked: pulls of the lab to which its own results are compared.
    """

    arguments: Sequence[str]
    usual_s: float
    checked: Sequence[Lab] = ()

    def steps(self, rivals: Rivals) -> Iterator[Step]:
        """The step."""
        name = "-".join(word.strip("-").replace(",", "_") for word in self.arguments)
        checks = [step.name for pulls in self.checked for step in pulls.steps(rivals)]
        yield Step(name, self.arguments, self.usual_s, checks)


_FINDERS: Final = ("skvaller", "exact", "dht", "dht-5s", "spegel")
_BESIDE: Final = ("skvaller", "dht")
_PATIENT: Final = (*_BESIDE, "dht-5s")
_DECIDING: Final = (*_BESIDE, "spegel")
"""Between which people choose."""


def _thin(
    scenario: str,
    nodes: int,
    modes: Sequence[str],
    *,
    client: str = "http",
    repeats: int = 3,
    more: Sequence[str] = (),
) -> Lab:
    """An image of 10 MiB over links of 25 Mbit/s, 3.5 s each: two cores then have time for all nodes of a cluster."""
    return Lab(
        scenario=scenario,
        nodes=nodes,
        image="10MB-4",
        mbit=25,
        upstream_mbit=25,
        modes=modes,
        repeats=repeats,
        client=client,
        more=more,
    )


_AT_ONCE: Final = tuple(_thin("fanout", nodes, _BESIDE) for nodes in (8, 3, 2, 5))
_BBR: Final = _thin("fanout", 5, ("skvaller",), more=("--congestion", "bbr"))
"""BBR shares a full link among few connections less evenly than cubic does, so that some homes lag."""

_LARGE: Final = Lab(
    scenario="fanout", nodes=5, image="100MB-4", mbit=25, upstream_mbit=25, modes=("skvaller",), client="ctr"
)
"""Half a minute for each pull: what a start costs, and two cores that all nodes share, hardly count."""

_IDLE: Final = _thin("idle", 5, _DECIDING, client="ctr", repeats=1, more=("--keys", "20", "--watch", "75"))
"""One long look instead of three short ones: within 15 s an idle DHT sent nothing, within 70 s 20 bytes a second."""

_CLUSTERS: Final[Sequence[Lab | Bench]] = (
    _thin("fanout", 5, _EVERY, client="ctr"),
    _thin("vanish", 5, _DECIDING, client="ctr"),
    _thin("discover", 5, _DECIDING, client="ctr", more=("--watch", "15")),
    _IDLE,
    *(_thin("fanout", nodes, (*_DECIDING, "unshared"), client="ctr") for nodes in (2, 3)),
    _LARGE,
    *(_thin(scenario, 5, _DECIDING, client="ctr") for scenario in ("kill", "lonely")),
    Lab(scenario="lonely", nodes=5, image="10MB-4", modes=_DECIDING, client="ctr"),
    *(_thin(scenario, 5, _BESIDE) for scenario in ("dark", "partition", "churn", "slow", "late", "rolling")),
    _BBR,
    *_AT_ONCE,
)
"""Every scenario, with what people choose between; the fan-out in all modes."""

_PARTS: Final[Sequence[Lab | Bench]] = (Bench(("serve",), 130), Bench(("relay",), 130), Bench(("lazy",), 90))

_HOUR: Final[Sequence[Lab | Bench]] = (
    *_CLUSTERS,
    *_PARTS,
    Bench(("micro", "--quick"), 20),
    Bench(("lab", "chaos", "--nodes", "5", "--minutes", "1", "--seed", "7"), 130),
    Bench(("scale", "--quick", "--nodes", "100,1000"), 240, _AT_ONCE),
    Bench(("gossip", "--sim", "--nodes", "10,100,1000"), 600),
)
"""About an hour on two cores. What answers most comes first."""

_LARGE_AT_ONCE: Final = tuple(Lab(scenario="fanout", nodes=nodes, image="100MB-4") for nodes in (8, 3))
_BENCHMARK: Final = (
    *(("fanout", image) for image in ("10MB-1", "10MB-4", "100MB-1")),
    *(("rolling", image) for image in ("10MB-1", "10MB-4", "100MB-4")),
)
"""What Spegel's own benchmark has, and is not measured by other steps."""

_LONG: Final[Sequence[Lab | Bench]] = (
    *_CLUSTERS,
    *_PARTS,
    *(_thin("fanout", nodes, _BESIDE) for nodes in (1, 10, 16, 20)),
    *(Lab(scenario="fanout", nodes=nodes, image="100MB-4", client="ctr") for nodes in (5, 2, 3, 8)),
    *(
        Lab(scenario=scenario, nodes=nodes, image="10MB-4", modes=_FINDERS, client="ctr", more=more)
        for nodes in (5, 2, 8)
        for scenario, more in (("discover", ()), ("idle", ("--keys", "20")))
    ),
    *(
        Lab(scenario=scenario, nodes=5, image="32MiB", mbit=50, upstream_mbit=50, client="ctr")
        for scenario in ("kill", "vanish", "lonely")
    ),
    *(
        Lab(scenario=scenario, nodes=5, image="32MiB", mbit=50, upstream_mbit=50)
        for scenario in ("dark", "partition", "churn", "slow", "late")
    ),
    *(
        Lab(scenario=scenario, nodes=8, image="32MiB", mbit=50, upstream_mbit=50, modes=("skvaller", "exact", "dht"))
        for scenario in ("kill", "vanish")
    ),
    *_LARGE_AT_ONCE,
    *(Lab(scenario=scenario, nodes=8, image=image, client="ctr") for scenario, image in _BENCHMARK),
    Lab(scenario="idle", nodes=16, image="10MB-4", modes=_FINDERS, client="ctr", more=("--keys", "20")),
    Lab(scenario="fanout", nodes=5, image="40MiB", upstream_mbit=20),
    Lab(scenario="fanout", nodes=5, image="10MB-4", more=("--loss", "1")),
    *(
        Lab(scenario="fanout", nodes=3, image=image, mbit=200, upstream_mbit=200, repeats=1)
        for image in ("1GB-1", "1GB-4")
    ),
    Bench(("channels",), 120),
    Bench(("archives",), 130),
    Bench(("micro",), 120),
    Bench(("gossip", "--sim", "--nodes", "10,100,1000,10000"), 1500),
    Bench(("scale",), 900, (*_LARGE_AT_ONCE, *_AT_ONCE)),
    Bench(("gossip", "--nodes", "5,10,30", "--repeats", "2"), 2 * 3 * 360),
    Bench(("lab", "hub"), 300),
    Bench(("lab", "chaos", "--nodes", "5", "--minutes", "2", "--seed", "7"), 200),
)
"""What can be measured on one machine: that of the hour, and larger images and clusters, thicker links, and serf."""

_QUICK: Final[Sequence[Lab | Bench]] = (
    Lab(scenario="fanout", nodes=5, image="10MB-4", mbit=20, upstream_mbit=20, repeats=1),
    Lab(scenario="discover", nodes=5, image="10MB-4", modes=_BESIDE, repeats=1, more=("--watch", "15")),
    Lab(scenario="idle", nodes=5, image="10MB-4", modes=_BESIDE, repeats=1, more=("--watch", "10")),
    Lab(scenario="vanish", nodes=5, image="10MB-4", mbit=20, upstream_mbit=20, modes=_BESIDE, repeats=1),
    Lab(scenario="fanout", nodes=2, image="10MB-4", mbit=20, upstream_mbit=20, modes=_PATIENT, repeats=1),
    Bench(("micro", "--quick"), 20),
    Bench(("serve", "--quick"), 60),
)
"""Every mode but Spegel, in less than ten minutes on two cores: thin links, and one run of each."""

_SMOKE: Final[Sequence[Lab | Bench]] = (
    Lab(scenario="fanout", nodes=3, image="2MiB", mbit=40, upstream_mbit=40, repeats=1),
    Lab(scenario="idle", nodes=3, image="2MiB", modes=_BESIDE, repeats=1, more=("--watch", "2")),
)
"""The smallest form, for tests: does every part work?"""

_PLANS: Final[Mapping[str, Sequence[Lab | Bench]]] = {"hour": _HOUR, "long": _LONG, "quick": _QUICK, "smoke": _SMOKE}


def plan(size: str, rivals: Rivals) -> Sequence[Step]:
    """The steps of a suite: `hour`, `long`, `quick` or `smoke`."""
    return [step for item in _PLANS[size] for step in item.steps(rivals)]
