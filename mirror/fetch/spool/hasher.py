"""Hasher: the sha256 of an arriving blob, along the contiguous bytes from the beginning.

Threads read and hash, one step at a time; the event loop says how far the next step goes. What was retracted after it
was hashed makes the hash start again from byte 0.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Sequence

from ...fileio import in_thread
from ...oci.ranges import RangeSet
from ...settings import SpoolSettings
from .backing import Backing


class Hasher:
    """Hashes one blob.

    Args:
        settings: of the spool.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self.position = 0
        """End of what has been hashed."""
        self.reading = RangeSet()
        """The range that a thread hashes now, or hashed last."""
        self._settings = settings
        self._sha256 = hashlib.sha256()
        self._resumed = 0, hashlib.sha256()
        """What `resume` has verified: its end, and the hash up to there."""
        self._must_restart = False
        self._wake = asyncio.Event()
        self._at_work = asyncio.Lock()  # so that `run` waits for `resume`

    @property
    def next(self) -> int:
        """The first byte that it needs next: 0 if it must start again."""
        return 0 if self._must_restart else self.position

    def arrived(self, start: int, stop: int) -> None:
        """Note that bytes are present; wake if the next step may need them."""
        if start < self.position + self._settings.hash_step_bytes and self.position < stop:
            self._wake.set()

    def wake(self) -> None:
        """Look again how far the next step may go."""
        self._wake.set()

    def retract(self, start: int, stop: int) -> None:
        """Note that bytes may be wrong: if they were hashed, or are being hashed, the hash starts again."""
        self._resumed = 0, hashlib.sha256()
        if start < self.position or self.reading & RangeSet((start, stop)):
            self._must_restart = True
            self._wake.set()

    async def resume(self, backing: Backing, prefixes: Sequence[bytes]) -> int:
        """Hash what an earlier fetch left, as far as it is what that fetch had written.

        Args:
            backing: the file.
            prefixes: for each piece, in order, the sha256 of everything up to its end.

        Returns:
            The end of what is right; `run` begins there.
        """
        sha256, good = hashlib.sha256(), 0
        async with self._at_work:
            for number, expected in enumerate(prefixes):
                stop = min((number + 1) * backing.piece_bytes, backing.size)
                further = sha256.copy()
                await in_thread(_hash_range, further.update, backing.fd, (good, stop), self._settings.hash_read_bytes)
                if further.digest() != expected:
                    break
                sha256, good = further, stop
            self._resumed = good, sha256
        return good

    async def run(self, backing: Backing, limit: Callable[[int], int]) -> AsyncGenerator[list[bytes], None]:
        """Hash to the end; then `hexdigest` is the digest of the whole.

        Args:
            backing: the file.
            limit: the end of what may be hashed from a position on; asked on the event loop.

        Yields:
            After each step, or restart: for each piece whose end was passed, the sha256 of everything up to it.
        """
        settings = self._settings
        least = settings.memory_hash_step_bytes if backing.is_in_memory else settings.hash_step_bytes
        async with self._at_work:
            self.position, self._sha256 = self._resumed
            self._resumed, self._must_restart = (0, hashlib.sha256()), False
            while self._must_restart or self.position < backing.size:
                if self._must_restart:
                    self._must_restart, self.position, self._sha256 = False, 0, hashlib.sha256()
                    yield []
                stop = min(limit(self.position), self.position + 2 * settings.hash_step_bytes)
                if stop >= min(self.position + least, backing.size):
                    self.reading = RangeSet((self.position, stop))
                    prefixes = await in_thread(self._hash_pieces, backing, self.position, stop)
                    self.position = stop
                    yield [] if self._must_restart else prefixes
                else:
                    self._wake.clear()
                    await self._wake.wait()

    @property
    def hexdigest(self) -> str:
        """The hexadecimal sha256 of everything up to `position`."""
        return self._sha256.hexdigest()

    async def hash_ranges(self, backing: Backing, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The sha256 of each of some ranges, as they are in the file now."""

        def work() -> list[bytes]:
            digests = []
            for wanted in ranges:
                sha256 = hashlib.sha256()
                _hash_range(sha256.update, backing.fd, wanted, self._settings.hash_read_bytes)
                digests.append(sha256.digest())
            return digests

        return await in_thread(work)

    def _hash_pieces(self, backing: Backing, start: int, stop: int) -> list[bytes]:
        """Hash a range, in a thread; return the sha256 of everything so far at each end of a piece in it."""
        unit, prefixes = backing.piece_bytes, []
        while start < stop:
            end = min((start // unit + 1) * unit, stop)
            _hash_range(self._sha256.update, backing.fd, (start, end), self._settings.hash_read_bytes)
            if end % unit == 0:
                prefixes.append(self._sha256.digest())
            start = end
        return prefixes


def _hash_range(update: Callable[[memoryview], None], fd: int, wanted: tuple[int, int], buffer_bytes: int) -> None:
    """Hash a range of a file; blocks.

    Args:
        update: of a hash object.
        fd: the file.
        wanted: `(start, stop)` of the range.
        buffer_bytes: how much is read at once, at most.

    Raises:
        OSError: the disk fails, or the file ends before the range does.
    """
    start, stop = wanted
    block = bytearray(min(buffer_bytes, stop - start))
    view = memoryview(block)
    while start < stop:
        count = os.preadv(fd, [view[: stop - start]], start)
        if not count:
            raise OSError(f"the spool file ends at {start}, before {stop}")
        update(view[:count])
        start += count
