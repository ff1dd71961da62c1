"""Reservations: space of the cache for the bytes of one file, taken before they are written."""

import asyncio
import concurrent.futures
import errno
import os
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...errors import StorageFailed
from .folder import Folder
from .keeping import Keeping
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


class Reservation:
    """Takes space for the bytes of one file, until it ends.

    Args:
        writing: the blob.
        fd: its file.
        place: where it is.
    """

    def __init__(self, writing: Writing, fd: int, place: Place) -> None:
        self._writing = writing
        self._fd = fd
        self._place = place
        self._has_ended = False
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    @property
    def has_ended(self) -> bool:
        """Whether no more space is taken."""
        return self._has_ended

    def end(self) -> None:
        """Take no more space: the descriptor may be closed, and its number another file's."""
        self._has_ended = True

    def reserve(self, start: int, stop: int) -> None:
        """Take space for some bytes. Blocks; in any thread but the event loop's.

        Raises:
            StorageFull: there is no space that could be taken.
            StorageFailed: the disk failed.
        """
        space, missing, gone = self._place.space, stop - start, 0
        self._ask(space.reserve(self._writing, missing))
        while not self._allocate(start, stop):
            gone = self._ask(space.make_way(self._writing, missing, missing - 1, gone))

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
        if self._has_ended:
            raise StorageFailed("the blob is not written any more")
        try:
            return _allocate(self._fd, start, stop)
        except OSError as error:
            why = f"the cache's disk failed: {error.strerror}"
            self._loop.call_soon_threadsafe(self._place.keeping.failed, why)
            raise StorageFailed(why) from error


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
