"""What figures and modes are called, and which of two figures is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..report import OURS
from .figures import Spread
from .results import shown

TIMES: Final = "\N{MULTIPLICATION SIGN}"
DHT: Final = "dht"
SPEGEL: Final = "spegel"
PATIENT_DHT: Final = "dht-5s"
EXACT: Final = "exact"
DIRECT: Final = "direct"
UNSHARED: Final = "unshared"
"""No rival: what the clients of a machine need by themselves. Nothing that they share can be faster."""

MODES: Final[Mapping[str, str]] = {
    OURS: "gossip",
    EXACT: "exact directory",
    DHT: "DHT",
    PATIENT_DHT: "DHT, 5 s",
    SPEGEL: "Spegel",
    DIRECT: "no mirror",
    "pullthrough": "one pull-through cache",
    UNSHARED: "clients alone",
}
"""What modes of the lab are called, in the order of their colours."""

_ORDER: Final = (OURS, DHT, SPEGEL, PATIENT_DHT, EXACT, DIRECT, "pullthrough", UNSHARED)
"""The order in which modes are shown: those first between which somebody has to choose."""

WHO: Final[Mapping[str, str]] = {
    OURS: "Skvaller as it is: SWIM membership, Bloom filters of what each member holds, homes for the pieces of a blob",
    DHT: "Skvaller's data plane over a Kademlia (py-libp2p) with Spegel's settings. A DHT knows no members, so there "
    "are no homes, and nodes that pull at the same moment each ask the registry",
    SPEGEL: "the real Spegel, whose DHT is libp2p's in Go, beside a containerd on each node",
    PATIENT_DHT: "the mode DHT, but a request waits up to 5 s for the DHT to name a holder, instead of 20 ms",
    EXACT: "Skvaller with digest prefixes instead of Bloom filters",
    DIRECT: "every node asks the registry",
    "pullthrough": "every node asks one docker-registry as a pull-through cache, on a host of its own",
    UNSHARED: "every node asks the registry, whose link is wide enough for all of them: what the clients themselves "
    "need on this machine. It competes with nobody, for nothing that shares one link can be faster",
}
"""What each mode is."""

IN_PYTHON: Final = (DHT, PATIENT_DHT)
"""The modes whose DHT is py-libp2p."""

OF_LIBRARY: Final = (
    "CPU, memory and milliseconds of the mode DHT are those of py-libp2p, a library in Python, and say little of other "
    "DHTs"
)
"""Why some figures of these modes do not count."""

SCENARIOS: Final[Mapping[str, str]] = {
    "fanout": "all nodes pull a new image at once",
    "rolling": "a fifth of the nodes pull; when they are done, the next fifth pulls, and so on",
    "late": "half of the nodes pull; the others start when these are half-way",
    "kill": "all nodes pull at once; half-way the process that has served most is killed, and its containerd goes on "
    "at the registry",
    "vanish": "all nodes pull at once; half-way the host that has served most vanishes: it answers nothing any more",
    "dark": "all nodes pull at once; half-way the line to the registry is cut for 10 s",
    "partition": "all nodes pull at once; half-way the cluster is split in two halves that do not reach each other",
    "churn": "half of the nodes pull; of the others one is killed every 3 s, and starts again 1 s later",
    "slow": "all nodes pull at once; one of them sends with a tenth of its link",
    "lonely": "one node has the image, and the registry is gone; all others pull",
    "discover": "how nodes find small new contents; nobody pulls the image",
    "idle": "what a node sends and uses while nobody pulls the image",
}
"""What happens in each scenario of the lab that compares modes."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the lab.

    Args:
        words: what it is.
        unit: behind the number; empty for pure numbers.
        spec: format.
        more: whether more of it is better; otherwise less is.
        of_library: whether a DHT in Python tells by it of its library, and not of DHTs.
    """

    words: str
    unit: str
    spec: str
    more: bool = False
    of_library: bool = False

    def shown(self, figure: Spread) -> str:
        """The median with its unit, or what it is more than."""
        return f"{'> ' * figure.is_bound}{shown(figure.median, self.spec)}{' ' * bool(self.unit)}{self.unit}"

    def range(self, figure: Spread) -> str:
        """From the least to the most; empty where there is nothing between them, or nothing known."""
        return figure.range(self.spec)

    def is_better(self, one: Spread, other: Spread) -> bool:
        """Whether the worst run of one is better than the best run of the other, by enough to matter."""
        return other.is_below(one) if self.more else one.is_below(other)


METRICS: Final[Mapping[str, Metric]] = {
    "ratio": Metric("time of the last node, in times of one download (R)", TIMES, ".2f"),
    "late_ratio": Metric("time of the last of the late nodes, in times of one download", TIMES, ".2f"),
    "after_fault_s": Metric("from the fault to the end of the last pull", "s", ".1f"),
    "dark_share_least": Metric(
        "what the worst node has when the line is back, in times of the image", TIMES, ".2f", more=True
    ),
    "healed_s": Metric("all see all again after a partition", "s", ".2f"),
    "upstream": Metric("what the registry sends, in times of the image (U)", TIMES, ".3f"),
    "manifest_gets": Metric("manifests asked of the registry", "", ".0f"),
    "ready_alone_s": Metric("a first node says that it is ready", "s", ".2f"),
    "join_s": Metric("a second node finds the first one's content", "s", ".2f"),
    "together_s": Metric("all others start, and all see all", "s", ".2f"),
    "found_p50_ms": Metric("until half of the questions of other nodes find new content", "ms", ".1f", of_library=True),
    "found_p99_ms": Metric("until 99 of 100 questions of other nodes find new content", "ms", ".1f", of_library=True),
    "hit_p50_ms": Metric("asking for what another node holds: half are answered within", "ms", ".1f", of_library=True),
    "hit_p99_ms": Metric(
        "asking for what another node holds: 99 of 100 are answered within", "ms", ".1f", of_library=True
    ),
    "miss_p50_ms": Metric("asking for what nobody has: half are answered within", "ms", ".1f", of_library=True),
    "miss_p99_ms": Metric("asking for what nobody has: 99 of 100 are answered within", "ms", ".1f", of_library=True),
    "miss_without_upstream_p50_ms": Metric(
        "asking for what nobody has, while the registry is gone: half are answered within", "ms", ".1f", of_library=True
    ),
    "offered_kill_s": Metric("others still send clients to a killed holder for", "s", ".2f"),
    "offered_vanish_s": Metric("others still send clients to a holder whose host has vanished for", "s", ".2f"),
    "pull_after_kill_s": Metric("a pull 0.3 s after the only holder was killed", "s", ".2f"),
    "pull_after_vanish_s": Metric("a pull 0.3 s after the only holder's host has vanished", "s", ".2f"),
    "restart_found_s": Metric("a holder starts again, and all find its content", "s", ".2f"),
    "return_found_s": Metric("a host comes back, and all find its content", "s", ".2f"),
    "client_errors": Metric("errors that clients see", "", ".0f"),
    "suspicions": Metric("suspicions of healthy members", "", ".0f"),
    "cpu_s_per_gib": Metric("CPU of the mirrors, for each GiB that clients get", "s", ".2f", of_library=True),
    "peak_mib": Metric("most memory of one mirror", "MiB", ".0f", of_library=True),
    "control_sent_bytes_per_s": Metric("control traffic that a node sends meanwhile", "B/s", ",.0f"),
    "idle_sent_bytes_per_s": Metric("control traffic that an idle node sends", "B/s", ",.0f"),
    "idle_cpu_percent": Metric("CPU of an idle node, of a core", "%", ".2f", of_library=True),
    "idle_rss_mib": Metric(
        "memory of an idle node, with all pages that it shares (RSS)", "MiB", ".0f", of_library=True
    ),
    "idle_pss_mib": Metric("memory of an idle node, shared pages in parts (PSS)", "MiB", ".0f", of_library=True),
    "keys_idle_sent_bytes_per_s": Metric("control traffic that an idle node with content sends", "B/s", ",.0f"),
}
"""The figures that are compared between modes, by key; all others are only shown."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody who has to choose asks.

    Args:
        short: a few words, for a plot.
        words: the question.
        scenario: of the lab, which answers it.
        key: the figure.
        felt: whether those who use the cluster feel it; otherwise it is what the answer costs.
    """

    short: str
    words: str
    scenario: str
    key: str
    felt: bool = True

    @property
    def metric(self) -> Metric:
        """What the figure is."""
        return METRICS[self.key]


def _felt(scenario: str, key: str, short: str, words: str) -> Question:
    return Question(short, words, scenario, key)


def _cost(scenario: str, key: str, short: str, words: str) -> Question:
    return Question(short, words, scenario, key, felt=False)


QUESTIONS: Final = (
    _felt(
        "fanout",
        "ratio",
        "all pull at once",
        "All pull a new image at once: after how many times of one download does the last node have it?",
    ),
    _felt(
        "fanout",
        "upstream",
        "sent by the registry",
        "All pull a new image at once: how many times does the registry send it?",
    ),
    _felt(
        "rolling",
        "ratio",
        "an update",
        "An update, 20 % of the nodes at a time: how many times of one download does a batch take?",
    ),
    _felt(
        "late",
        "late_ratio",
        "late nodes",
        "The second half pulls when the first is half-way: after how many times of one download is it done?",
    ),
    _felt(
        "kill",
        "ratio",
        "a process dies",
        "The process that has served most is killed half-way: after how many times of one download are others done?",
    ),
    _felt(
        "vanish",
        "ratio",
        "a host vanishes",
        "The host that has served most vanishes half-way: after how many times of one download are others done?",
    ),
    _felt(
        "slow",
        "ratio",
        "a slow node",
        "One node sends with a tenth of its link: after how many times of one download are the others done?",
    ),
    _felt(
        "lonely",
        "ratio",
        "registry gone",
        "The registry is gone and one node has the image: after how many times of one download do all have it?",
    ),
    _felt(
        "dark",
        "dark_share_least",
        "registry cut off",
        "The line to the registry is cut half-way for 10 s: how much of the image does the worst node then have, "
        "in times of it? (more is better)",
    ),
    _felt("partition", "healed_s", "partition heals", "The cluster was split in two: when do all see all again?"),
    _felt(
        "churn",
        "ratio",
        "others restart",
        "Other nodes are killed all the time: how many times of one download does a pull by the rest take?",
    ),
    _felt(
        "discover",
        "ready_alone_s",
        "first node ready",
        "The first node starts alone: when does it say that it is ready?",
    ),
    _felt("discover", "join_s", "second joins", "A second node starts: when does it find what the first one has?"),
    _felt(
        "discover",
        "found_p99_ms",
        "new content found",
        "A node has something new: how long until 99 of 100 questions of other nodes find it?",
    ),
    _felt(
        "discover",
        "hit_p50_ms",
        "a hit",
        "How long does an answer take about what another node holds? (half take less)",
    ),
    _felt(
        "discover",
        "miss_p50_ms",
        "a miss",
        "How long does an answer take about what nobody has, the registry's answer included? (half take less)",
    ),
    _felt(
        "discover",
        "miss_without_upstream_p50_ms",
        "a miss, no registry",
        "How long does an answer take about what nobody has, while the registry is gone? (half take less)",
    ),
    _felt(
        "discover",
        "pull_after_kill_s",
        "pull after a kill",
        "The only holder's process is killed: how long does a pull take that begins 0.3 s later?",
    ),
    _felt(
        "discover",
        "pull_after_vanish_s",
        "pull after vanishing",
        "The only holder's host vanishes: how long does a pull take that begins 0.3 s later?",
    ),
    _felt(
        "discover",
        "offered_vanish_s",
        "offered after vanishing",
        "The only holder's host vanishes: for how long do the others still send clients to it?",
    ),
    _cost("fanout", "cpu_s_per_gib", "CPU of a pull", "CPU of the mirrors, for each GiB that clients get"),
    _cost("fanout", "peak_mib", "memory in a pull", "Memory of one mirror, at most, during a pull"),
    _cost("idle", "idle_sent_bytes_per_s", "idle traffic", "Control traffic that an idle node sends"),
    _cost("idle", "idle_cpu_percent", "idle CPU", "CPU of an idle node, of a core"),
    _cost("idle", "idle_pss_mib", "idle memory", "Memory of an idle node, shared pages in parts (PSS)"),
)
"""In the order in which they are answered."""


def mode_words(mode: str) -> str:
    """What a mode is called."""
    return MODES.get(mode, mode)


def named(mode: str) -> str:
    """The same in a sentence."""
    return {DHT: "a DHT", PATIENT_DHT: "a DHT that may take 5 s", EXACT: "an exact directory"}.get(
        mode, mode_words(mode)
    )


def ordered(modes: Mapping[str, object]) -> list[str]:
    """Modes in the order in which they are shown; unknown ones last."""
    return sorted(modes, key=lambda mode: (_ORDER.index(mode) if mode in _ORDER else len(_ORDER), mode))
