"""What people can learn of a fetch."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["running", "complete", "relayed", "failed", "abandoned"]


@dataclass(slots=True)
class Record:
    """Where the bytes of one fetch came from, for people.

    Args:
        digest: what was fetched.
        repository: under whose name it was first asked for.
        started_at: Unix time in seconds.
        size: in bytes; None until known.
        sources: bytes received by source: a member's name or `upstream`.
        resumed: bytes that an earlier fetch had left.
        outcome: how it ended; `relayed`: only other members asked for parts of it.
        seconds: how long it took, so far while it runs.
        failures: what went wrong on the way, the last few, one sentence each.
    """

    digest: str
    repository: str
    started_at: float
    size: int | None = None
    sources: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    outcome: Outcome = "running"
    seconds: float = 0.0
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    def __str__(self) -> str:
        sources = ",".join(f"{name}:{count}" for name, count in self.sources.items())
        line = f"digest={self.digest} outcome={self.outcome} bytes={self.size} seconds={self.seconds:.3f}"
        return f"{line} resumed={self.resumed} sources={sources or None}"
