"""Backings: where the bytes of an arriving blob are, and what follows from that.

A file on disk holds all of the blob. A window in memory holds a bounded part of it, for blobs that the cache has no
space for: what nobody needs any more is dropped, and fetched again if somebody comes back to it. The two answer alike
what has to be fetched for readers, how far readers and the hash may go, and what may be dropped.

What a reader gets and what is hashed must be the same bytes. In a window neither may therefore run so far ahead of the
other that its bytes are dropped, and fetched again, in between: both stay within the `lookahead` of each other.
"""

import mmap
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from ...cluster.homes import piece_size
from ...errors import StorageFailed, StorageFull
from ...fileio import write_all
from ...oci.ranges import RangeSet
from ...settings import SpoolSettings

Span = tuple[int, int]
"""What one reader still needs: `(position, stop)`."""


class Backing(ABC):
    """A file for the bytes of one blob; it exists once the blob's size is known.

    Args:
        fd: open for reading and writing; `close` closes it.
        size: of the blob, in bytes.
    """

    is_in_memory: ClassVar[bool]
    """Whether only a part of the blob is held, which depends on where readers and the hash are."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self.piece_bytes = piece_size(size)
        self.last_piece = max(size - 1, 0) // self.piece_bytes * self.piece_bytes
        """Where the last piece begins."""
        self._claimed = RangeSet()
        self._claiming = threading.Lock()

    def put(self, offset: int, part: bytes | memoryview) -> list[tuple[int, int]]:
        """Write those bytes that are not in the file, and that nobody writes now. Blocks; in any thread.

        No byte is written twice unless it was released in between: what was hashed, or given to a reader, stays as it
        is, whoever else sends the same bytes once more.

        Returns:
            The ranges that were written.

        Raises:
            StorageFailed: the disk does not take them.
        """
        fresh = self.claim(offset, offset + len(part))
        view = memoryview(part)
        try:
            for start, stop in fresh:
                write_all(self.fd, view[start - offset : stop - offset], start)
        except OSError as error:
            raise StorageFailed(f"the cache's disk failed: {error.strerror}") from error
        return fresh

    def claim(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Reserve a range for the caller to write; return the parts of it that nobody had claimed.

        The set of claims is the one state of a spool that threads change, under a lock: two sources may send the same
        bytes at the same moment, and only one of them may write. All other state changes on the event loop alone.
        """
        with self._claiming:
            fresh = list(RangeSet((start, stop)) - self._claimed)
            self._claimed.add(start, stop)
        return fresh

    def release(self, start: int, stop: int) -> None:
        """Give claims up: these bytes may be written once more."""
        with self._claiming:
            self._claimed.remove(start, stop)

    def close(self) -> None:
        """Close the file; once closed, `fd` is -1."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def holds_all(self) -> bool:
        """Whether all of the blob can be here at once, so that its digest is known before readers need its bytes."""
        return not self.is_in_memory

    @abstractmethod
    def local_demand(self, spans: Sequence[Span], hashed: int, *, is_whole_wanted: bool) -> RangeSet:
        """What has to be fetched for readers on this node that want the whole, whether it is present or not.

        Args:
            spans: of those that read now.
            hashed: end of what has been hashed.
            is_whole_wanted: whether such a reader ever joined.
        """

    @abstractmethod
    def lazy_demand(self, spans: Sequence[Span]) -> RangeSet:
        """What has to be fetched for readers on this node that read ranges by themselves.

        Args:
            spans: of what they read now, and then of what they will read.
        """

    def member_demand(self, spans: Sequence[Span], local_readers: int) -> RangeSet:
        """What has to be fetched for other members.

        Args:
            spans: of the members that read now.
            local_readers: readers on this node that read now.
        """
        unit = self.piece_bytes
        ahead = self.lookahead(local_readers) // unit * unit + unit
        return RangeSet(*((position, min(stop, position + ahead)) for position, stop in spans))

    @abstractmethod
    def lookahead(self, local_readers: int) -> int:
        """How many bytes are held ahead of each reader on this node, and ahead of the hash."""

    @abstractmethod
    def read_limit(self, position: int) -> int:
        """The end of what a reader at a position may be given in one step."""

    @abstractmethod
    def trim(self, present: RangeSet, needed: Callable[[], RangeSet]) -> list[tuple[int, int]]:
        """Drop what nobody needs, so that the bound holds; return the ranges that were dropped.

        Args:
            present: what is in the file.
            needed: tells what may not be dropped; asked only if something has to be.
        """

    @abstractmethod
    def verified(self) -> RangeSet:
        """What is present once the digest is right, though some of it was retracted just before that."""


class DiskFile(Backing):
    """A file of the cache, which holds all of the blob. Readers and the hash go as far as bytes are present.

    Args:
        fd: open for reading and writing; `close` closes it.
        size: of the blob, in bytes.
        reserve: takes space for a range before it is written; blocks, and raises StorageError.
        reserve_bytes: how much is taken at once, in bytes; asked each time.
    """

    is_in_memory = False

    def __init__(
        self,
        fd: int,
        size: int,
        reserve: Callable[[int, int], None] = lambda start, stop: None,
        reserve_bytes: Callable[[], int] = lambda: SpoolSettings().reserve_bytes,
    ) -> None:
        super().__init__(fd, size)
        self._reserve = reserve
        self._reserve_bytes = reserve_bytes
        self._reserved = RangeSet()
        self._reserving = threading.Lock()

    def put(self, offset: int, part: bytes | memoryview) -> list[tuple[int, int]]:
        """Take space where none was taken yet, and write; see `Backing.put`."""
        self.take_space(offset, offset + len(part))
        return super().put(offset, part)

    def take_space(self, start: int, stop: int) -> None:
        """Take space for a range, and for what is around it, where none was taken yet. Blocks; in any thread.

        Raises:
            StorageFull: there is none.
            StorageFailed: the disk failed.
        """
        step = self._reserve_bytes()
        with self._reserving:
            first, end = start // step * step, min(-(-stop // step) * step, self.size)
            for missing in list(RangeSet((first, end)) - self._reserved):
                self._reserve(*missing)
                self._reserved.add(*missing)

    def local_demand(self, spans: Sequence[Span], hashed: int, *, is_whole_wanted: bool) -> RangeSet:
        """All of the blob, once somebody wants it, or has to wait for its digest; see `Backing.local_demand`."""
        return RangeSet((0, self.size)) if is_whole_wanted or spans else RangeSet()

    def lazy_demand(self, spans: Sequence[Span]) -> RangeSet:
        """All of it; see `Backing.lazy_demand`."""
        return RangeSet(*spans)

    def lookahead(self, local_readers: int) -> int:
        """All of the blob; see `Backing.lookahead`."""
        return self.size

    def read_limit(self, position: int) -> int:
        """The end of the blob; see `Backing.read_limit`."""
        return self.size

    def trim(self, present: RangeSet, needed: Callable[[], RangeSet]) -> list[tuple[int, int]]:
        """Drop nothing; see `Backing.trim`."""
        return []

    def verified(self) -> RangeSet:
        """All of the blob; see `Backing.verified`."""
        return RangeSet((0, self.size))


class MemoryWindow(Backing):
    """A file in memory of which a bounded part is filled.

    Args:
        size: of the blob, in bytes.
        settings: of the spool.

    Raises:
        StorageFull: memory does not take a file of that size.
    """

    is_in_memory = True

    def __init__(self, size: int, settings: SpoolSettings) -> None:
        fd, self._pages = _memory_file(size)
        super().__init__(fd, size)
        self._window_bytes = max(settings.window_bytes, settings.window_pieces * self.piece_bytes)

    @property
    def holds_all(self) -> bool:
        """Whether the blob is no larger than the window; see `Backing.holds_all`."""
        return self.size <= self._window_bytes

    def close(self) -> None:
        """Give the memory back; see `Backing.close`."""
        if self._pages is not None:
            self._pages.close()
            self._pages = None
        super().close()

    def local_demand(self, spans: Sequence[Span], hashed: int, *, is_whole_wanted: bool) -> RangeSet:
        """What comes next for each reader and, if one of them waits for the digest, for the hash."""
        if self.holds_all:
            return RangeSet((0, self.size)) if spans else RangeSet()
        needed = list(spans)
        if any(stop > self.last_piece for _, stop in spans):
            needed.append((hashed, self.size))
        unit, ahead = self.piece_bytes, self.lookahead(len(spans))
        return RangeSet(*((start, min(stop, (start + ahead) // unit * unit + unit)) for start, stop in needed))

    def lazy_demand(self, spans: Sequence[Span]) -> RangeSet:
        """What comes first, as much as fits into half the window; see `Backing.lazy_demand`."""
        left, needed = self._window_bytes // 2, []
        for start, stop in spans:
            if left <= 0:
                break
            needed.append((start, min(stop, start + left)))
            left -= stop - start
        return RangeSet(*needed)

    def lookahead(self, local_readers: int) -> int:
        """An equal share of half the window for each reader and for the hash, but at least one piece; or all of it."""
        if self.holds_all:
            return self.size
        return max(self.piece_bytes, self._window_bytes // (2 * (local_readers + 1)))

    def read_limit(self, position: int) -> int:
        """The end of the piece: more might be dropped before the reader has read it."""
        return (position // self.piece_bytes + 1) * self.piece_bytes

    def trim(self, present: RangeSet, needed: Callable[[], RangeSet]) -> list[tuple[int, int]]:
        """Drop what nobody needs, lowest first, until the bound holds; what is needed is bounded too.

        Whole pieces go, and what lies alone.
        """
        excess = present.byte_count - self._window_bytes
        if excess <= 0:
            return []
        unit, dropped, together = self.piece_bytes, [], set(present)
        for start, stop in present - needed():
            first, last = -(-start // unit) * unit, stop if stop == self.size else stop // unit * unit
            last = min(last, first + -(-excess // unit) * unit)
            if first >= last and (start, stop) in together:
                first, last = start, stop
            if first < last and excess > 0:
                self._drop(first, last)
                dropped.append((first, last))
                excess -= last - first
        return dropped

    def _drop(self, start: int, stop: int) -> None:
        """Give a range's memory back, but no page that has bytes of others: they may be written at this moment."""
        page = mmap.PAGESIZE
        first, end = start // page * page, -(-stop // page) * page
        with self._claiming:
            self._claimed.remove(start, stop)
            if self._claimed.touches(first, start):
                first += page
            if self._claimed.touches(stop, end):
                end -= page
            if self._pages is not None and first < end:
                self._pages.madvise(mmap.MADV_REMOVE, first, min(end, self.size) - first)

    def verified(self) -> RangeSet:
        """Nothing but what is present anyway; see `Backing.verified`."""
        return RangeSet()


def _memory_file(size: int) -> tuple[int, mmap.mmap | None]:
    """Make a file in memory that is as long as the blob, but has no page yet; an empty one cannot be mapped."""
    fd = os.memfd_create("spool", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        pages = mmap.mmap(fd, size) if size else None
    except OSError as error:
        os.close(fd)
        raise StorageFull(f"{size} bytes do not pass through memory: {error.strerror}") from error
    return fd, pages
