"""Files of pins in the data folder: the records, and the blobs that this node keeps for them.

The second one spares a start the question what the images consist of, before anything may be evicted. Each file is
written anew, forced to the disk, and renamed, so it is whole whenever a machine loses power; a checksum says so.
"""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from ..fileio import in_thread, read_small, replace

log = logging.getLogger(__name__)

_FILE_MAX_BYTES: Final = 16 * 1024 * 1024
"""Bounds what is read of a file, in bytes: 512 images of 100 blobs take 7 MB."""
_SUM_BYTES: Final = 8


class PinFiles:
    """Reads and writes the files.

    Args:
        folder: of both; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = asyncio.Lock()

    def read_records(self) -> bytes:
        """The records, in the form of `Book.state`; nothing if there are none, or the file is damaged. Blocks."""
        return self._read("records")

    def read_kept(self) -> frozenset[str]:
        """The hexadecimal digests of the blobs that this node keeps, as of the last time. Blocks."""
        try:
            return frozenset(msgspec.msgpack.decode(self._read("kept") or b"\x90", type=list[str]))
        except ValueError:
            return frozenset()

    async def write_records(self, state: bytes) -> None:
        """Keep the records; raise OSError if the disk does not."""
        await self._write("records", state)

    async def write_kept(self, names: Collection[str]) -> None:
        """Keep which blobs are kept; raise OSError if the disk does not."""
        await self._write("kept", msgspec.msgpack.encode(sorted(names)))

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        try:
            content, _ = read_small(path, _FILE_MAX_BYTES)
        except FileNotFoundError:
            return b""
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, and other members are asked what is pinned: %s", path, error)
            return b""
        if xxhash.xxh3_64_digest(content[_SUM_BYTES:]) != content[:_SUM_BYTES]:
            log.warning("%s is damaged, and other members are asked what is pinned", path)
            return b""
        return content[_SUM_BYTES:]

    async def _write(self, name: str, content: bytes) -> None:
        async with self._turn:
            await in_thread(_write, self._folder / name, xxhash.xxh3_64_digest(content) + content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, content, durably=True)
