"""What is to be run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .scenarios import SCENARIOS

_HEADERS: Final = 1514 / 1448
"""Bytes of a full Ethernet frame by those that it carries for TCP with timestamps: every download needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be run.

    Args:
        scenario: its name.
        modes: who is asked, in each repeat.
        nodes: hosts with a client.
        image: size, bytes.
        layers: of the image, equally large.
        image_name: of Spegel's benchmark, if it is one of those images.
        link: of each host, bits per second either way.
        upstream: the registry's link, bits per second either way.
        repeats: of each mode.
        client: http or ctr.
        parallel: blobs that a client asks for at a time.
        settle: time from when all agents know each other to the pull, seconds.
        folder: for all files; None for the machine's temporary one.
        keep_logs: where logs are kept.
        patience_s: how long a client may take beyond what the links need, or wait for a byte, seconds.
        watch_s: how long is watched what may not end, or not happen; how long idle nodes are measured, seconds.
        keys: that each idle node gets.
        spegel: path of Spegel; None for the one on PATH.
        spegel_containerd: path of the containerd that all modes use; None for the one on PATH.
        loss: share of all packets that the network loses, percent.
        congestion: how TCP of all hosts reacts to full links.
    """

    scenario: str
    modes: Sequence[str]
    nodes: int
    image: int
    layers: int
    link: int
    upstream: int
    repeats: int
    client: str
    parallel: int
    settle: float
    folder: Path | None
    keep_logs: Path | None
    patience_s: float = 60.0
    watch_s: float = 60.0
    keys: int = 0
    spegel: Path | None = None
    spegel_containerd: Path | None = None
    image_name: str | None = None
    loss: float = 0.0
    congestion: str = "cubic"

    @property
    def ideal_s(self) -> float:
        """How long one download takes over the slowest link on its way, seconds."""
        narrowest = min(self.link, self.upstream) if SCENARIOS[self.scenario].upstream_counts else self.link
        return self.image * 8 * _HEADERS / narrowest

    def details(self) -> Mapping[str, Any]:
        """For the JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
