"""Hasher: the digest of an arriving blob, along the contiguous bytes from the beginning, and its proof beside it.

Threads read and hash, one step at a time; the event loop says how far the next step goes. What was retracted after it
was hashed makes the hash start again from byte 0.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence

from ...fileio import hash_range, in_thread
from ...oci.digest import Algorithm, Digest
from ...oci.ranges import RangeSet
from ...settings import SpoolSettings
from ...stores.proofs import ContentHasher, Proof
from .backing import Backing


class Hasher:
    """Hashes one blob.

    Args:
        settings: of the spool.
        algorithm: of the blob's digest.
    """

    def __init__(self, settings: SpoolSettings, algorithm: Algorithm = Algorithm.SHA256) -> None:
        self.position = 0
        """End of what has been hashed."""
        self.reading = RangeSet()
        """The range that a thread hashes now, or hashed last."""
        self._settings = settings
        self._algorithm = algorithm
        self._content = self._hasher(0)
        self._resumed: ContentHasher | None = None
        """The hash of what `resume` has verified."""
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
        self._resumed = None
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
        hashed = self._hasher(backing.size)
        async with self._at_work:
            for number, expected in enumerate(prefixes):
                stop = min((number + 1) * backing.piece_bytes, backing.size)
                further, read_bytes = hashed.copy(), self._settings.hash_read_bytes
                await in_thread(hash_range, further.update, backing.fd, hashed.position, stop, read_bytes)
                if further.sha256 != expected:
                    break
                hashed = further
            self._resumed = hashed
        return hashed.position

    async def run(self, backing: Backing, limit: Callable[[int], int]) -> AsyncGenerator[list[bytes], None]:
        """Hash to the end; then `digest` is that of the whole.

        Args:
            backing: the file.
            limit: the end of what may be hashed from a position on; asked on the event loop.

        Yields:
            After each step, or restart: for each piece whose end was passed, the sha256 of everything up to it.
        """
        settings = self._settings
        least = settings.memory_hash_step_bytes if backing.is_in_memory else settings.hash_step_bytes
        async with self._at_work:
            self._content, self._resumed = self._resumed or self._hasher(backing.size), None
            self.position, self._must_restart = self._content.position, False
            while self._must_restart or self.position < backing.size:
                if self._must_restart:
                    self._must_restart, self.position, self._content = False, 0, self._hasher(backing.size)
                    yield []
                stop = min(limit(self.position), self.position + 2 * settings.hash_step_bytes)
                if stop >= min(self.position + least, backing.size):
                    self.reading = RangeSet((self.position, stop))
                    known, update = len(self._content.prefixes), self._content.update
                    await in_thread(hash_range, update, backing.fd, self.position, stop, settings.hash_read_bytes)
                    self.position = stop
                    yield [] if self._must_restart else self._content.prefixes[known:]
                else:
                    self._wake.clear()
                    await self._wake.wait()

    @property
    def digest(self) -> Digest:
        """The digest of everything up to `position`."""
        return self._content.digest

    def proof(self) -> Proof:
        """What to keep beside the file, once everything was hashed and its digest is right."""
        return self._content.proof()

    def _hasher(self, size: int) -> ContentHasher:
        return ContentHasher(size, self._algorithm)

    async def hash_ranges(self, backing: Backing, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The sha256 of each of some ranges, as they are in the file now."""

        def work() -> list[bytes]:
            digests = []
            for start, stop in ranges:
                sha256 = hashlib.sha256()
                hash_range(sha256.update, backing.fd, start, stop, self._settings.hash_read_bytes)
                digests.append(sha256.digest())
            return digests

        return await in_thread(work)
