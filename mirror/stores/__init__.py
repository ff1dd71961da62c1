"""Stores: the contract of a place that content is read from, and the values that it hands out.

A store answers at once, from memory: `open` and `tag` never wait. What it serves is complete, was verified as a whole,
and is checked again before it leaves (`held`, `checking`, `proofs`). Only proven damage makes a store drop content: no
other error does. The same tests (tests/contract) run for every store.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ..oci.digest import Digest
from ..oci.reference import Reference
from .held import Checks, Held
from .proofs import Proof

__all__ = [
    "Authority",
    "BlobCache",
    "BlobUpload",
    "BlobUploads",
    "BlobWriter",
    "CacheContents",
    "Checks",
    "HashedRange",
    "Held",
    "Kept",
    "Listener",
    "Proof",
    "Store",
    "Tag",
    "TagStore",
]


Authority: TypeAlias = Literal["upstream", "runtime", "pushed", "pinned"]
"""Who says what a tag means: a registry, only a container runtime's own store, who pushed it to this cluster, or who
pinned it, when that was."""


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag was last known to mean.

    Args:
        digest: of the manifest or index.
        checked_unix_s: Unix time, in seconds of this node's clock, when this was last known to be so.
        authority: who says so.
    """

    digest: Digest
    checked_unix_s: float
    authority: Authority


@dataclass(frozen=True, slots=True)
class HashedRange:
    """A part of a blob that was left, `[start, stop)`, and its sha256."""

    start: int
    stop: int
    sha256: bytes


class BlobWriter(Protocol):
    """Writes one blob into a store; exactly one of `commit`, `leave` and `discard` ends it, on the event loop."""

    @property
    def fd(self) -> int:
        """The file, as long as the blob; open for reading and writing. Whoever takes it closes it."""
        ...

    @property
    def prefixes(self) -> Sequence[bytes]:
        """What an earlier fetch left: for each piece, in order, the sha256 of everything up to its end."""
        ...

    @property
    def ranges(self) -> Sequence[HashedRange]:
        """What an earlier fetch left beyond that; each is to be hashed before it is used."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether nothing has ended it yet."""
        ...

    def reserve(self, start: int, stop: int) -> None:
        """Take space for some bytes before they are written. Blocks; in any thread but the event loop's.

        Raises:
            StorageFull: there is no space that could be taken.
            StorageFailed: the disk failed.
        """
        ...

    def append_prefix(self, sha256: bytes) -> None:
        """Note that the next piece is in the file, and the sha256 of everything up to its end."""
        ...

    def keep(self, count: int) -> None:
        """Forget all but the first pieces: the others are not in the file, or may be wrong."""
        ...

    def commit(self, proof: Proof | None = None) -> None:
        """Let the file, complete and found right, become a blob.

        Args:
            proof: of the file, by whoever hashed it. Without it the store hashes the file before any byte leaves.

        Raises:
            OSError: the disk failed. Then the writer has not ended.
        """
        ...

    def leave(self, ranges: Sequence[HashedRange] = ()) -> None:
        """Leave the blob partial, for the next fetch to continue, with what is there beyond the whole pieces."""
        ...

    def discard(self) -> None:
        """Forget the blob, and delete what is here of it."""
        ...


class BlobUpload(Protocol):
    """Writes one blob whose digest is known at its end; exactly one of `commit` and `discard` ends it."""

    @property
    def fd(self) -> int:
        """The file, open for reading and writing as long as the upload is."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether nothing has ended it yet."""
        ...

    async def expect(self, size: int) -> None:
        """Take note of how long the blob will be at least, in bytes; raise StorageError if that does not fit."""
        ...

    def reserve(self, stop: int) -> None:
        """Take space for the bytes up to `stop`. Blocks; in any thread but the event loop's; raise StorageError."""
        ...

    def commit(self, digest: Digest, size: int, proof: Proof | None) -> None:
        """Let the file, of `size` bytes and found right, become a blob; StorageFailed: it cannot, and is gone."""
        ...

    def discard(self) -> None:
        """Forget what has come, and delete it; nothing happens if it has ended already."""
        ...


class BlobUploads(Protocol):
    """A place to which blobs are uploaded."""

    async def begin(self, size: int = 0) -> BlobUpload:
        """Begin one of at least `size` bytes; raise StorageError if it does not fit, or the disk failed."""
        ...


class BlobCache(Protocol):
    """A place that content is written to."""

    def has_partial(self, digest: Digest) -> bool:
        """Whether an earlier fetch left something of a blob."""
        ...

    async def begin(self, digest: Digest, size: int, wanted_here: Callable[[], bool]) -> BlobWriter:
        """Begin to write a blob; nobody else may be writing it. Nothing goes for its size alone.

        Args:
            digest: of the blob.
            size: in bytes, as somebody says.
            wanted_here: whether a client of this node asked for it by now; else only other members did.

        Raises:
            StorageFull: it does not fit.
            StorageFailed: the disk failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A complete blob of the cache, for whoever decides what may go.

    Args:
        digest: of the blob.
        size: in bytes.
        used_unix_s: when a client of this node last used it, or else when it came, Unix time.
        is_read: whether somebody reads it now.
    """

    digest: Digest
    size: int
    used_unix_s: float
    is_read: bool


class CacheContents(Protocol):
    """What the operator sees of a cache, and may have deleted."""

    async def kept(self) -> list[Kept]:
        """Every complete blob, those that would be evicted first first."""
        ...

    def peek(self, digest: Digest) -> Held | None:
        """Open a blob as `Store.open` does, without counting that as a use of it."""
        ...

    async def delete(self, digests: Iterable[Digest]) -> list[Digest]:
        """Delete blobs; return those that were here, when their bytes are free. Who reads one reads it to its end."""
        ...

    async def forget(self, reference: Reference) -> Tag | None:
        """Forget what a tag means; return what that was, or None if it was not known."""
        ...


class TagStore(Protocol):
    """Remembers what upstream said of tags."""

    def tag(self, reference: Reference) -> Tag | None:
        """What upstream last said of a tag, as far as this node heard."""
        ...

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Remember what a tag means."""
        ...


class Listener(Protocol):
    """Follows what a store holds. The calls come on the event loop, and must not wait."""

    def appeared(self, keys: Collection[bytes]) -> None:
        """These keys (`Digest.key`, `Reference.key`) can be served from now on; each is reported once per store."""
        ...

    def vanished(self, keys: Collection[bytes]) -> None:
        """These keys can no longer be served."""
        ...


class Store(Protocol):
    """A place that content is read from."""

    @property
    def name(self) -> str:
        """One word for logs, metrics and the status endpoint."""
        ...

    async def start(self, listener: Listener) -> None:
        """Begin to serve. Report to the listener what is there, and then every change, until `close`."""
        ...

    async def close(self) -> None:
        """Stop; release everything."""
        ...

    def open(self, digest: Digest) -> Held | None:
        """Open content, or return None if it is not here.

        Raises:
            StorageFailed: it is here, but cannot be opened now: no descriptors, no permission.
        """
        ...

    def tag(self, reference: Reference) -> Tag | None:
        """What the store knows of a tag, or None."""
        ...

    def references(self) -> Iterable[Reference]:
        """The tags that the store knows, in any order."""
        ...

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Note that another store of this node has these keys too: if what is here is only a copy, it goes first."""
        ...
