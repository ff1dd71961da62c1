"""What is asked of a source of content, and what it delivers: the terms that fetch shares with peers and upstream."""

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from .digest import Digest
from .reference import Repository

HOP_HEADER = "Skvaller-Hop"
"""Marks a request that a node makes for another. Whoever gets one answers from what it holds; a home asks holders and
upstream besides, and never another home."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def is_name(text: str) -> bool:
    """Whether a text can be a member's name: then it can stand in a header, between commas, and in a log."""
    return _NAME.fullmatch(text) is not None


SIZE_MAX_BYTES = 1 << 44
"""No content is larger: who says so is mistaken."""


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or blob by its digest, with the repository under whose name a client asked for it.

    Registries keep manifests and blobs apart and want to be told which it is; the digest alone names the bytes.
    """

    repository: Repository
    kind: Literal["manifests", "blobs"]
    digest: Digest

    @property
    def path(self) -> str:
        """The path of the distribution API below the registry, e.g. `library/nginx/blobs/sha256:…`."""
        return f"{self.repository.path}/{self.kind}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a source.

    Args:
        start: first byte.
        stop: end, or None for all there is.
        home: whether a member is asked as a home: it is to bring what it has not.
        kept: whether it is asked for what it may have got, and is not to bring it.
        for_others: whether this node asks as a home: a holder gives it though it is busy.
        avoid: members that it is not to have the bytes from.
        share: what this node finds of the member's pace, as a share of what others deliver; None if it cannot tell.
    """

    start: int
    stop: int | None
    home: bool = False
    kept: bool = False
    for_others: bool = False
    avoid: tuple[str, ...] = ()
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What the head of an answer says.

    Args:
        start: first byte that will come, as asked for.
        stop: end of what will come; at most what was asked for.
        size: of the whole content, in bytes.
        origin: the member that the source has it from, or `upstream`; None where it is the source's own.
        ranged: whether the source serves ranges.
    """

    start: int
    stop: int
    size: int
    origin: str | None = None
    ranged: bool = True


class Sink(Protocol):
    """Where a source puts what it brings."""

    async def begin(self, promise: Promise) -> None:
        """Hear what will come, before any of it is put.

        Raises:
            SourceError: the promise contradicts what is known.
            NoRoom: there is nowhere to put it.
        """
        ...

    def begin_at_once(self, promise: Promise) -> bool:
        """Do what `begin` does where nothing has to be waited for; tell whether so. In any thread."""
        ...

    async def room(self, position: int) -> None:
        """Wait until what comes from `position` on can be kept until it has been read."""
        ...

    def put(self, position: int, part: bytes) -> None:
        """Write what came to its place, in order. Blocks; in any thread.

        Raises:
            NoRoom: the disk does not take it.
        """
        ...


class Source(Protocol):
    """A peer or upstream."""

    @property
    def name(self) -> str:
        """The member's name, or `upstream`: for logs and for the record of where bytes came from."""
        ...

    async def bring(self, content: Content, ask: Ask, sink: Sink) -> None:
        """Bring `[ask.start, ask.stop)`, or to the end where that comes before.

        Raises:
            SourceError: it does not come, or not all of it.
            NoRoom: the sink's.
            OSError: the file cannot be written to.
        """
        ...
