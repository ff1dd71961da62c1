"""What a run is, and the numbers that its goals rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

MODES: Final = ("skvaller", "direct", "pullthrough", "spegel")
"""Who can be asked, by their names in the lab."""

POLITENESS: Final = 19
"""Niceness of clients and their containerds: a hundred pulls at once are not to keep agents and hub from the cores of
this machine, of which a real cluster has many."""

WINDOW_S: Final = 3600
"""Time within which the hub counts pulls, s: none comes back while a mode runs."""

FRESH_S: Final = 3
"""For how long agents are told to believe what upstream says of the tags that are watched, s."""

LATE_S: Final = 5.0
"""For how long a tag that has moved is waited for beyond that time, s."""

PERIODS: Final = 4
"""How many of these times a tag is watched that does not move."""

HOWS: Final = ("sample", "trust")
"""How agents that are asked by HTTP take members' word about tags (`--tags`): by default, and as it costs least."""

CROWD_NODES: Final = 5
CROWD: Final = 100
"""First requests for one tag at once, on so many nodes."""

PASSES: Final = 5
"""How often every node is asked for every image, with the line to upstream and without it."""

SLOWER_MOST: Final = 1.5
"""How many times as long a known image's manifest may take without the line to upstream."""

UNKNOWN_MOST_S: Final = 1.0
"""How long it may take to be told that an image is unknown, when it is known that upstream is away, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be run.

    Args:
        modes: who is asked, one after the other.
        nodes: hosts with clients.
        images: that each node pulls at once.
        image: size of each, bytes.
        limit: pulls that the address may.
        folder: for all files; None for the machine's temporary one.
        keep_logs: where logs are kept.
        spegel: path of Spegel; None for the one on PATH.
        spegel_containerd: path of the containerd that all modes use; None for the one on PATH.
    """

    modes: Sequence[str]
    nodes: int
    images: int
    image: int
    limit: int
    folder: Path | None = None
    keep_logs: Path | None = None
    spegel: Path | None = None
    spegel_containerd: Path | None = None

    def details(self) -> Mapping[str, Any]:
        """For the JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
