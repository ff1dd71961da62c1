"""Held: content that a store has opened for somebody who reads it."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Protocol, Self

from ..errors import Corrupt

_TAKEN_S = 1.0
"""Time in which a reader shall take what it was given at once, s: what was looked at longer ago may have left the page
cache, and would be read from the disk once more, unchecked."""
_LEAST_BYTES = 1024 * 1024
"""The least that a slow reader is given at once, in bytes."""
_FIRST_BYTES = 4 * 1024 * 1024
"""What a reader is given at first, in bytes, while nobody knows how fast it is: 10 Mbit/s take it in three seconds."""
_GROWTH = 8
"""A reader that is fast enough is given so many times as much the next time: 256 MiB with the third step."""


class Checks(Protocol):
    """Checks the bytes of one open file before they leave."""

    async def ready(self, fd: int, start: int, stop: int) -> int:
        """Wait until some bytes from `start` on were checked, and are in memory; return their end, `stop` at most.

        Raises:
            Corrupt: the file is not what it was when its digest was found right.
            StorageFailed: it cannot be read.
        """
        ...

    async def prefixes(self, fd: int) -> tuple[bytes, ...] | None:
        """The sha256 of everything up to the end of each whole piece, or None where that is not known yet."""
        ...

    async def verify(self, fd: int) -> None:
        """Hash the whole once more, whatever is known of it.

        Raises:
            Corrupt: it is wrong. The store has dropped it.
            StorageFailed: it cannot be read.
        """
        ...

    def note_use(self, fd: int) -> None:
        """Note that a client of this node reads it."""
        ...


class Held:
    """Content that a store holds, opened. The descriptor stays good even if the store drops the content meanwhile.

    Args:
        fd: open for reading; the content is the whole file. The caller of `open` calls `close`, or uses `with`. What is
            read from it without `ready` is unchecked.
        size: in bytes.
        store: the store's name, for logs and metrics.
        checks: of the store, for this file.
        on_close: is called when it is closed.
    """

    __slots__ = ("_checks", "_on_close", "fd", "size", "store")

    def __init__(
        self, fd: int, size: int, store: str, checks: Checks, on_close: Callable[[], object] | None = None
    ) -> None:
        self.fd = fd
        self.size = size
        self.store = store
        self._checks = checks
        self._on_close = on_close

    async def ready(self, start: int, stop: int) -> AsyncGenerator[tuple[int, int], None]:
        """Follow `[start, stop)` as it is checked; while the reader takes some bytes, the next ones are checked.

        Yields:
            `(offset, count)`: bytes of the file that may leave now, in order, without gaps.

        Raises:
            Corrupt: what follows is not what it was when its digest was found right. The store has dropped it.
            StorageFailed: it cannot be read.
        """
        ahead: asyncio.Task[int] | None = None
        most, now = _FIRST_BYTES, asyncio.get_running_loop().time
        try:
            while start < stop:
                end = await (ahead or self._checks.ready(self.fd, start, min(stop, start + most)))
                ahead = self._ahead(end, min(stop, end + most)) if end < stop else None
                given_at = now()
                yield start, end - start
                in_time = int((end - start) * _TAKEN_S / max(now() - given_at, 1e-6))
                most = max(_LEAST_BYTES, min(in_time, most * _GROWTH))
                start = end
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)  # a thread may read from the descriptor

    def _ahead(self, start: int, stop: int) -> asyncio.Task[int]:
        return asyncio.create_task(self._checks.ready(self.fd, start, stop))

    async def read(self) -> bytes:
        """All of it, checked; for content that is small."""
        parts = [os.pread(self.fd, count, offset) async for offset, count in self.ready(0, self.size)]
        return b"".join(parts)

    async def prefixes(self) -> tuple[bytes, ...] | None:
        """The sha256 of everything up to the end of each whole piece (`proofs.prefix_count` of them).

        They are what this node found when it verified the whole. None where it has not verified the whole yet.
        """
        return await self._checks.prefixes(self.fd)

    async def is_right(self) -> bool:
        """Hash the whole once more; what is wrong, the store drops.

        Raises:
            StorageFailed: it cannot be read.
        """
        try:
            await self._checks.verify(self.fd)
        except Corrupt:
            return False
        return True

    def note_use(self) -> None:
        """Note that a client of this node reads it: then it stays longer than what only other members ask for."""
        self._checks.note_use(self.fd)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
        if self._on_close is not None:
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
