"""Sources of bytes that this node does not hold: the contract, which `peers` and `upstream` implement.

A source is asked for a byte range, in a role. It says what will come before it sends anything, and puts the bytes into
the sink that came with the request.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..routers import Peer

UPSTREAM = "upstream"
"""The name of the registry as a source. No member can have it: see `mirror.config`."""

HOP_HEADER = "Skvaller-Hop"
"""Marks a request of a member, made on behalf of its own client. A node that gets one answers from what it holds. A
home also asks holders and upstream, but never another home: so no request goes round in a circle. How circles of
several clusters end: see `chain`."""

COMMAND_HEADER = "Skvaller-Command"
"""Sent by this project's own commands with what they ask at a client endpoint: from this machine they may write,
whatever `--push` says. A web page cannot send it without asking first, which it may not."""

STAGED = "localhost/skvaller-load"
"""The repository into which `skvaller load` puts blobs of a pipe before it knows their names: who mounts what is there
has sent it."""

SIZE_MAX_BYTES = 1 << 44
"""Bounds the size that a source may state for one blob, 16 TiB: no image is larger, and file systems can hold it."""


class Role(enum.Enum):
    """As what a source is asked for bytes; for members the value is what the request's header says."""

    HOLDER = "holder"
    """Sends from its complete copy. It may answer that it is busy."""
    HOLDER_FOR_HOME = "holder-for-home"
    """Sends from its complete copy although it is busy: the member that asks is a home, and passes the bytes on."""
    HOME = "home"
    """Fetches what it does not hold, from holders or upstream, and sends it on while it arrives."""
    PARTIAL = "partial"
    """Sends what has arrived so far of a blob, and fetches nothing."""
    UPSTREAM = "upstream"
    """The registry. No member is ever asked in this role."""

    @property
    def is_holder(self) -> bool:
        """Whether the source is asked for its own complete copy."""
        return self in (Role.HOLDER, Role.HOLDER_FOR_HOME)

    @property
    def waits_for_others(self) -> bool:
        """Whether the source may itself wait for another node's download before it can send."""
        return self in (Role.HOME, Role.PARTIAL)


class Life(enum.Enum):
    """What is known of a member that owes an answer."""

    ALIVE = "alive"
    """It gave a sign of life."""
    SILENT = "silent"
    """It has given none in the time that is usual for it, and may be gone: what it owes is asked of others as well."""
    GONE = "gone"
    """It gave none within the time that any member has: what it owed has failed."""


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """What a source is asked for.

    Args:
        start: first byte.
        stop: end, exclusive; None for everything from `start` on.
        role: as what the source is asked.
        avoid: names of members that the bytes must not come from.
        relative_rate: the throughput that this node measures of the source, divided by the median of the other homes;
            None if too little is known. It tells a slow home that it is slow.
        size: of the whole content in bytes, as others or a manifest say: for a registry that says nothing of it.
    """

    start: int
    stop: int | None
    role: Role = Role.HOLDER
    avoid: tuple[str, ...] = ()
    relative_rate: float | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class RangeReply:
    """What the head of a source's answer says will come.

    Args:
        start: first byte; the one that was asked for.
        stop: end, exclusive; at most what was asked for.
        size: of the whole content, in bytes.
        origin: the member that the source has the bytes from, or `upstream`; None if they are the source's own.
        ranged: whether the source serves ranges.
    """

    start: int
    stop: int
    size: int
    origin: str | None = None
    ranged: bool = True


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a tag means upstream: a manifest's digest, media type and size in bytes."""

    digest: Digest
    media_type: str
    size: int


class Sink(Protocol):
    """Where a source puts the bytes of one request."""

    async def begin(self, reply: RangeReply) -> None:
        """Take note of what will come, before any of it is put.

        Raises:
            SourceError: the reply contradicts what is known.
            StorageError: there is no space for it.
        """
        ...

    def begin_at_once(self, reply: RangeReply) -> bool:
        """Take the reply if it is exactly what was expected, and return True; else `begin` is to be called.

        Called in a worker thread: it compares with a value that does not change, and decides nothing.
        """
        ...

    async def wait_for_space(self, position: int) -> None:
        """Wait until bytes from `position` on can be held until they have been read."""
        ...

    def put(self, position: int, part: bytes | memoryview) -> None:
        """Write bytes to their place, in order. Blocks; called in any thread. They are good until it returns.

        Raises:
            StorageFailed: the disk does not take them.
        """
        ...


class Source(Protocol):
    """A member or upstream."""

    @property
    def name(self) -> str:
        """The member's name, or `UPSTREAM`: for logs, and for the record of where bytes came from."""
        ...

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Put `[request.start, request.stop)` into the sink, or to the end of the content if that comes before.

        Raises:
            SourceError: the bytes do not come, or not all of them.
            StorageError: from the sink.
            OSError: the file cannot be written to.
        """
        ...


class Witness(Protocol):
    """A holder that says what it found when it verified the whole, so that it vouches for what others sent."""

    async def prefixes(self, content: Content, count: int) -> tuple[bytes, ...]:
        """For each whole piece of a blob, of which there are `count`, the sha256 of everything up to its end.

        Raises:
            SourceError: it does not hold the blob, has not verified it yet, or gave no valid answer.
        """
        ...

    async def sha256(self, content: Content, start: int, stop: int) -> bytes:
        """The sha256 of a range of its copy; raises SourceError."""
        ...


class SizedSource(Source, Protocol):
    """A source that can be asked for a size alone: upstream."""

    async def size(self, content: Content, expected: int | None = None) -> int:
        """How many bytes some content has.

        Args:
            content: what is asked about.
            expected: what somebody else says, in bytes. Then a cheaper question may do: one whose answer can be wrong,
                but hardly just as that one is.

        Raises:
            SourceError: it does not say.
        """
        ...


class MemberSources(Protocol):
    """All other members as sources, and what is asked of them beside content."""

    def source(self, peer: Peer) -> Source:
        """One member as a source of content."""
        ...

    def witness(self, peer: Peer) -> Witness:
        """One member as a holder that vouches."""
        ...

    async def size(self, peer: Peer, content: Content, role: Role) -> int:
        """How many bytes some content has, as one member says; raises PeerError."""
        ...

    async def is_alive(self, peer: Peer) -> bool:
        """Ask a member for a sign of life, and say whether it gave one in time."""
        ...

    def follow(self, on_life: Callable[[Peer, Life], None]) -> None:
        """Tell from now on, on the loop, what is found out of members that owe an answer.

        Soon after `SILENT` comes one of the others.
        """
        ...

    async def notify_slow(self, peer: Peer, relative_rate: float) -> None:
        """Tell a member the relative rate that this node measures of it; whether that arrives does not matter."""
        ...

    async def notify_wrong(self, peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
        """Tell a member a range of which it sent wrong bytes; whether that arrives does not matter."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: of the tags of a repository, or of the manifests that refer to another one.

    Args:
        body: JSON, as the registry sent it.
        following: the query of the next page, as the registry's `Link` header has it; None on the last page.
        filtered: which filters the registry says it has applied (`OCI-Filters-Applied`); None if it says nothing.
    """

    body: bytes
    following: str | None = None
    filtered: str | None = None


class ListSource(Protocol):
    """Who has lists: upstream."""

    async def page(self, repository: Repository, what: str, query: str) -> Page:
        """Ask for a page of a list.

        Args:
            repository: whose list.
            what: the list below the repository's path: `tags/list`, or `referrers/` and a digest.
            query: that of the page, percent-encoded, without its question mark.

        Raises:
            UpstreamError: there is no answer, or no such list.
        """
        ...


class Standing(enum.Enum):
    """What is known of a registry before it is asked."""

    ASKED = "asked"
    """Nothing says that it would not answer."""
    DOUBTED = "doubted"
    """It is being found out whether it gives a sign of life."""
    OUT = "out"
    """It gives none to this node."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one URL of a registry answers.

    Args:
        url: its origin.
        seconds: that it took.
        status: of the last answer; None without one.
        has_login: whether the operator's credential was taken.
        problem: why there is no answer, or no token; empty if there is.
    """

    url: str
    seconds: float
    status: int | None = None
    has_login: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """What a registry answered to one question, for people. No decision rests on it.

    Args:
        method: GET or HEAD.
        name: the repository in full, as `docker.io/library/nginx`.
        what: the digest or tag that was asked for; or what list.
        url: where it was asked, without the path.
        at_unix_s: when, Unix time.
        seconds: how long that took, with all redirects and tokens, until the head of the answer was here.
        status: of HTTP; None if there was no answer.
        redirected: the host that answered instead, if another one did.
        remaining: requests that are left, as the answer says; None if it does not.
        failure: why there was no answer, in one sentence; None if there was one.
    """

    method: str
    name: str
    what: str
    url: str
    at_unix_s: float
    seconds: float
    status: int | None = None
    redirected: str | None = None
    remaining: str | None = None
    failure: str | None = None


class TagSource(Protocol):
    """Who can say what a tag means: upstream."""

    def standing(self, registry: str) -> Standing:
        """What is known of a registry before it is asked."""
        ...

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means now.

        Raises:
            UpstreamError: there is no answer, or no such tag.
        """
        ...


class Shown(enum.Enum):
    """Whether a registry shows something to somebody who is not this node."""

    YES = "yes"
    REFUSED = "refused"
    """Not to who asks, or not with that credential (401, 403)."""
    ABSENT = "absent"
    """It says that there is no such thing (404); of who may see the repository that says nothing."""


class GuestSource(Protocol):
    """Who can say what a registry shows to others: upstream."""

    async def shows(self, repository: Repository, path: str, authorization: str | None) -> Shown:
        """Ask a registry for something as somebody else, with none of this node's own credentials.

        Args:
            repository: of what is asked for.
            path: below the repository's own: `manifests/` and a tag or digest, `blobs/` and a digest, or `tags/list`.
            authorization: what that one's Authorization header says, `Basic` or `Bearer`; None for anybody.

        Raises:
            UpstreamError: the registry does not say.
        """
        ...
