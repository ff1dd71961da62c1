"""Fetching what no client waits for: a few blobs at once, at a bounded rate, and behind what clients wait for.

What a container runtime of this node holds is copied from there.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable
from typing import Final

from ..errors import MirrorError, StorageFailed, StorageFull
from ..fetch import Fetches
from ..fetch.turns import Turns
from ..fileio import in_thread, read_parts, write_all
from ..images.holdings import Holdings
from ..images.manifests import Manifests
from ..oci.content import Content
from ..oci.digest import Digest
from ..settings import PinSettings
from ..stores import BlobCache, BlobWriter, Held
from .composition import Part

_COPIED_BYTES: Final = 1024 * 1024
"""What is copied at once, in bytes: bounds the memory that it takes."""


class Pace:
    """Bounds an average rate: who has moved many bytes waits before the next ones.

    Args:
        bytes_per_s: the bound.
        now: monotonic seconds.
    """

    def __init__(self, bytes_per_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_s = bytes_per_s
        self._now = now
        self._free_at = 0.0

    def wait_s(self) -> float:
        """For how long nothing is to be moved, s."""
        return max(0.0, self._free_at - self._now())

    def moved(self, count: int) -> None:
        """Take note of some bytes."""
        self._free_at = max(self._free_at, self._now()) + count / self._bytes_per_s


class QuietFetches:
    """Fetches parts of images into the cache.

    Args:
        fetches: does it.
        manifests: does it for manifests.
        holdings: what this node's stores hold.
        cache: what is filled.
        holds: whether it has some content.
        turns: of those who write to the cache.
        settings: bounds.
    """

    def __init__(  # noqa: PLR0913 - from where to where
        self,
        fetches: Fetches,
        manifests: Manifests,
        holdings: Holdings,
        cache: BlobCache,
        holds: Callable[[Digest], bool],
        *,
        turns: Turns,
        settings: PinSettings,
    ) -> None:
        self._fetches = fetches
        self._manifests = manifests
        self._holdings = holdings
        self._cache = cache
        self._holds = holds
        self._turns = turns
        self._settings = settings
        self._places = asyncio.Semaphore(settings.fetches_max)
        self._under_way = 0
        self._pace = Pace(settings.bytes_per_s)

    async def fetch(self, part: Part) -> None:
        """Fetch a part of an image, and have the cache keep it.

        Raises:
            MirrorError: it is not to be had, or the cache does not keep it.
        """
        async with self._places:
            await self._give_way()
            self._under_way += 1
            try:
                async with asyncio.timeout(self._settings.fetch_max_s):
                    await self._fetch(part.content)
            except TimeoutError:
                raise MirrorError(
                    f"{part.content.digest} has not come within {self._settings.fetch_max_s:g} s"
                ) from None
            finally:
                self._under_way -= 1
            self._pace.moved(part.size)

    async def _give_way(self) -> None:
        """Wait while the rate is used up, and, within a bound, while clients of this node wait for fetches.

        What other members ask this node for does not count: they may fetch for pins as well, and would wait for it.
        """
        await asyncio.sleep(self._pace.wait_s())
        looks = math.ceil(self._settings.give_way_max_s / self._settings.give_way_s)
        for _ in range(looks):
            if self._fetches.for_this_node <= self._under_way:
                break
            await asyncio.sleep(self._settings.give_way_s)

    async def _fetch(self, content: Content) -> None:
        if self._holdings.has(content.digest) and not self._holds(content.digest):
            await self._copy(content.digest)
        elif content.kind == "manifests":
            await self._manifests.get(content)
        else:
            with self._fetches.read(content) as reader:
                await reader.size()
                if reader.is_in_memory:
                    raise StorageFull(f"the cache has no room for {content.digest}")
                await reader.completed()
        if not self._holds(content.digest):
            raise StorageFull(f"the cache does not keep {content.digest}")

    async def _copy(self, digest: Digest) -> None:
        """Copy what another store of this node holds into the cache, which hashes it before any byte leaves."""
        await self._turns.take(digest.hex)
        try:
            held = None if self._holds(digest) else self._holdings.open(digest)
            if held is None:
                return
            with held:
                writer = await self._cache.begin(digest, held.size, lambda: True)
                try:
                    await _copy(held, writer)
                    writer.commit()
                except OSError as error:
                    raise StorageFailed(f"{digest} cannot be copied: {error.strerror}") from error
                finally:
                    os.close(writer.fd)
                    if writer.is_open:
                        writer.discard()
        finally:
            self._turns.give_back(digest.hex)


async def _copy(held: Held, writer: BlobWriter) -> None:
    async for offset, count in held.ready(0, held.size):
        await in_thread(_copy_range, held.fd, writer, offset, offset + count)


def _copy_range(fd: int, writer: BlobWriter, start: int, stop: int) -> None:
    writer.reserve(start, stop)
    for part in read_parts(fd, start, stop, bytearray(min(_COPIED_BYTES, stop - start))):
        write_all(writer.fd, part, start)
        start += len(part)
