"""The values. Each is frozen, holds plain texts and numbers, and goes into JSON as it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from .kinds import Kind


@dataclass(frozen=True, slots=True)
class Started:
    """This agent began.

    Args:
        name: of the node.
        version: of the program.
    """

    kind: ClassVar[Kind] = Kind.AGENT_STARTED
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class PullBegan:
    """A client asks for an image that it did not ask for a moment ago.

    Args:
        image: with the first tag that was asked for; with a digest, or without either, where there is no tag.
        client: its IP address; `unix` for one at a Unix socket.
    """

    kind: ClassVar[Kind] = Kind.PULL_BEGAN
    image: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullEnded:
    """A client asks for nothing of an image any more.

    Args:
        image: with the first tag that was asked for.
        client: its IP address; `unix` for one at a Unix socket.
        seconds: from its first request to the end of the last answer.
        requests: how many it made.
        failed: those that were answered with an error.
        bytes: that it was sent.
        sources: bytes by where they came from: `cache` or another store of this node, a member's name, `upstream`.
        upstream_bytes: bytes that upstream sent to this node.
        home_bytes: bytes of members that are homes of parts and fetched these, from upstream unless a member had them.
        why_upstream: why upstream was asked, by this node or by homes; empty if neither sent anything.
        error: the last answer, if that was an error; else empty.
    """

    kind: ClassVar[Kind] = Kind.PULL_ENDED
    image: str
    client: str
    seconds: float
    requests: int
    failed: int
    bytes: int
    sources: Mapping[str, int] = field(default_factory=dict)
    upstream_bytes: int = 0
    home_bytes: int = 0
    why_upstream: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Something became of a member.

    Args:
        kind: one of the group `member`.
        member: its name.
        address: IP address and port of its gossip.
    """

    kind: Kind
    member: str
    address: str


@dataclass(frozen=True, slots=True)
class Refuted:
    """Others suspected this node, which said that it lives.

    Args:
        member: its own name.
    """

    kind: ClassVar[Kind] = Kind.MEMBER_REFUTED
    member: str


@dataclass(frozen=True, slots=True)
class BanBegan:
    """A member was proven to have sent wrong bytes.

    Args:
        member: its name.
        content: of what.
        seconds: for how long it is left alone.
    """

    kind: ClassVar[Kind] = Kind.BAN_BEGAN
    member: str
    content: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BanEnded:
    """A member is asked again."""

    kind: ClassVar[Kind] = Kind.BAN_ENDED
    member: str


@dataclass(frozen=True, slots=True)
class BudgetChanged:
    """What a registry lets the members pull.

    Args:
        kind: one of the group `budget`.
        registry: its name.
        left: pulls that are left; None if it does not say.
        wait_s: for how long nobody pulls, s; 0 if they may.
    """

    kind: Kind
    registry: str
    left: int | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class OutageBegan:
    """A registry does not answer this node.

    Args:
        registry: its name.
        why: what was seen.
    """

    kind: ClassVar[Kind] = Kind.OUTAGE_BEGAN
    registry: str
    why: str


@dataclass(frozen=True, slots=True)
class OutageEnded:
    """A registry answers again, or nobody wants it any more.

    Args:
        registry: its name.
        answers: whether it answers.
        seconds: for how long it did not.
    """

    kind: ClassVar[Kind] = Kind.OUTAGE_ENDED
    registry: str
    answers: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheStopped:
    """Nothing that arrives is kept from now on.

    Args:
        why: in a few words.
    """

    kind: ClassVar[Kind] = Kind.CACHE_STOPPED
    why: str


@dataclass(frozen=True, slots=True)
class CacheWorks:
    """What arrives is kept again."""

    kind: ClassVar[Kind] = Kind.CACHE_WORKS


@dataclass(frozen=True, slots=True)
class CacheEvicted:
    """Blobs left the cache to make room.

    Args:
        blobs: how many.
        seconds: within which time.
    """

    kind: ClassVar[Kind] = Kind.CACHE_EVICTED
    blobs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The cluster has other keys.

    Args:
        ids: of all that this node has now, the one that it seals with first.
    """

    kind: ClassVar[Kind] = Kind.KEYS_CHANGED
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class PinChanged:
    """A pinned image that this node is to keep became whole here, or is not.

    Args:
        kind: one of the group `pin`.
        image: its name, or its digest.
        why: why it is not whole; empty if it is.
    """

    kind: Kind
    image: str
    why: str = ""


Event: TypeAlias = (
    Started
    | PullBegan
    | PullEnded
    | MemberChanged
    | Refuted
    | BanBegan
    | BanEnded
    | BudgetChanged
    | OutageBegan
    | OutageEnded
    | CacheStopped
    | CacheWorks
    | CacheEvicted
    | KeysChanged
    | PinChanged
)

Tell: TypeAlias = Callable[[Event], object]
"""What an owner of facts is handed. It is called on the event loop, and returns at once."""


def nobody(event: Event) -> None:
    """Stands for the feed where nobody wants to know."""
