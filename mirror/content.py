"""What is asked of a source of content, and what it delivers: the terms that fetch shares with peers and upstream."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from .digest import Digest
from .reference import Repository

HOP_HEADER = "Skvaller-Hop"
"""Marks a request that a node makes for another: whoever gets one answers from what it holds and asks nobody."""


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
class Delivery:
    """The bytes `[start, stop)` of some content, on their way.

    Args:
        start: first byte, as asked for.
        stop: end of what will come; at most what was asked for.
        size: of the whole content, in bytes.
        chunks: gives exactly `stop - start` bytes in pieces of any size, or raises SourceError.
    """

    start: int
    stop: int
    size: int
    chunks: AsyncIterator[bytes]


class Source(Protocol):
    """A peer or upstream, for one piece of content."""

    @property
    def name(self) -> str:
        """The member's name, or `upstream`: for logs and for the record of where bytes came from."""
        ...

    def open(self, content: Content, start: int, stop: int | None) -> AbstractAsyncContextManager[Delivery]:
        """Ask for `[start, stop)`, to the end where stop is None or beyond it; raise SourceError if it does not come.

        Entering waits for the head of the answer and checks it. Leaving early drops the connection.
        """
        ...
