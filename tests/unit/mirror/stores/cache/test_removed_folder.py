"""Somebody removes the cache's folder, or a part of it, while the agent runs; or the disk no longer takes anything."""

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import StorageFailed
from mirror.oci.digest import Digest
from mirror.settings import CacheSettings
from mirror.stores.cache import CacheStore
from tests import caches
from tests.caches import Keys

SETTINGS = CacheSettings(settle_s=0.0)


def opened(folder: Path, settings: CacheSettings = SETTINGS) -> AbstractAsyncContextManager[tuple[CacheStore, Keys]]:
    return caches.opened(folder, 1 << 20, settings)


async def put(cache: CacheStore, content: bytes) -> Digest:
    return await caches.put(cache, content, caches.proof_of(content))


async def read(cache: CacheStore, digest: Digest) -> bytes | None:
    held = cache.open(digest)
    if held is None:
        return None
    with held:
        return await held.read()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20), debug=True)


@pytest.mark.parametrize("part", [".", "blobs", "blobs/sha256"])
def test_a_folder_that_was_removed_is_made_anew_and_nothing_that_it_had_is_offered(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache"

    async def story() -> None:
        async with opened(path) as (cache, keys):
            await put(cache, b"a")
            await put(cache, b"b")
            shutil.rmtree(path / part, ignore_errors=True)
            await cache.look()
            assert (keys.held, cache.used_bytes) == (set(), 0)
            again = await put(cache, b"a")
            assert await read(cache, again) == b"a"
            assert cache.keeps_nothing is None
        async with opened(path) as (cache, keys):
            assert keys.held == {again.key}
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "made anew" in caplog.text

    with caplog.at_level(logging.WARNING):
        run(story())


@pytest.mark.parametrize("part", ["proofs", "spool", "tags"])
def test_a_part_that_was_removed_takes_no_blob_with_it(tmp_path: Path, part: str) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (cache, keys):
            kept = await put(cache, b"a")
            shutil.rmtree(tmp_path / part, ignore_errors=True)
            await cache.look()
            assert await read(cache, kept) == b"a"
            new = await put(cache, b"b")
            assert keys.held == {kept.key, new.key}
        assert (tmp_path / part).is_dir()

    run(story())


def test_a_fetch_that_finds_the_folder_gone_makes_it_anew_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache"

    async def story() -> None:
        async with opened(path) as (cache, keys):
            await put(cache, b"a")
            shutil.rmtree(path, ignore_errors=True)
            new = await put(cache, b"b")
            assert keys.held == {new.key}

    run(story())


def test_a_blob_that_arrives_while_the_folder_is_removed_is_not_kept_and_the_next_one_is(tmp_path: Path) -> None:
    path = tmp_path / "cache"

    async def story() -> None:
        async with opened(path) as (cache, keys):
            writer = await cache.begin(Digest.of(b"a"), 1)
            shutil.rmtree(path, ignore_errors=True)
            await cache.look()
            with pytest.raises(FileNotFoundError):
                writer.commit()
            os.close(writer.fd)
            writer.leave()
            assert (keys.held, cache.used_bytes, cache.keeps_nothing) == (set(), 0, None)
            new = await put(cache, b"a")
            assert keys.held == {new.key}

    run(story())


def test_another_folder_in_its_place_is_noticed(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path / "cache") as (cache, keys):
            await put(cache, b"a")
            (tmp_path / "cache").rename(tmp_path / "aside")
            (tmp_path / "cache" / "blobs" / "sha256").mkdir(parents=True)
            await cache.look()
            assert keys.held == set()
            new = await put(cache, b"b")
            assert keys.held == {new.key}

    run(story())


def test_a_folder_is_looked_at_again_and_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path / "cache", CacheSettings(look_s=0.001)) as (cache, keys):
            for content in (b"a", b"b"):
                digest = await put(cache, content)
                shutil.rmtree(tmp_path / "cache", ignore_errors=True)
                while digest.key in keys.held:
                    await asyncio.sleep(0.001)

    run(story())


def test_a_disk_that_takes_nothing_is_told_of_until_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def read_only(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return really(path, flags, *args, **kwargs)

    async def story() -> None:
        async with opened(tmp_path) as (cache, keys):
            kept = await put(cache, b"a")
            with monkeypatch.context() as patch:
                patch.setattr(os, "open", read_only)
                with pytest.raises(StorageFailed, match="Read-only file system"):
                    await put(cache, b"b")
                assert cache.keeps_nothing == f"cannot write to {tmp_path}: Read-only file system"
                assert await read(cache, kept) == b"a", "what is here is served"
            await cache.look()
            assert cache.keeps_nothing is None
            assert keys.held == {kept.key}

    run(story())
