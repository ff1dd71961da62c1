"""CacheWriter: writes one blob into the cache, from `CacheStore.begin` until it is committed, left or discarded."""

import asyncio
import concurrent.futures
import errno
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...errors import StorageFailed
from ...fileio import in_thread
from ...oci.digest import Digest
from .. import HashedRange
from ..proofs import Proof
from .folder import Folder, open_quietly
from .journal import Journal
from .keeping import Keeping
from .left_ranges import read_ranges, write_ranges
from .marks import MarkFiles
from .partials import Partials, Writing
from .space import Space

T = TypeVar("T")

IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk says that takes no more, at least of this user."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where blobs are written.

    Args:
        folder: the files.
        marks: those of the blobs that needed credentials.
        partials: counts a blob as being written, until the writer ends.
        space: makes room.
        keeping: is told when the disk fails.
        room_s: bounds the wait for room, s.
    """

    folder: Folder
    marks: MarkFiles
    partials: Partials
    space: Space
    keeping: Keeping
    room_s: float


@dataclass(frozen=True, slots=True)
class _Files:
    """The open files of one blob."""

    fd: int
    journal: Journal
    ranges: Sequence[HashedRange]

    def close(self) -> None:
        """Close them, for nobody will write."""
        os.close(self.fd)
        self.journal.close()


class CacheWriter:
    """The one object that writes a blob to the cache.

    Exactly one of `commit`, `leave` and `discard` ends it, on the event loop.

    Args:
        writing: the blob.
        files: its open files.
        place: where they are.
        on_commit: called when the blob is complete and under its final name.
    """

    def __init__(
        self, writing: Writing, files: _Files, place: Place, on_commit: Callable[[Writing, Proof | None], None]
    ) -> None:
        self.fd = files.fd
        """The file, as long as the blob; open for reading and writing. Space is taken by `reserve`.

        Whoever takes it closes it: readers go on with it when the writer has ended.
        """
        self.prefixes = files.journal.prefixes
        """The journal of an earlier fetch: for each piece, in order, the sha256 of everything up to its end."""
        self.ranges = files.ranges
        """What that fetch left beyond these pieces."""
        self._writing = writing
        self._journal = files.journal
        self._place = place
        self._on_commit = on_commit
        self._has_ended = False
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    @classmethod
    async def open(
        cls, writing: Writing, place: Place, on_commit: Callable[[Writing, Proof | None], None]
    ) -> "CacheWriter":
        """Open the files in a thread; if cancelled meanwhile, leave none open.

        Raises:
            OSError: the disk is full, or failed.
        """
        opened: list[_Files] = []
        digest = Digest(writing.name)
        mark = place.marks.of(digest)

        def open_files() -> None:
            files = _open_files(place.folder, writing)
            try:
                if mark is not None:
                    place.marks.write(digest, mark)
            except OSError:
                files.close()
                raise
            opened.append(files)

        try:
            await in_thread(open_files)
        except asyncio.CancelledError:
            for files in opened:
                files.close()
            raise
        return cls(writing, opened[0], place, on_commit)

    @property
    def is_open(self) -> bool:
        """Whether it was neither committed nor left nor discarded yet."""
        return not self._has_ended

    def reserve(self, start: int, stop: int) -> None:
        """Take space for some bytes before they are written. Blocks; in any thread but the event loop's.

        Raises:
            StorageFull: there is no space that could be taken.
            StorageFailed: the disk failed.
        """
        space, missing, gone = self._place.space, stop - start, 0
        self._ask(space.reserve(self._writing, missing))
        while not self._allocate(start, stop):
            gone = self._ask(space.make_way(self._writing, missing, missing - 1, gone))

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
        try:
            self._place.folder.publish(self._writing.name)
        except FileNotFoundError:  # somebody removed the folder, which is made anew
            raise
        except OSError as error:
            self._place.keeping.failed(f"the cache's disk failed: {error.strerror}")
            raise
        self._end()
        self._place.partials.finish(self._writing.name)
        self._on_commit(self._writing, proof)

    def leave(self, ranges: Sequence[HashedRange] = ()) -> None:
        """Leave the blob partial, for the next fetch to continue; see `BlobWriter.leave`."""
        self._end()
        if ranges:
            write_ranges(self._place.folder.ranges(self._writing.name), self._writing.size, ranges)
        self._place.partials.leave(self._writing.name)

    def discard(self) -> None:
        """Forget the blob, and delete what is here of it."""
        self._end()
        self._place.partials.discard(self._writing.name)

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Have the event loop make room, and wait for it."""
        if threading.get_ident() == self._loop_thread:
            question.close()
            raise RuntimeError("reserve() waits for the event loop, so it cannot be called on it")
        answer = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return answer.result(self._place.room_s)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError) as error:
            answer.cancel()
            raise StorageFailed("the cache made no room in time") from error

    def _allocate(self, start: int, stop: int) -> bool:
        """Take space on the disk; return False if it is full."""
        if self._has_ended:  # the descriptor may be closed, and its number another file's
            raise StorageFailed("the blob is not written any more")
        try:
            return _allocate(self.fd, start, stop)
        except OSError as error:
            why = f"the cache's disk failed: {error.strerror}"
            self._loop.call_soon_threadsafe(self._place.keeping.failed, why)
            raise StorageFailed(why) from error

    def _end(self) -> None:
        self._expect_open()
        self._has_ended = True
        self._journal.close()

    def _expect_open(self) -> None:
        if self._has_ended:
            raise RuntimeError(f"sha256:{self._writing.name} was already committed, left or discarded")


def _open_files(folder: Folder, writing: Writing) -> _Files:
    """Open the file and its journal; empty them unless an earlier fetch is continued. Blocks."""
    name, flags = writing.name, os.O_RDWR | os.O_CREAT | (0 if writing.continued else os.O_TRUNC)
    fd = open_quietly(folder.partial(name), flags)
    try:
        os.ftruncate(fd, writing.size)
        journal = open_quietly(folder.journal(name), flags | os.O_APPEND)
    except OSError:
        os.close(fd)
        raise
    try:
        ranges = folder.ranges(name)
        left = read_ranges(ranges, writing.size) if writing.continued else []
        ranges.unlink(missing_ok=True)  # the file changes from now on
        return _Files(fd, Journal(journal, writing.size), left)
    except OSError:
        os.close(fd)
        os.close(journal)
        raise


def _allocate(fd: int, start: int, stop: int) -> bool:
    """Take space on the disk for bytes of a file, where the file system can; return False if the disk is full."""
    try:
        if stop > start:
            os.posix_fallocate(fd, start, stop - start)
    except OSError as error:
        if error.errno in IS_FULL:
            return False
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # those: no such call on this file system
            raise
    return True
