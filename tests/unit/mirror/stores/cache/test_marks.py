"""Marks on disk: there before the blob, gone after it, and never lost in between."""

import asyncio
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from mirror.errors import StorageFailed, StorageFull
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.stores.cache import CacheStore
from mirror.stores.marks import Mark, Marks

BODY = b"secret layer" * 1000
DIGEST = Digest.of(BODY)
APP = Mark.of(Repository("registry.example", "team/app"))
OTHER = Mark.of(Repository("registry.example", "team/other"))


class Nobody:
    def appeared(self, keys: Collection[bytes]) -> None:
        pass

    def vanished(self, keys: Collection[bytes]) -> None:
        pass


def mark_file(folder: Path) -> Path:
    return folder / "private" / DIGEST.hex[:2] / DIGEST.hex


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def started(folder: Path) -> tuple[CacheStore, Marks]:
    marks = Marks()
    cache = CacheStore(folder, 1 << 20, marks=marks)
    await cache.start(Nobody())
    return cache, marks


async def put(cache: CacheStore, *, leave: bool = False) -> None:
    writer = await cache.begin(DIGEST, len(BODY))
    os.pwrite(writer.fd, BODY, 0)
    os.close(writer.fd)
    if leave:
        writer.append_prefix(b"\0" * 32)
        writer.leave()
    else:
        writer.commit()


async def marked(folder: Path, *, leave: bool = False) -> None:
    """A process that keeps a marked blob, complete or not, and ends."""
    cache, marks = await started(folder)
    marks.add(DIGEST, APP)
    await put(cache, leave=leave)
    await cache.close()


@pytest.mark.parametrize("leave", [False, True])
def test_a_mark_survives_a_restart_with_its_blob_and_with_what_is_left_of_it(tmp_path: Path, leave: bool) -> None:
    async def test() -> None:
        await marked(tmp_path, leave=leave)
        cache, marks = await started(tmp_path)
        assert marks.of(DIGEST) == APP
        await put(cache)  # by somebody who says nothing of it
        await cache.close()
        cache, marks = await started(tmp_path)
        assert marks.of(DIGEST) == APP
        await cache.close()

    asyncio.run(test())


def test_what_becomes_known_later_is_kept_as_well(tmp_path: Path) -> None:
    async def test() -> None:
        cache, marks = await started(tmp_path)
        marks.add(DIGEST, APP)
        await put(cache)
        marks.add(DIGEST, OTHER)
        await cache.close()
        cache, marks = await started(tmp_path)
        assert marks.of(DIGEST) == APP | OTHER
        await cache.close()

    asyncio.run(test())


def test_a_mark_goes_after_its_blob(tmp_path: Path) -> None:
    async def test() -> None:
        cache, marks = await started(tmp_path)
        marks.add(DIGEST, APP)
        await put(cache)
        assert mark_file(tmp_path).exists()
        (tmp_path / "blobs" / "sha256" / DIGEST.hex[:2] / DIGEST.hex).unlink()
        assert cache.open(DIGEST) is None
        await cache.close()
        assert not mark_file(tmp_path).exists()
        assert marks.of(DIGEST) == APP  # memory may still have it

    asyncio.run(test())


def test_a_blob_whose_mark_is_damaged_goes(tmp_path: Path) -> None:
    async def test() -> None:
        await marked(tmp_path)
        mark_file(tmp_path).write_bytes(mark_file(tmp_path).read_bytes().replace(b"app", b"apq"))
        cache, _ = await started(tmp_path)
        assert cache.open(DIGEST) is None
        await cache.close()

    asyncio.run(test())


def test_no_blob_is_kept_whose_mark_cannot_be(tmp_path: Path) -> None:
    async def test() -> None:
        cache, marks = await started(tmp_path)
        marks.add(DIGEST, APP)
        mark_file(tmp_path).parent.write_bytes(b"in the way")
        with pytest.raises(StorageFailed):
            await put(cache)
        assert cache.open(DIGEST) is None
        await cache.close()

    asyncio.run(test())


def test_what_came_without_credentials_gets_no_mark_later(tmp_path: Path) -> None:
    async def test() -> None:
        cache, marks = await started(tmp_path)
        await put(cache)
        marks.add(DIGEST, APP)
        assert marks.of(DIGEST) is None
        await cache.close()
        assert not mark_file(tmp_path).exists()

    asyncio.run(test())


def test_what_is_to_be_kept_nowhere_is_not_kept(tmp_path: Path) -> None:
    async def test() -> None:
        marks = Marks((), lambda names: False)
        cache = CacheStore(tmp_path, 1 << 20, marks=marks)
        await cache.start(Nobody())
        marks.add(DIGEST, APP)
        with pytest.raises(StorageFull):
            await put(cache)
        await cache.close()
        assert [*files_in(tmp_path)] == []

    asyncio.run(test())
