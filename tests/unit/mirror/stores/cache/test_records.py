"""What a crash leaves: a record says that the bytes are on the disk; a blob without one is hashed before it is offered.

A power failure is played: of what was not forced to the disk, the folder that is opened afterwards has no byte.
"""

import asyncio
import contextlib
import errno
import logging
import os
import random
import shutil
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.digest import Digest
from mirror.settings import CacheSettings
from mirror.stores.cache import CacheStore
from mirror.stores.cache.folder import boot_id
from tests.caches import opened, proof_of, put

AT_ONCE = CacheSettings(sync_after_s=0.0)
NEVER = CacheSettings(sync_after_s=3600.0, sync_at_stop_s=0.0)
SIZE = 600_000


class Disk:
    """Which files were forced to the disk, by inode and size: the number of a file that is gone is used again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: set[tuple[int, int]] = set()
        self.fails = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.begun = threading.Event()
        self._patch = monkeypatch
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, fd: int) -> None:
        self.begun.set()
        self.may_go_on.wait(20)
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.synced.add(_identity(os.fstat(fd)))

    def lose_power(self, folder: Path, after: Path, left: bytes) -> Path:
        """Boot again. What is left of a folder, made anew: of files that are not on the disk some zeros, or nothing."""
        for path in folder.rglob("*"):  # while threads of the cache write their records
            copy = after / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                copy.mkdir(exist_ok=True)
            elif path.parts[-4:-2] != ("blobs", "sha256") or _identity(path.stat()) in self.synced:
                with contextlib.suppress(FileNotFoundError):  # it has got its final name meanwhile
                    shutil.copyfile(path, copy)
            else:
                copy.write_bytes(left)
        # Not before: a record that a thread writes meanwhile is of the boot that ends.
        self._patch.setattr("mirror.stores.cache.folder.boot_id", lambda: "another-boot")
        return after


def _identity(of: os.stat_result) -> tuple[int, int]:
    return of.st_ino, of.st_size


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def body(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


async def put_proven(cache: CacheStore, content: bytes) -> Digest:
    return await put(cache, content, proof_of(content))


def record(folder: Path, digest: Digest) -> Path:
    return folder / "proofs" / digest.hex[:2] / digest.hex


async def until_there(path: Path) -> None:
    while not await asyncio.to_thread(path.exists):
        pass


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20), debug=True)


def test_after_a_crash_of_the_agent_alone_all_is_offered_at_once(tmp_path: Path, disk: Disk) -> None:
    before, after = tmp_path / "before", tmp_path / "after"

    async def story() -> None:
        async with opened(before, settings=NEVER) as (cache, _):
            digest = await put_proven(cache, body(1))
            await until_there(record(before, digest).with_suffix(f".{boot_id()}"))
            shutil.copytree(before, after)  # what is there if it is killed now
        async with opened(after, settings=AT_ONCE) as (_, keys):
            assert keys.held == {digest.key}
            await until_there(record(after, digest))
        disk.lose_power(after, tmp_path / "later", b"")
        async with opened(after, settings=NEVER) as (_, keys):
            assert keys.held == {digest.key}, "it was forced to the disk after the crash"
            assert [path.name for path in (after / "proofs").glob("??/*")] == [digest.hex]

    run(story())


@pytest.mark.parametrize("left", [b"", bytes(SIZE), bytes(SIZE // 2)])
def test_what_a_power_failure_took_is_not_offered_and_the_rest_is(tmp_path: Path, disk: Disk, left: bytes) -> None:
    async def story() -> None:
        async with opened(tmp_path / "before", settings=AT_ONCE) as (cache, _):
            kept = await put_proven(cache, body(1))
            await until_there(record(tmp_path / "before", kept))
        async with opened(tmp_path / "before", settings=NEVER) as (cache, _):
            lost = await put_proven(cache, body(2))
            after = disk.lose_power(tmp_path / "before", tmp_path / "after", left)
        async with opened(after, settings=NEVER) as (cache, keys):
            assert keys.held == {kept.key}
            await cache.upkeep.verified.wait()
            assert keys.held == {kept.key}
            assert cache.open(lost) is None
            assert cache.used_bytes == SIZE

    run(story())


def test_no_record_is_there_before_the_bytes_are(tmp_path: Path, disk: Disk) -> None:
    async def story() -> None:
        disk.may_go_on.clear()
        async with opened(tmp_path, settings=AT_ONCE) as (cache, keys):
            digest = await put_proven(cache, body(1))
            await asyncio.to_thread(disk.begun.wait, 20)
            assert keys.held == {digest.key}, "it is offered meanwhile, for it was hashed as it came"
            other = await put_proven(cache, body(2))
            assert not record(tmp_path, digest).exists()
            disk.may_go_on.set()
            await until_there(record(tmp_path, other))
            assert record(tmp_path, digest).exists()

    run(story())


def test_a_disk_that_does_not_take_it_gets_no_record_and_the_log_says_so(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        disk.fails = True
        async with opened(tmp_path, settings=AT_ONCE) as (cache, keys):
            digest = await put_proven(cache, body(1))
        assert keys.held == {digest.key}
        assert not record(tmp_path, digest).exists()
        assert "may not be on the disk" in caplog.text

    with caplog.at_level(logging.WARNING):
        run(story())


def test_a_stop_forces_to_the_disk_what_is_not_there_yet_for_a_bounded_time(tmp_path: Path, disk: Disk) -> None:
    async def story() -> None:
        late = CacheSettings(sync_after_s=3600.0)
        async with opened(tmp_path, settings=late) as (cache, _):
            digest = await put_proven(cache, body(1))
            assert not record(tmp_path, digest).exists()
        assert record(tmp_path, digest).exists()
        async with opened(tmp_path, settings=NEVER) as (cache, keys):
            assert keys.held == {digest.key}
            disk.may_go_on.clear()
            others = [await put_proven(cache, body(number)) for number in (2, 3)]
        disk.may_go_on.set()
        assert not any(record(tmp_path, other).exists() for other in others)

    run(story())


def test_no_record_is_kept_of_a_blob_that_goes_before_its_bytes_are_there(tmp_path: Path, disk: Disk) -> None:
    async def story() -> None:
        disk.may_go_on.clear()
        async with opened(tmp_path, settings=AT_ONCE) as (cache, keys):
            digest = await put_proven(cache, body(1))
            await asyncio.to_thread(disk.begun.wait, 20)
            (tmp_path / "blobs" / "sha256" / digest.hex[:2] / digest.hex).unlink()
            assert cache.open(digest) is None
            disk.may_go_on.set()
        assert keys.held == set()
        assert not record(tmp_path, digest).exists()

    run(story())


@pytest.mark.parametrize("verified", [1, 3])
def test_killed_while_it_verifies_an_agent_trusts_what_was_verified_and_nothing_else(
    tmp_path: Path, verified: int
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"

    async def story() -> None:
        async with opened(before, settings=AT_ONCE) as (cache, _):
            digests = [await put_proven(cache, body(number)) for number in range(5)]
        for age, digest in enumerate(digests):
            path = before / "blobs" / "sha256" / digest.hex[:2] / digest.hex
            if digest is digests[0]:  # the last that is looked at
                path.write_bytes(bytes(SIZE))
            os.utime(path, (1000 + age, 1000))
        shutil.rmtree(before / "proofs")
        async with opened(before, settings=AT_ONCE) as (_, keys):
            while len(keys.held) < verified:
                await asyncio.sleep(0)
            with_record = [digest for digest in digests if digest.key in keys.held]
            for digest in with_record:
                await until_there(record(before, digest))
            shutil.copytree(before, after)  # what is there if it is killed now
        good = {digest.key for digest in digests[1:]}
        async with opened(after, settings=AT_ONCE) as (cache, keys):
            assert {digest.key for digest in with_record} <= keys.held <= good
            await cache.upkeep.verified.wait()
            assert keys.held == good
            assert cache.open(digests[0]) is None

    run(story())
