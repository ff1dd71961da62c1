"""What the tests of a spool share: blobs, a spool on a file, readers in the background, and a journal that is told."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from mirror.cluster.homes import MEBIBYTE, piece_size
from mirror.fetch.demand import Audience
from mirror.fetch.spool import DiskFile, Spool
from mirror.oci.content import Content
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.reference import Repository
from mirror.settings import SpoolSettings

SETTINGS = SpoolSettings()
SMALL = bytes(range(256)) * 16
LARGE = os.urandom(MEBIBYTE) * 5 + b"tail"
WITHHELD = (len(LARGE) - 1) // piece_size(len(LARGE)) * piece_size(len(LARGE))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def content_of(digest: Digest) -> Content:
    return Content(Repository("lab", "app"), "blobs", digest)


def nobody(start: int, stop: int) -> set[str]:
    """No member had a part in any bytes."""
    return set()


@asynccontextmanager
async def spooling(
    blob: bytes,
    *,
    opened: bool = True,
    on_change: Callable[[], None] = lambda: None,
    algorithm: Algorithm = Algorithm.SHA256,
) -> AsyncIterator[Spool]:
    """A spool for a blob, on a file of its own."""
    spool = Spool(content_of(Digest.of(blob, algorithm)), SETTINGS, on_change, nobody)
    with tempfile.TemporaryFile() as file:
        if opened:
            spool.open(DiskFile(os.dup(file.fileno()), len(blob)))
        yield spool
        spool.close()


def write(spool: Spool, offset: int, *chunks: bytes) -> None:
    """Have bytes arrive as upstream sends them: into the file, all of them, then told."""
    part = b"".join(chunks)
    written = spool.put(offset, part)
    assert written == [(offset, offset + len(part))]
    for start, stop in written:
        spool.vouching.release(start, stop)
        spool.arrived(start, stop)


def file_of(spool: Spool) -> int:
    """The descriptor of its file."""
    with spool.join(Audience.MEMBER) as reader:
        return reader.fd


class Follower:
    """Reads a range of a spool in the background."""

    def __init__(self, spool: Spool, start: int, stop: int, audience: Audience = Audience.LOCAL) -> None:
        self.got = bytearray()
        self._grown = asyncio.Event()
        self.task = asyncio.create_task(self._read(spool, start, stop, audience))

    async def _read(self, spool: Spool, start: int, stop: int, audience: Audience) -> None:
        with spool.join(audience) as reader:
            async for offset, count in reader.extents(start, stop):
                assert offset == start + len(self.got)
                self.got += os.pread(reader.fd, count, offset)
                self._grown.set()

    async def until(self, length: int) -> None:
        """Wait until so much has come; fail if reading ends before."""
        while len(self.got) < length:
            assert not self.task.done() or self.task.exception() is None
            await self._grown.wait()
            self._grown.clear()


class Heard:
    """Hears how far the hash has come."""

    def __init__(self, act: Callable[[int], None] = lambda count: None) -> None:
        self.prefixes: list[bytes] = []
        self._act = act
        self._grown = asyncio.Event()

    def on_prefix(self, prefix: bytes) -> None:
        self.prefixes.append(prefix)
        self._grown.set()
        self._act(len(self.prefixes))

    async def until(self, count: int) -> None:
        """Wait until so many pieces have been hashed."""
        while len(self.prefixes) < count:
            await self._grown.wait()
            self._grown.clear()


def prefixes_of(blob: bytes) -> list[bytes]:
    """The sha256 of everything up to the end of each whole piece."""
    unit = piece_size(len(blob))
    return [hashlib.sha256(blob[:end]).digest() for end in range(unit, len(blob) + 1, unit)]


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)
