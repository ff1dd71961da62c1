"""The cache's order of eviction, and a cache that keeps nothing."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.errors import StorageFull
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores import Tag
from mirror.stores.cache import CacheStore

PART = 1000


class Keys:
    """A listener that knows what can be served."""

    def __init__(self) -> None:
        self.held: set[bytes] = set()

    def appeared(self, keys: Collection[bytes]) -> None:
        self.held.update(keys)

    def vanished(self, keys: Collection[bytes]) -> None:
        self.held.difference_update(keys)


@asynccontextmanager
async def opened(folder: Path, capacity_bytes: int) -> AsyncIterator[tuple[CacheStore, Keys]]:
    cache, keys = CacheStore(folder, capacity_bytes), Keys()
    await cache.start(keys)
    try:
        yield cache, keys
    finally:
        await cache.close()


async def put(cache: CacheStore, number: int) -> Digest:
    content = bytes([number]) * PART
    digest = Digest.of(content)
    writer = await cache.begin(digest, PART)
    os.write(writer.fd, content)
    os.close(writer.fd)
    writer.commit()
    return digest


def test_what_another_store_has_too_goes_first_however_lately_it_was_used(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 3 * PART) as (cache, keys):
            old, redundant, new = [await put(cache, number) for number in range(3)]
            cache.mark_redundant([redundant.key, Digest.of(b"unknown").key])
            last = await put(cache, 3)
            assert keys.held == {old.key, new.key, last.key}
            assert cache.open(redundant) is None

    asyncio.run(check(), debug=True)


def test_a_cache_of_no_size_takes_no_blob_but_remembers_tags(tmp_path: Path) -> None:
    async def check() -> None:
        reference, digest = Reference.parse("nginx:1"), Digest.of(b"manifest")
        async with opened(tmp_path, 0) as (cache, keys):
            with pytest.raises(StorageFull):
                await cache.begin(Digest.of(b"a"), 1)
            await cache.put_tag(reference, Tag(digest, time.time(), "upstream"))
            assert keys.held == {reference.key}
            assert cache.used_bytes == 0
            assert not [
                entry for part in ("blobs", "spool") for entry in (tmp_path / part).rglob("*") if entry.is_file()
            ]
        async with opened(tmp_path, 0) as (cache, _):
            tag = cache.tag(reference)
            assert tag is not None
            assert tag.digest == digest

    asyncio.run(check(), debug=True)
