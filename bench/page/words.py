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

MODES: Final[Mapping[str, str]] = {
    OURS: "gossip",
    EXACT: "exact directory",
    DHT: "DHT",
    PATIENT_DHT: "DHT, 5 s",
    SPEGEL: "Spegel",
    DIRECT: "no mirror",
    "pullthrough": "one pull-through cache",
}
"""What modes of the lab are called, in the order in which they are shown."""

WHO: Final[Mapping[str, str]] = {
    OURS: "Skvaller as it is: SWIM membership, Bloom filters of what each member holds, homes for the pieces of a blob",
    EXACT: "Skvaller with digest prefixes instead of Bloom filters",
    DHT: "Skvaller's data plane over a Kademlia (py-libp2p) with Spegel's settings. A DHT knows no members, so there "
    "are no homes, and nodes that pull at the same moment each ask the registry",
    PATIENT_DHT: "the same, but a request waits up to 5 s for the DHT to name a holder, instead of 20 ms",
    SPEGEL: "the real Spegel beside a containerd on each node",
    DIRECT: "every node asks the registry",
    "pullthrough": "every node asks one docker-registry as a pull-through cache, on a host of its own",
}
"""What each mode is."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the lab.

    Args:
        words: what it is.
        unit: behind the number; empty for pure numbers.
        spec: format.
        more: whether more of it is better; otherwise less is.
    """

    words: str
    unit: str
    spec: str
    more: bool = False

    def shown(self, figure: Spread) -> str:
        """The median with its unit, or what it is more than."""
        number = shown(figure.high if figure.is_open else figure.median, self.spec)
        return f"{'> ' * figure.is_open}{number}{' ' * bool(self.unit)}{self.unit}"

    def range(self, figure: Spread) -> str:
        """From the least to the most; empty where there is nothing between them."""
        low, high = shown(figure.low, self.spec), shown(figure.high, self.spec)
        return "" if low == high or figure.is_open else f"{low} to {high}"

    def is_better(self, one: Spread, other: Spread) -> bool:
        """Whether the worst run of one is better than the best run of the other, by enough to matter."""
        return other.is_below(one) if self.more else one.is_below(other)


METRICS: Final[Mapping[str, Metric]] = {
    "ratio": Metric("time of the last node, in downloads (R)", TIMES, ".2f"),
    "late_ratio": Metric("time of the last of the late nodes, in downloads", TIMES, ".2f"),
    "after_fault_s": Metric("from the fault to the end of the last pull", "s", ".1f"),
    "dark_share_least": Metric(
        "what has come to the worst node when the line is back, in images", TIMES, ".2f", more=True
    ),
    "healed_s": Metric("all see all again after a partition", "s", ".2f"),
    "upstream": Metric("what the registry sends, in images (U)", TIMES, ".3f"),
    "manifest_gets": Metric("manifests asked of the registry", "", ".0f"),
    "ready_alone_s": Metric("a first node says that it is ready", "s", ".2f"),
    "join_s": Metric("a second node finds the first one's content", "s", ".2f"),
    "together_s": Metric("all others start, and all see all", "s", ".2f"),
    "found_p50_ms": Metric("new content is found by another node, half of them", "ms", ".1f"),
    "found_p99_ms": Metric("new content is found by another node, 99 of 100", "ms", ".1f"),
    "hit_p50_ms": Metric("head of what another node holds, p50", "ms", ".1f"),
    "hit_p99_ms": Metric("head of what another node holds, p99", "ms", ".1f"),
    "miss_p50_ms": Metric("head of what nobody has, p50", "ms", ".1f"),
    "miss_p99_ms": Metric("head of what nobody has, p99", "ms", ".1f"),
    "miss_without_upstream_p50_ms": Metric("the same without upstream, p50", "ms", ".1f"),
    "offered_kill_s": Metric("a killed holder is still named", "s", ".2f"),
    "offered_vanish_s": Metric("a holder whose host has vanished is still named", "s", ".2f"),
    "pull_after_kill_s": Metric("a pull 0.3 s after the only holder was killed", "s", ".2f"),
    "pull_after_vanish_s": Metric("a pull 0.3 s after the only holder's host has vanished", "s", ".2f"),
    "restart_found_s": Metric("a holder starts again, and all find its content", "s", ".2f"),
    "return_found_s": Metric("a host comes back, and all find its content", "s", ".2f"),
    "client_errors": Metric("errors that clients see", "", ".0f"),
    "suspicions": Metric("suspicions of healthy members", "", ".0f"),
    "cpu_s_per_gib": Metric("CPU of what stands between, for each GiB that clients get", "s", ".2f"),
    "peak_mib": Metric("most memory of one process", "MiB", ".0f"),
    "control_sent_bytes_per_s": Metric("control traffic that a node sends meanwhile", "B/s", ",.0f"),
    "idle_sent_bytes_per_s": Metric("control traffic that an idle node sends", "B/s", ",.0f"),
    "idle_cpu_percent": Metric("CPU of an idle node, of a core", "%", ".2f"),
    "idle_rss_mib": Metric("memory of an idle node, resident", "MiB", ".0f"),
    "idle_pss_mib": Metric("memory of an idle node, its share", "MiB", ".0f"),
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
        "All pull a new image at once: when has the last one got it, in downloads?",
    ),
    _felt(
        "fanout",
        "upstream",
        "sent by the registry",
        "What does the registry send when all pull a new image at once, in images?",
    ),
    _felt("rolling", "ratio", "an update", "An update, 20 % of the nodes at a time: a batch takes, in downloads"),
    _felt(
        "late", "late_ratio", "late nodes", "The second half pulls when the first is half-way: it takes, in downloads"
    ),
    _felt(
        "kill",
        "ratio",
        "a process dies",
        "The process that has served most is killed half-way: all are done after, in downloads",
    ),
    _felt(
        "vanish",
        "ratio",
        "a host vanishes",
        "The host that has served most vanishes half-way, and answers nothing: all others are done after, in downloads",
    ),
    _felt(
        "slow",
        "ratio",
        "a slow node",
        "One node sends with a tenth of its link: the others are done after, in downloads",
    ),
    _felt(
        "lonely",
        "ratio",
        "registry gone",
        "The registry is gone and one node has the image: all have it after, in downloads",
    ),
    _felt(
        "dark",
        "dark_share_least",
        "registry cut off",
        "The line to the registry is cut half-way for 10 s: the worst node then has, in images (more is better)",
    ),
    _felt("partition", "healed_s", "partition heals", "The cluster was split in two: when do all see all again?"),
    _felt(
        "churn",
        "ratio",
        "others restart",
        "Other nodes are killed and restarted all the time: a pull by the rest takes, in downloads",
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
        "A node has something new: when do the others find it there? 99 of 100",
    ),
    _felt("discover", "hit_p50_ms", "a hit", "Asking the mirror for the head of what another node holds"),
    _felt(
        "discover",
        "miss_p50_ms",
        "a miss",
        "Asking the mirror for the head of what nobody has, upstream's answer included",
    ),
    _felt(
        "discover",
        "miss_without_upstream_p50_ms",
        "a miss, no registry",
        "Asking the mirror for the head of what nobody has, while the registry refuses connections",
    ),
    _felt(
        "discover",
        "pull_after_kill_s",
        "pull after a kill",
        "The only holder's process is killed: a pull 0.3 s later takes",
    ),
    _felt(
        "discover",
        "pull_after_vanish_s",
        "pull after vanishing",
        "The only holder's host vanishes: a pull 0.3 s later takes",
    ),
    _felt(
        "discover",
        "offered_vanish_s",
        "offered after vanishing",
        "The only holder's host vanishes: for how long is it still named as one?",
    ),
    _cost("fanout", "cpu_s_per_gib", "CPU of a pull", "CPU of agents or of the cache, for each GiB that clients get"),
    _cost("fanout", "peak_mib", "memory in a pull", "Memory of one agent, at most, during a pull"),
    _cost("idle", "idle_sent_bytes_per_s", "idle traffic", "Control traffic that an idle node sends"),
    _cost("idle", "idle_cpu_percent", "idle CPU", "CPU of an idle node, of a core"),
    _cost("idle", "idle_pss_mib", "idle memory", "Memory of an idle node (its share of shared pages)"),
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
    known = list(MODES)
    return sorted(modes, key=lambda mode: (known.index(mode) if mode in known else len(known), mode))
