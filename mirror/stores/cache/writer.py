"""CacheWriter: writes one blob into the cache, from `CacheStore.begin` until it is committed, left or discarded."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...fileio import in_thread
from ...oci.digest import Digest
from .. import HashedRange
from ..proofs import Proof
from .folder import Folder, open_quietly
from .journal import Journal
from .left_ranges import read_ranges, write_ranges
from .partials import Writing
from .reservation import Place, Reservation


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
        self._reservation = Reservation(writing, files.fd, place)

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
        return not self._reservation.has_ended

    def reserve(self, start: int, stop: int) -> None:
        """Take space for some bytes before they are written; see `Reservation.reserve`."""
        self._reservation.reserve(start, stop)

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

    def _end(self) -> None:
        self._expect_open()
        self._reservation.end()
        self._journal.close()

    def _expect_open(self) -> None:
        if self._reservation.has_ended:
            raise RuntimeError(f"{Digest(self._writing.name)} was already committed, left or discarded")


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
