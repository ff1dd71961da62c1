"""The cache's order of eviction, and a cache that keeps nothing."""

import asyncio
import errno
import os
import random
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.errors import StorageFailed, StorageFull
from mirror.oci.digest import Digest
from mirror.oci.pieces import MEBIBYTE
from mirror.oci.reference import Reference
from mirror.settings import CacheSettings
from mirror.stores import Proof, Tag
from mirror.stores.cache import CacheStore
from mirror.stores.proofs import ContentHasher
from tests.rot import flip

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
async def opened(
    folder: Path, capacity_bytes: int, settings: CacheSettings | None = None
) -> AsyncIterator[tuple[CacheStore, Keys]]:
    cache, keys = CacheStore(folder, capacity_bytes, settings), Keys()
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


def read(cache: CacheStore, digest: Digest) -> None:
    held = cache.open(digest)
    assert held is not None
    held.note_use()
    held.close()


def test_what_another_store_has_too_goes_first_even_if_used_last(tmp_path: Path) -> None:
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


def test_a_disk_that_fails_is_told_from_one_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with opened(tmp_path, 3 * PART) as (cache, keys):
            kept = await put(cache, 1)
            (tmp_path / "spool" / Digest.of(b"a").hex).mkdir()  # a folder where the file has to be
            with pytest.raises(StorageFailed, match=r"cannot write to .*Is a directory"):
                await cache.begin(Digest.of(b"a"), 1)
            assert cache.used_bytes == PART
            assert keys.held == {kept.key}

            def full(*_: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(os, "posix_fallocate", full)
            writer = await cache.begin(Digest.of(b"b"), 1)
            with pytest.raises(StorageFull, match="no space is left"):
                await asyncio.to_thread(writer.reserve, 0, 1)
            os.close(writer.fd)
            writer.discard()
            assert keys.held == set(), "all that could go went first"
            assert cache.used_bytes == 0

    asyncio.run(check(), debug=True)


def test_uses_are_written_down_once_in_a_while(tmp_path: Path) -> None:
    async def check() -> None:
        for interval_s, is_written in ((0.0, True), (3600.0, False)):
            folder = tmp_path / str(interval_s)
            async with opened(folder, 3 * PART, CacheSettings(touch_interval_s=interval_s)) as (cache, _):
                digest = await put(cache, 1)
                path = folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex
                read(cache, digest)
                os.utime(path, (1000, 1000))
                read(cache, digest)
                assert (path.stat().st_atime > 1000) is is_written
                assert path.stat().st_mtime == 1000, "this tells of changes"

    asyncio.run(check(), debug=True)


BLOB = random.Random(3).randbytes(5 * MEBIBYTE + 10)


def proof_of(blob: bytes) -> Proof:
    hasher = ContentHasher(len(blob))
    hasher.update(memoryview(blob))
    return hasher.proof()


async def put_blob(cache: CacheStore, blob: bytes, proof: Proof | None = None) -> Digest:
    digest = Digest.of(blob)
    writer = await cache.begin(digest, len(blob))
    os.pwrite(writer.fd, blob, 0)
    os.close(writer.fd)
    writer.commit(proof)
    return digest


async def prefixes(cache: CacheStore, digest: Digest) -> tuple[bytes, ...] | None:
    held = cache.open(digest)
    assert held is not None
    with held:
        return await held.prefixes()


def file_of(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex


def test_what_was_hashed_on_the_way_is_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async def check() -> None:
        proof = proof_of(BLOB)
        async with opened(tmp_path, 1 << 30) as (cache, _):
            digest = await put_blob(cache, BLOB, proof)
            assert await prefixes(cache, digest) == proof.prefixes
        async with opened(tmp_path, 1 << 30) as (cache, _):
            assert await prefixes(cache, digest) == proof.prefixes

    asyncio.run(check(), debug=True)


def test_a_blob_that_is_verified_and_wrong_is_dropped_and_one_that_is_right_stays(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 1 << 30) as (cache, keys):
            digest = await put_blob(cache, BLOB, proof_of(BLOB))
            held = cache.open(digest)
            assert held is not None
            with held:
                assert await held.is_right()
                assert keys.held == {digest.key}
                flip(file_of(tmp_path, digest), 3_000_000)
                assert not await held.is_right()
            assert keys.held == set()
            assert cache.used_bytes == 0
            assert cache.open(digest) is None
        assert not file_of(tmp_path, digest).exists()

    asyncio.run(check(), debug=True)
