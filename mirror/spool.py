"""The spool: a blob that is still arriving, and everybody who reads it meanwhile.

Bytes are written where they belong, in any order. Readers follow the contiguous bytes from where they are, however many
they are and whenever they came. sha256 runs along the front, in a thread. The last piece is given to nobody before the
digest is right: a reader sees a short read, never a complete corrupt blob.

A spool is told (`begin`, `write`, `doubt`, `finish`, `fail`) by one fetch, and asked (`known_size`, `extents`) by many
readers, all on one event loop.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence

from .content import Content
from .errors import MirrorError, SourceError
from .pagecache import in_thread
from .plan import piece_size
from .ranges import RangeSet

_HASH_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024


class Spool:
    """One arriving blob.

    Args:
        content: what is arriving; its digest is what the bytes must hash to.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        self.size: int | None = None
        self.complete = False
        self.readers = 0
        self.idle = asyncio.Event()
        """Set while nobody reads."""
        self.idle.set()
        self._fd = -1
        self._failure: MirrorError | None = None
        self._present = RangeSet()
        self._replaced = RangeSet()
        self._turn = asyncio.Event()

    def begin(self, fd: int, size: int) -> None:
        """Take the file that the bytes go to, open for reading and writing; the spool closes it."""
        self._fd, self.size = fd, size
        self._change()

    async def write(self, offset: int, chunks: Sequence[bytes]) -> None:
        """Put bytes where they belong; on return readers can have them."""
        await in_thread(_write_all, self._fd, chunks, offset)
        self._present.add(offset, offset + sum(map(len, chunks)))
        self._change()

    async def hash(self) -> str:
        """Follow the front to the end; return the hexadecimal sha256 of the whole."""
        size = await self.known_size()
        sha256 = hashlib.sha256()
        hashed = 0
        while hashed < size:
            stop = min(self._present.front(hashed), hashed + _HASH_BYTES)
            if stop > hashed:
                await in_thread(_hash_range, sha256, self._fd, hashed, stop)
                hashed = stop
            else:
                await self._turn.wait()
        return sha256.hexdigest()

    async def hash_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The sha256 of each of some ranges, as they are in the file now."""

        def work() -> list[bytes]:
            digests = []
            for start, stop in ranges:
                sha256 = hashlib.sha256()
                _hash_range(sha256, self._fd, start, stop)
                digests.append(sha256.digest())
            return digests

        return await in_thread(work)

    def doubt(self, start: int, stop: int) -> None:
        """Take bytes back that may be wrong: they are to be written once more."""
        self._present.remove(start, stop)

    def replaced(self, start: int, stop: int) -> None:
        """Bytes turned out wrong and were replaced: whoever has already read them is let go with a short read."""
        self._replaced.add(start, stop)
        self._change()

    def finish(self) -> None:
        """The digest is right: the last piece may go too."""
        self.complete = True
        self._change()

    def fail(self, failure: MirrorError) -> None:
        """It will not be complete: every reader gets the failure once it has read what it can."""
        self._failure = failure
        self._change()

    def close(self) -> None:
        """Give the file back, when the fetch has ended and nobody reads."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def join(self) -> None:
        """Count a reader in, so that the fetch goes on and the file stays open."""
        self.readers += 1
        self.idle.clear()

    def leave(self) -> None:
        """Count a reader out."""
        self.readers -= 1
        if not self.readers:
            self.idle.set()

    @property
    def fd(self) -> int:
        """The file, for a reader that has joined."""
        return self._fd

    async def known_size(self) -> int:
        """Wait until the size is known; raise the failure if it never will be."""
        while self.size is None:
            if self._failure is not None:
                raise self._failure
            await self._turn.wait()
        return self.size

    async def completed(self) -> None:
        """Wait for the whole, verified; raise the failure if it does not come."""
        while not self.complete:
            if self._failure is not None:
                raise self._failure
            await self._turn.wait()

    async def extents(self, start: int, stop: int) -> AsyncIterator[tuple[int, int]]:
        """Follow `[start, stop)` as it arrives.

        Yields:
            `(offset, count)`: ready bytes of the file, in order, without gaps.

        Raises:
            MirrorError: the rest will not come, or what this reader has got turned out wrong.
        """
        assert self.size is not None
        withheld = (max(self.size - 1, 0) // (unit := piece_size(self.size))) * unit
        position = start
        while position < stop:
            if any(a < position and start < b for a, b in self._replaced):
                raise SourceError("wrong", f"{self.content.digest}: bytes already sent were wrong")
            front = min(self._present.front(position), stop)
            if not self.complete:
                front = min(front, withheld)
            if front > position:
                yield position, front - position
                position = front
            elif self._failure is not None:
                raise self._failure
            else:
                await self._turn.wait()

    def _change(self) -> None:
        """Wake everybody who waits for something to be different."""
        self._turn.set()
        self._turn = asyncio.Event()


def _write_all(fd: int, chunks: Sequence[bytes], offset: int) -> None:
    written = os.pwritev(fd, chunks, offset)
    if written < sum(map(len, chunks)):  # a signal, or the disk is nearly full: the plain way tells
        rest = b"".join(chunks)[written:]
        while rest:
            count = os.pwrite(fd, rest, offset + written)
            rest, written = rest[count:], written + count


def _hash_range(sha256: "hashlib._Hash", fd: int, start: int, stop: int) -> None:
    block = bytearray(min(_BLOCK_BYTES, stop - start))
    view = memoryview(block)
    while start < stop:
        count = os.preadv(fd, [view[: stop - start]], start)
        if not count:
            raise OSError(f"the spool file ends at {start}, before {stop}")
        sha256.update(view[:count])
        start += count
