"""What people can learn about a fetch."""

import enum
import logging
from collections import deque
from dataclasses import dataclass, field


class Phase(enum.StrEnum):
    """Where a fetch is in its life; all but the first are final."""

    RUNNING = "running"
    COMPLETE = "complete"
    RELAYED = "relayed"
    """Only other members asked for parts of it, and they have them."""
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Nobody on this node reads it any more."""


@dataclass(slots=True)
class Record:
    """Where the bytes of one fetch came from, for people. No decision rests on it.

    Args:
        digest: what was fetched.
        repository: under whose name it was first asked for.
        started_unix_s: Unix time, s.
        size: in bytes; None until known.
        sources: bytes written by source: a member's name, or `upstream`.
        resumed: bytes that an earlier fetch had left.
        outcome: how it ended.
        seconds: how long it took, without the time for which nobody read it at the end; 0 while it runs.
        failures: what went wrong on the way, the last few, one sentence each.
    """

    digest: str
    repository: str
    started_unix_s: float
    size: int | None = None
    sources: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    outcome: Phase = Phase.RUNNING
    seconds: float = 0.0
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    def write(self, log: logging.Logger) -> None:
        """Write a line about it, when it has ended."""
        log.info(
            "a fetch ended image=%s digest=%s outcome=%s bytes=%s seconds=%.3f resumed=%d sources=%s",
            self.repository,
            self.digest,
            self.outcome,
            "unknown" if self.size is None else self.size,
            self.seconds,
            self.resumed,
            ",".join(f"{name}:{count}" for name, count in self.sources.items()),
        )
