"""What the hub was asked, by kind of request."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter


class Kind(enum.StrEnum):
    """A kind of request, or of answer. Requests that were answered 401 count as `CHALLENGE` alone."""

    HEAD = "HEAD of manifests"
    MANIFEST = "GET of manifests"
    BLOB = "blobs"
    """Answered by a redirect to the store."""
    STORE = "downloads"
    """What the store was asked."""
    TOKEN = "tokens"
    LIST = "lists"
    PING = "GET of /v2/"
    CHALLENGE = "answers 401"
    LIMITED = "answers 429"
    """Counted beside the kind of the request."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each kind came, up to a moment, or between two."""

    by_kind: Mapping[Kind, int] = field(default_factory=dict)

    def __getitem__(self, kind: Kind) -> int:
        return self.by_kind.get(kind, 0)

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts({kind: self[kind] - other[kind] for kind in Kind})

    @classmethod
    def of(cls, counter: "Counter[Kind]") -> "Counts":
        """What has been counted so far."""
        return cls({kind: counter[kind] for kind in Kind})
