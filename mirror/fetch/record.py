"""What people can learn about a fetch."""

import enum
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from ..errors import SourceError

_ASKED_MAX: Final = 64
"""Bounds the sources whose answers one record sums up; homes are at most so many, and most fetches ask three."""
_SENT: Final = "sent"
"""The answer of a source that sent what it was asked for."""


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
class Asked:
    """What one source was asked for in one role, and how it answered, summed up.

    Args:
        source: a member's name, or `upstream`.
        role: as what it was asked: a value of `sources.Role`, or as a witness of what others sent.
        times: how often.
        failed: how often it did not send all that it was asked for.
        bytes: what it sent, also what had come from somebody else meanwhile.
        seconds: how long it took, all questions together: several may be under way at once.
        answer: to the last question: `sent`, or the reason why not.
    """

    source: str
    role: str
    times: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    answer: str = ""


@dataclass(slots=True)
class Record:
    """Where the bytes of one fetch came from, for people. No decision rests on it.

    Args:
        digest: what was fetched.
        repository: under whose name it was first asked for.
        started_unix_s: Unix time, s.
        size: in bytes; None until known.
        sources: bytes written by source: a member's name, or `upstream`.
        origins: the same by origin, once the fetch has ended: a home may have what it sends from another member, or
            from upstream.
        asked: who was asked for it, as what, and how that went.
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
    origins: dict[str, int] = field(default_factory=dict)
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    resumed: int = 0
    outcome: Phase = Phase.RUNNING
    seconds: float = 0.0
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    def landed(self, source: str, role: str, count: int, seconds: float, error: Exception | None) -> None:
        """Take note of how a question to a source ended.

        Args:
            source: who was asked.
            role: as what.
            count: bytes that it sent.
            seconds: how long that took.
            error: why it did not send the rest; None if it sent all.
        """
        asked = self.asked.get((source, role))
        if asked is None:
            if len(self.asked) >= _ASKED_MAX:
                return
            asked = self.asked[source, role] = Asked(source, role)
        asked.times += 1
        asked.bytes += count
        asked.seconds += seconds
        asked.failed += error is not None
        asked.answer = (
            _SENT if error is None else str(error.reason) if isinstance(error, SourceError) else "the disk failed"
        )

    def row(self) -> dict[str, Any]:
        """It as it goes into JSON."""
        own = {of.name: getattr(self, of.name) for of in fields(self)}
        copied = {"sources": dict(self.sources), "origins": dict(self.origins), "failures": list(self.failures)}
        return {**own, **copied, "asked": [asdict(it) for it in self.asked.values()]}

    def progress(self, *, is_read: bool, for_clients: bool) -> "Progress":
        """How far it is, as a value that does not change any more.

        Args:
            is_read: whether anybody reads it now.
            for_clients: whether anybody on this node ever read it.
        """
        return Progress(
            digest=self.digest,
            repository=self.repository,
            started_unix_s=self.started_unix_s,
            seconds=self.seconds,
            size=self.size,
            sources=dict(self.sources),
            resumed=self.resumed,
            outcome=self.outcome,
            is_read=is_read,
            for_clients=for_clients,
            failures=tuple(self.failures),
        )

    def write(self, log: logging.Logger) -> None:
        """Write a line about it, when it has ended."""
        log.debug(
            "a fetch ended image=%s digest=%s outcome=%s bytes=%s seconds=%.3f resumed=%d sources=%s",
            self.repository,
            self.digest,
            self.outcome,
            "unknown" if self.size is None else self.size,
            self.seconds,
            self.resumed,
            ",".join(f"{name}:{count}" for name, count in self.sources.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a fetch was at one moment, for people.

    Args:
        digest: what is fetched.
        repository: under whose name it was first asked for.
        started_unix_s: Unix time, s.
        seconds: how long it took; 0 while it runs.
        size: in bytes; None until known.
        sources: bytes written by source: a member's name, or `upstream`.
        resumed: bytes that an earlier fetch had left.
        outcome: how it ended, or that it runs.
        is_read: whether anybody reads it now. A fetch that nobody reads runs on for a while.
        for_clients: whether anybody on this node ever read it, and not only other members.
        failures: what went wrong on the way, one sentence each.
    """

    digest: str
    repository: str
    started_unix_s: float
    seconds: float
    size: int | None
    sources: Mapping[str, int]
    resumed: int
    outcome: Phase
    is_read: bool
    for_clients: bool
    failures: Sequence[str]

    @property
    def is_running(self) -> bool:
        """Whether bytes are awaited by somebody."""
        return self.outcome is Phase.RUNNING and self.is_read

    @property
    def bytes(self) -> int:
        """All that is here; what was fetched twice counts once."""
        count = self.resumed + sum(self.sources.values())
        return count if self.size is None else min(count, self.size)
