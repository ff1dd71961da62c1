"""The cache's order of eviction, and a cache that keeps nothing."""

import asyncio
import errno
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.errors import StorageFailed, StorageFull
from mirror.fileio import read_parts
from mirror.oci.digest import Digest
from mirror.oci.pieces import MEBIBYTE
from mirror.oci.reference import Reference
from mirror.settings import CacheSettings
from mirror.stores import Tag
from mirror.stores.cache import CacheStore
from tests.caches import Keys, opened, proof_of, put
from tests.rot import flip

PART = 1000


async def put_part(cache: CacheStore, number: int, *, is_ours: bool = True) -> Digest:
    content = bytes([number]) * PART
    return await put(cache, content, proof_of(content), is_ours=is_ours)


def read(cache: CacheStore, digest: Digest) -> None:
    held = cache.open(digest)
    assert held is not None
    held.note_use()
    held.close()


def test_what_leaves_to_make_room_is_counted(tmp_path: Path) -> None:
    async def check() -> None:
        left: list[int] = []
        cache = CacheStore(tmp_path, 2 * PART, on_evicted=left.append)
        await cache.start(Keys())
        for number in range(5):
            await put_part(cache, number)
        assert sum(left) == 3
        await cache.close()

    asyncio.run(check(), debug=True)


def test_what_another_store_has_too_goes_first_even_if_used_last(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 3 * PART) as (cache, keys):
            old, redundant, new = [await put_part(cache, number) for number in range(3)]
            cache.mark_redundant([redundant.key, Digest.of(b"unknown").key])
            last = await put_part(cache, 3)
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
            kept = await put_part(cache, 1)
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


def test_who_may_not_begin_leaves_what_an_earlier_fetch_left(tmp_path: Path) -> None:
    async def check() -> None:
        content, piece = bytes(2 * PART), Digest.of(bytes(PART))
        digest = Digest.of(content)
        async with opened(tmp_path, 3 * PART) as (cache, _):
            writer = await cache.begin(digest, 2 * PART)
            writer.append_prefix(piece.key)
            os.close(writer.fd)
            writer.leave()
            assert cache.has_partial(digest)
            await put_part(cache, 1)
            await put_part(cache, 2)
            with pytest.raises(StorageFull):  # others may have a quarter
                await cache.begin(digest, 2 * PART, lambda: False)
            assert cache.has_partial(digest)

    asyncio.run(check(), debug=True)


def test_uses_are_written_down_once_in_a_while(tmp_path: Path) -> None:
    async def check() -> None:
        for interval_s, is_written in ((0.0, True), (3600.0, False)):
            folder = tmp_path / str(interval_s)
            async with opened(folder, 3 * PART, CacheSettings(touch_interval_s=interval_s)) as (cache, _):
                digest = await put_part(cache, 1)
                path = folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex
                read(cache, digest)
                os.utime(path, (1000, 1000))
                read(cache, digest)
                assert (path.stat().st_atime > 1000) is is_written
                assert path.stat().st_mtime == 1000, "this tells of changes"

    asyncio.run(check(), debug=True)


BLOB = random.Random(3).randbytes(5 * MEBIBYTE + 10)


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
            digest = await put(cache, BLOB, proof)
            assert await prefixes(cache, digest) == proof.prefixes
        async with opened(tmp_path, 1 << 30) as (cache, _):
            assert await prefixes(cache, digest) == proof.prefixes

    asyncio.run(check(), debug=True)


def test_a_blob_that_is_verified_and_wrong_is_dropped_and_one_that_is_right_stays(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 1 << 30) as (cache, keys):
            digest = await put(cache, BLOB, proof_of(BLOB))
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


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Tells that a file is being hashed; and lets that go on when it is set."""
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(fd: int, start: int, stop: int, buffer: bytearray) -> Iterator[memoryview]:
        begun.set()
        goes_on.wait(20)
        return read_parts(fd, start, stop, buffer)

    monkeypatch.setattr("mirror.stores.checking.read_parts", slowly)
    yield begun, goes_on
    goes_on.set()


def test_a_damaged_copy_is_dropped_though_a_client_begins_to_read_it_while_it_is_hashed(
    tmp_path: Path, hashing: tuple[threading.Event, threading.Event]
) -> None:
    async def check() -> None:
        begun, goes_on = hashing
        async with opened(tmp_path, 1 << 30, CacheSettings(touch_interval_s=0)) as (cache, keys):
            digest = await put(cache, BLOB, proof_of(BLOB))
            await asyncio.to_thread(flip, file_of(tmp_path, digest), 3_000_000)
            held = cache.open(digest)
            assert held is not None
            with held:
                verifying = asyncio.create_task(held.is_right())
                await asyncio.to_thread(begun.wait, 20)
                read(cache, digest)
                goes_on.set()
                assert not await verifying
            assert keys.held == set()
            assert cache.open(digest) is None

    asyncio.run(check(), debug=True)


def test_no_proof_is_kept_of_a_blob_that_went_while_it_was_hashed(
    tmp_path: Path, hashing: tuple[threading.Event, threading.Event]
) -> None:
    async def check() -> None:
        begun, goes_on = hashing
        async with opened(tmp_path, len(BLOB)) as (cache, keys):
            digest = await put(cache, BLOB)
            held = cache.open(digest)
            assert held is not None
            with held:
                reading = asyncio.create_task(held.read())
                await asyncio.to_thread(begun.wait, 20)
                other = await put(cache, BLOB[1:])
                assert keys.held == {other.key}
                goes_on.set()
                assert await reading == BLOB, "the descriptor stays good"
        assert list((tmp_path / "proofs").glob("*/*")) == []

    asyncio.run(check(), debug=True)


def test_proofs_of_blobs_that_are_gone_are_deleted_at_the_start(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 1 << 30) as (cache, _):
            kept, gone = await put(cache, BLOB, proof_of(BLOB)), await put(cache, b"gone", proof_of(b"gone"))
        file_of(tmp_path, gone).unlink()
        proof = tmp_path / "proofs" / kept.hex[:2] / kept.hex
        proof.with_suffix(".new").touch()
        async with opened(tmp_path, 1 << 30):
            assert list((tmp_path / "proofs").glob("*/*")) == [proof]

    asyncio.run(check(), debug=True)


def test_what_only_other_members_asked_for_goes_first_after_a_restart_too(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 3 * PART) as (cache, _):
            ours = await put_part(cache, 1)
            used, _ = [await put_part(cache, number, is_ours=False) for number in (2, 3)]
            read(cache, used)
        async with opened(tmp_path, 3 * PART) as (cache, keys):
            new = await put_part(cache, 4)
            assert keys.held == {ours.key, used.key, new.key}

    asyncio.run(check(), debug=True)


def test_to_read_a_blob_on_by_the_file_that_was_written_is_no_use_of_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, 3 * PART) as (cache, _):
            writer = await cache.begin(Digest.of(b"a"), 1, lambda: False)
            os.write(writer.fd, b"a")
            writer.commit()
            assert os.pread(writer.fd, 1, 0) == b"a"
            os.close(writer.fd)
            assert file_of(tmp_path, Digest.of(b"a")).stat().st_atime == 0

    asyncio.run(check(), debug=True)


def test_a_blob_that_goes_the_moment_it_is_complete_is_reported_before_it_is_withdrawn(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, PART) as (cache, keys):
            others = Digest.of(b"for others")
            writer = await cache.begin(others, PART // 4, lambda: False)
            ours = await put_part(cache, 1)
            os.close(writer.fd)
            writer.commit()  # although no space was taken for it
            assert keys.held == {ours.key}

    asyncio.run(check(), debug=True)


def test_the_look_in_the_background_outlives_a_lack_of_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def check() -> None:
        async with opened(tmp_path, 1 << 30) as (cache, keys):
            digest = await put(cache, BLOB)
            for name in ("dup", "stat"):
                with monkeypatch.context() as patch:
                    patch.setattr(f"mirror.stores.checking.os.{name}", fails)
                    await cache.upkeep.look_at(digest.hex)
            assert keys.held == {digest.key}

    asyncio.run(check(), debug=True)
