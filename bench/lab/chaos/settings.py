"""What a run of chaos is, and the numbers that its judgement rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

MIB: Final = 1024 * 1024

ROOMY_CACHE_BYTES: Final = 1024 * MIB
"""Bound of the caches that hold everything, so that nothing goes for want of room, bytes."""

TIGHT_CACHE_BYTES: Final = 64 * MIB
"""Bound of the caches that do not hold everything, bytes: the least that an agent takes."""

TIGHT_DISK_BYTES: Final = 88 * MIB
"""Size of the disks of those, bytes: room for the cache, what arrives, and little more. They are memory."""

READERS: Final = 2
"""Clients on each node at once: enough that requests overlap on one agent, few enough for two cores."""

PAUSE_MAX_S: Final = 0.25
"""Time that a client rests between two requests at most, s: without a rest, only cached bytes would be measured."""

REST_S: Final = 0.5
"""Time that a client rests after an error, s: otherwise a node that is down would be most of what is counted."""

SILENCE_S: Final = 60.0
"""Time without a byte after which a client gives up, s: containerd 1.6 gives a pull up after as long."""

SETTLING_S: Final = 3.0
"""A source counts as there if it has been there for this long before a request, s: gossip tells of new holders, and an
agent asks again whether somebody has some content, within as long."""

REGISTRY_AWAY_S: Final = 16.0
"""The same for upstream and tags, s: an agent asks about no tag for 15 s after a registry could not be reached."""

REUNION_S: Final = 20.0
"""Time that members take to find each other again when none is cut off any more, s: one that was taken for dead is
tried every 10 s, and tells what it holds then."""

SHUNNED_S: Final = 600.0
"""Time for which others do not ask a member that has lied, s."""

TAG_STALE_S: Final = 76.0
"""Time for which a tag may still mean what it meant before, s: it is believed for 60 s, and asked for 15 s later."""

TOGETHER_S: Final = 60.0
"""How long all nodes may take to find each other, at the start and when everything has healed, s."""

LATE_MAX_S: Final = 5.0
"""A fault that would begin so late, because the one before it took long to heal, does not happen, s."""

ERRORS_KEPT: Final = 500
"""Bounds the errors that are described one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be run.

    Args:
        nodes: hosts with an agent and clients.
        seconds: time during which things happen.
        seed: everything that is random follows from it.
        key: whether the cluster has a key.
        without: kinds of faults that do not happen; the others happen when they would have.
        folder: for all files; None for the machine's temporary one.
        keep_logs: where logs are kept; None: in the temporary folder, if something was wrong.
    """

    nodes: int
    seconds: float
    seed: int
    key: bool
    without: Sequence[str] = ()
    folder: Path | None = None
    keep_logs: Path | None = None

    @property
    def command(self) -> str:
        """The command that runs it again."""
        flags = ["--key"] if self.key else []
        flags += [f"--without '{kind}'" for kind in self.without]
        wanted = f"--nodes {self.nodes} --minutes {self.seconds / 60:g} --seed {self.seed}"
        return " ".join(["python -m bench lab chaos", wanted, *flags])

    def details(self) -> Mapping[str, Any]:
        """For the JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
