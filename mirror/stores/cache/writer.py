"""CacheWriter: writes one blob into the cache, from `CacheStore.begin` until it is committed, left or discarded."""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from ...fileio import in_thread
from ...oci.digest import Digest
from ..proofs import Proof
from .folder import Folder
from .journal import Journal
from .partials import Partials


@dataclass(frozen=True, slots=True)
class _Files:
    """The open files of one blob."""

    fd: int
    journal: Journal


class CacheWriter:
    """The one object that writes a blob to the cache.

    Exactly one of `commit`, `leave` and `discard` ends it, on the event loop.

    Args:
        digest: of the blob.
        files: its open files.
        folder: where they are.
        partials: counts the blob as being written, until this ends.
        on_commit: called with its proof when the blob is complete and under its final name.
    """

    def __init__(
        self,
        digest: Digest,
        files: _Files,
        folder: Folder,
        partials: Partials,
        on_commit: Callable[[Proof | None], None],
    ) -> None:
        self.fd = files.fd
        """The file, with all its bytes reserved; open for reading and writing.

        Whoever takes it closes it: readers go on with it when the writer has ended.
        """
        self.prefixes = files.journal.prefixes
        """The journal of an earlier fetch: for each piece, in order, the sha256 of everything up to its end."""
        self._name = digest.hex
        self._journal = files.journal
        self._folder = folder
        self._partials = partials
        self._on_commit = on_commit
        self._has_ended = False

    @classmethod
    async def open(
        cls,
        digest: Digest,
        size: int,
        folder: Folder,
        partials: Partials,
        on_commit: Callable[[Proof | None], None],
        *,
        continued: bool,
    ) -> "CacheWriter":
        """Open the files in a thread, and reserve the blob's bytes on disk; if cancelled meanwhile, leave none open.

        Args:
            digest: of the blob.
            size: of the blob, in bytes.
            folder: where its files are.
            partials: counts the blob as being written.
            on_commit: called with its proof when the blob is complete and under its final name.
            continued: whether to go on with what an earlier fetch left, rather than begin with empty files.

        Raises:
            OSError: the disk is full, or failed.
        """
        opened: list[_Files] = []
        try:
            await in_thread(lambda: opened.append(_open_files(folder, digest.hex, size, continued=continued)))
        except asyncio.CancelledError:
            for files in opened:
                os.close(files.fd)
                files.journal.close()
            raise
        return cls(digest, opened[0], folder, partials, on_commit)

    @property
    def is_open(self) -> bool:
        """Whether it was neither committed nor left nor discarded yet."""
        return not self._has_ended

    def append_prefix(self, sha256: bytes) -> None:
        """Note that the next piece is in the file, and the sha256 of everything up to its end."""
        self._journal.append(sha256)

    def keep(self, count: int) -> None:
        """Strike all but the first pieces from the journal: the others are not in the file, or may be wrong."""
        self._journal.keep(count)

    def commit(self, proof: Proof | None = None) -> None:
        """Let the file, complete and found right, become a blob; it is advertised at once.

        Args:
            proof: of the file, by whoever hashed it.

        Raises:
            OSError: the disk failed. Then the writer has not ended: leave or discard what is there.
        """
        self._expect_open()
        self._folder.publish(self._name)
        self._end()
        self._partials.finish(self._name)
        self._on_commit(proof)

    def leave(self) -> None:
        """Leave the blob partial, for the next fetch to continue."""
        self._end()
        self._partials.leave(self._name)

    def discard(self) -> None:
        """Forget the blob, and delete what is here of it."""
        self._end()
        self._partials.discard(self._name)

    def _end(self) -> None:
        self._expect_open()
        self._has_ended = True
        self._journal.close()

    def _expect_open(self) -> None:
        if self._has_ended:
            raise RuntimeError(f"sha256:{self._name} was already committed, left or discarded")


def _open_files(folder: Folder, name: str, size: int, *, continued: bool) -> _Files:
    """Open the file and its journal; empty them unless an earlier fetch is continued. Blocks."""
    truncate = 0 if continued else os.O_TRUNC
    fd = os.open(folder.partial(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | truncate, 0o640)
    try:
        if size:
            _reserve(fd, size)
        journal = os.open(folder.journal(name), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | truncate, 0o640)
    except OSError:
        os.close(fd)
        raise
    try:
        return _Files(fd, Journal(journal, size))
    except OSError:
        os.close(fd)
        os.close(journal)
        raise


def _reserve(fd: int, size: int) -> None:
    """Reserve the file's bytes on disk, where the file system can."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # those: no such call on this file system
            raise
