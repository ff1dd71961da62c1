"""A disk that is full before the cache's own bound is reached: what goes for a blob, what does not, and who is told."""

import asyncio
import errno
import logging
import os
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import StorageFull
from mirror.oci.digest import Digest
from mirror.settings import CacheSettings
from mirror.stores.cache import CacheStore
from tests import caches
from tests.caches import Keys

PART = 100_000


class Disk:
    """A disk with room for so many parts of files, whatever `statvfs` says of it, as with a quota."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, parts: int) -> None:
        self.parts = parts
        self.number = errno.ENOSPC
        self.is_freed_by_deleting = True
        self._folder = folder
        self._taken: dict[int, int] = {}
        monkeypatch.setattr(os, "posix_fallocate", self._take)

    def _take(self, fd: int, start: int, count: int) -> None:
        inode = os.fstat(fd).st_ino
        there = {path.stat().st_ino for path in self._folder.rglob("*") if path.is_file()}
        if self.is_freed_by_deleting:
            self._taken = {taken: size for taken, size in self._taken.items() if taken in there}
        if sum(self._taken.values()) + count > self.parts * PART:
            raise OSError(self.number, os.strerror(self.number))
        self._taken[inode] = self._taken.get(inode, 0) + count


def opened(
    folder: Path, settle_s: float = 0.0, capacity: int = 40 * PART
) -> AbstractAsyncContextManager[tuple[CacheStore, Keys]]:
    return caches.opened(folder, capacity, CacheSettings(settle_s=settle_s))


async def put(cache: CacheStore, number: int, parts: int = 1, *, is_ours: bool = True) -> Digest:
    """Write a blob as a fetch does, which takes space for one part after the other."""
    digest = Digest.of(b"%d" % number)
    writer = await cache.begin(digest, parts * PART, lambda: is_ours)
    try:
        for part in range(parts):
            await asyncio.to_thread(writer.reserve, part * PART, (part + 1) * PART)
    except BaseException:
        writer.discard()
        raise
    finally:
        os.close(writer.fd)
    writer.commit()
    return digest


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20), debug=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_blobs_go_for_one_that_fits_and_for_one_that_does_not_nothing_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    disk = Disk(monkeypatch, tmp_path, 10)
    disk.number = number

    async def story() -> None:
        async with opened(tmp_path) as (cache, keys):
            digests = [await put(cache, number) for number in range(10)]
            with pytest.raises(StorageFull, match="would not fit whatever went"):
                await put(cache, 100, 20)
            assert keys.held == {digest.key for digest in digests}
            large = await put(cache, 101, 4)
            assert keys.held == {large.key, *(digest.key for digest in digests[4:])}
            with pytest.raises(StorageFull):
                await put(cache, 102, 20, is_ours=False)
            assert len(keys.held) == 7

    run(story())


def test_where_deleting_makes_no_room_little_goes_and_people_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch, tmp_path, 12)
    caplog.set_level(logging.INFO, "mirror.stores.cache.keeping")

    async def story() -> None:
        async with opened(tmp_path) as (cache, keys):
            for number in range(12):
                await put(cache, number)
            assert cache.keeps_nothing is None
            disk.is_freed_by_deleting = False  # a snapshot holds what is deleted
            with pytest.raises(StorageFull, match="made no room"):
                await put(cache, 100, 2)
            assert len(keys.held) == 8
            assert cache.keeps_nothing == "the disk is full, and what goes from the cache makes no room"
            disk.parts = 20
            await put(cache, 101)
            assert cache.keeps_nothing is None
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
        assert [line.partition(",")[0] for line in lines] == [
            "nothing is cached from now on",
            "blobs are cached again",
        ]

    run(story())


def test_a_disk_that_has_nothing_left_is_told_of_and_one_blob_that_is_too_large_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, tmp_path, 100)

    async def story() -> None:
        async with opened(tmp_path) as (cache, _):
            for number in range(20):
                await put(cache, number)
            with pytest.raises(StorageFull):
                await put(cache, 1000, 41)
            assert cache.keeps_nothing is None, "more than cache-size"
            disk.parts = 20
            with pytest.raises(StorageFull):
                await put(cache, 1001, 30)
            assert cache.keeps_nothing is None, "it would not fit, but others do"
        async with opened(tmp_path / "other") as (cache, _):
            disk.parts = 0
            with pytest.raises(StorageFull):
                await put(cache, 1)
            assert cache.keeps_nothing is not None

    run(story())


def test_a_disk_that_takes_some_and_refuses_others_does_not_flood_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch, tmp_path, 1)

    async def story() -> None:
        async with opened(tmp_path, settle_s=30.0) as (cache, _):
            for number in range(5):
                disk.parts = 1
                await put(cache, number)
                disk.parts = 0
                with pytest.raises(StorageFull):
                    await put(cache, 100 + number, 2)
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1

    run(story())
