"""How the discovery of a node is asked: whether it finds some content, and whether it names a holder that is gone."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ..content import REPOSITORY
from .asking import Answer, Asker


@dataclass(frozen=True, slots=True)
class Look:
    """What one question about some content brought.

    Args:
        found: whether the content can be had from the holder now.
        offered: whether the holder is named, rightly or not.
        answer: with its times.
    """

    found: bool
    offered: bool
    answer: Answer

    @property
    def answered(self) -> bool:
        """Whether there was an answer."""
        return self.answer.status != 0


class Finder(ABC):
    """Asks one node's discovery, inside of `with`; for one thread at a time.

    Args:
        asker: of what runs on the node.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._asker.close()

    @abstractmethod
    def look(self, digest: str, holder: str) -> Look:
        """Ask whether a holder, the name of its host, has some content. No answer finds nothing and offers nothing."""


class AgentFinder(Finder):
    """Asks an agent's `/api/v1/find`, which looks content up, and asks each member that is named whether it has it."""

    def look(self, digest: str, holder: str) -> Look:
        """Ask whether a member has some content."""
        answer = self._asker.ask("GET", f"/api/v1/find?q={digest}")
        rows = json.loads(answer.body)["holders"][digest] if answer.status == 200 else []
        named = {str(row["member"]): bool(row["has"]) for row in rows}
        return Look(named.get(holder, False), holder in named, answer)


class MirrorFinder(Finder):
    """Asks a mirror for the content itself, as its clients do: for one that tells nothing else and asks no upstream.

    It cannot tell one holder from another. When a holder was named and could not be reached, the error counts attempts.
    """

    def look(self, digest: str, holder: str) -> Look:
        """Ask whether anybody has some content."""
        answer = self._asker.ask("GET", blob_path(digest))
        found = answer.status == 200
        return Look(found, found or attempts_of(answer.body) > 0, answer)


def blob_path(digest: str) -> str:
    """Where a mirror has a blob."""
    return f"/v2/{REPOSITORY}/blobs/{digest}?ns=docker.io"


def attempts_of(body: bytes) -> int:
    """How many holders were tried in vain, by the error of a registry that says so in `detail`; else 0."""
    try:
        errors = json.loads(body)["errors"]
        details = [error.get("detail") for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
    return max((_attempts(detail) for detail in details if isinstance(detail, Mapping)), default=0)


def _attempts(detail: Mapping[str, Any]) -> int:
    count = detail.get("attempts", 0)
    return count if isinstance(count, int) else 0
