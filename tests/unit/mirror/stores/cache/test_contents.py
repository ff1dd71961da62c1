"""What the operator sees of the cache, and deletes by hand."""

import asyncio
import os
import time
from pathlib import Path

from mirror.oci.digest import Digest
from mirror.stores.cache import CacheStore
from tests.caches import opened, proof_of, put

PART = 1000


async def put_part(cache: CacheStore, number: int, *, is_ours: bool = True) -> Digest:
    content = bytes([number]) * PART
    return await put(cache, content, proof_of(content), is_ours=is_ours)


def test_what_is_kept_is_shown_with_its_last_use_and_who_reads_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 10 * PART) as (cache, _):
            ours, for_others = await put_part(cache, 1), await put_part(cache, 2, is_ours=False)
            os.utime(tmp_path / "blobs" / "sha256" / for_others.hex[:2] / for_others.hex, (0, 5000.0))
            held = cache.open(ours)
            assert held is not None
            shown = {row.digest: row for row in await cache.contents.kept()}
            assert {digest: (row.size, row.is_read) for digest, row in shown.items()} == {
                ours: (PART, True),
                for_others: (PART, False),
            }
            assert shown[for_others].used_unix_s == 5000.0, "nobody used it here: when it came counts"
            assert time.time() - shown[ours].used_unix_s < 60
            held.close()
            assert not any(row.is_read for row in await cache.contents.kept())

    asyncio.run(check(), debug=True)


def test_looking_does_not_change_what_goes_first(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 2 * PART) as (cache, _):
            old, new = [await put_part(cache, number) for number in (1, 2)]
            looked = cache.contents.peek(old)
            assert looked is not None
            looked.close()
            await put_part(cache, 3)
            assert cache.open(old) is None
            held = cache.open(new)
            assert held is not None
            held.close()

    asyncio.run(check(), debug=True)


def test_what_is_deleted_is_withdrawn_and_its_readers_read_to_the_end(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 10 * PART) as (cache, keys):
            first, second = [await put_part(cache, number) for number in (1, 2)]
            held = cache.open(first)
            assert held is not None
            assert await cache.contents.delete([first, Digest.of(b"unknown")]) == [first]
            assert keys.held == {second.key}
            assert (cache.open(first), cache.used_bytes) == (None, PART)
            assert os.pread(held.fd, PART, 0) == bytes([1]) * PART
            held.close()
            assert await cache.contents.delete([first]) == []
            again = await put_part(cache, 1)
            assert keys.held == {second.key, again.key}
        async with opened(tmp_path, 10 * PART) as (cache, keys):
            assert keys.held == {second.key, again.key}

    asyncio.run(check(), debug=True)


def test_many_are_deleted_some_at_a_time(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 1 << 20) as (cache, keys):
            digests = [await put(cache, number.to_bytes(4), proof_of(number.to_bytes(4))) for number in range(200)]
            assert await cache.contents.delete(digests) == digests
            assert keys.held == set()
            assert await cache.contents.kept() == []

    asyncio.run(check(), debug=True)
