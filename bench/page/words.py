"""What figures and modes are called, and which of two figures is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..report import OURS

TIMES: Final = "\N{MULTIPLICATION SIGN}"
DHT: Final = "dht"
SPEGEL: Final = "spegel"
DIRECT: Final = "direct"

MODES: Final[Mapping[str, str]] = {
    OURS: "gossip",
    "exact": "exact directory",
    DHT: "DHT",
    SPEGEL: "Spegel",
    DIRECT: "no mirror",
    "pullthrough": "one pull-through cache",
}
"""What modes of the lab are called, in the order in which they are shown."""

WHO: Final[Mapping[str, str]] = {
    OURS: "Skvaller as it is: SWIM membership, Bloom filters of what each member holds, homes for the pieces of a blob",
    "exact": "Skvaller with digest prefixes instead of Bloom filters",
    DHT: "Skvaller's data plane over a Kademlia (py-libp2p) with Spegel's settings. A DHT knows no members, so there "
    "are no homes, and nodes that pull at the same moment each ask the registry",
    SPEGEL: "the real Spegel beside a containerd on each node",
    DIRECT: "every node asks the registry",
    "pullthrough": "every node asks one docker-registry as a pull-through cache, on a host of its own",
}
"""What each mode is."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the lab; less of it is better.

    Args:
        words: what it is.
        unit: behind the number; empty for pure numbers.
        spec: format.
    """

    words: str
    unit: str
    spec: str

    def shown(self, number: float) -> str:
        """A number with its unit."""
        return f"{number:{self.spec}}{' ' * bool(self.unit)}{self.unit}"


METRICS: Final[Mapping[str, Metric]] = {
    "ratio": Metric("time of the last node, in downloads (R)", TIMES, ".2f"),
    "late_ratio": Metric("time of the last of the late nodes, in downloads", TIMES, ".2f"),
    "upstream": Metric("what the registry sends, in images (U)", TIMES, ".3f"),
    "manifest_gets": Metric("manifests asked of the registry", "", ".0f"),
    "cpu_s_per_gib": Metric("CPU of what stands between, for each GiB that clients get", "s", ".2f"),
    "peak_mib": Metric("most memory of one process", "MiB", ".0f"),
    "client_errors": Metric("errors that clients see", "", ".0f"),
    "suspicions": Metric("suspicions of healthy members", "", ".0f"),
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


QUESTIONS: Final = (
    Question(
        "time until all have it",
        "All nodes pull a new image at once: when has the last one got it, in times of one download?",
        "fanout",
        "ratio",
    ),
    Question("sent by the registry", "What does the registry send for that, in images?", "fanout", "upstream"),
    Question(
        "time of a batch",
        "An update, 20 % of the nodes at a time: how long does each batch take, in downloads?",
        "rolling",
        "ratio",
    ),
    Question(
        "time of late ones",
        "The second half of the nodes pulls a little later: how long does it take, in downloads?",
        "late",
        "late_ratio",
    ),
    Question(
        "time, one killed",
        "The process that has served most is killed half-way: when are all done, in downloads?",
        "kill",
        "ratio",
    ),
    Question(
        "time, one slow",
        "One node's link is ten times slower: when are the others done, in downloads?",
        "slow",
        "ratio",
    ),
    Question(
        "time, registry gone",
        "The registry is gone, one node has the image: when have all others got it, in downloads?",
        "lonely",
        "ratio",
    ),
    Question("CPU", "CPU of the agents, for each GiB that clients get", "fanout", "cpu_s_per_gib", felt=False),
    Question("memory", "Memory of an agent, at most, during a pull", "fanout", "peak_mib", felt=False),
)
"""In the order in which they are answered."""


def mode_words(mode: str) -> str:
    """What a mode is called."""
    return MODES.get(mode, mode)


def named(mode: str) -> str:
    """The same in a sentence."""
    return {DHT: "a DHT", "exact": "an exact directory"}.get(mode, mode_words(mode))


def ordered(modes: Mapping[str, object]) -> list[str]:
    """Modes in the order in which they are shown; unknown ones last."""
    known = list(MODES)
    return sorted(modes, key=lambda mode: (known.index(mode) if mode in known else len(known), mode))
