"""The cache store on a real disk: what survives, what is bounded, and what is never served."""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.cluster.homes import piece_size
from mirror.errors import ConfigError, StorageFull
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores import Tag
from mirror.stores.cache import CacheStore

MIB = 1024 * 1024
WITHIN_S = 30.0


class Told:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()

    def appeared(self, keys: Collection[bytes]) -> None:
        assert not self.keys & set(keys)
        self.keys.update(keys)

    def vanished(self, keys: Collection[bytes]) -> None:
        assert self.keys >= set(keys)
        self.keys.difference_update(keys)


def body(number: int, size: int = MIB) -> bytes:
    return random.Random(number).randbytes(size)


async def put(cache: CacheStore, content: bytes) -> Digest:
    """Bring content in as a fetch does."""
    digest = Digest.of(content)
    writer = await cache.begin(digest, len(content))
    try:
        os.pwrite(writer.fd, content, 0)
    finally:
        os.close(writer.fd)
    writer.commit()
    return digest


async def leave(cache: CacheStore, content: bytes, pieces: int) -> Digest:
    """Bring so many pieces of content in, and leave it half."""
    digest, unit = Digest.of(content), piece_size(len(content))
    writer = await cache.begin(digest, len(content))
    for number in range(pieces):
        stop = (number + 1) * unit
        os.pwrite(writer.fd, content[number * unit : stop], number * unit)
        writer.append_prefix(hashlib.sha256(content[:stop]).digest())
    os.close(writer.fd)
    writer.leave()
    return digest


async def found(cache: CacheStore, content: bytes) -> list[bytes]:
    """What the journal of a blob says that is begun anew; it is left as it was."""
    digest = Digest.of(content)
    writer = await cache.begin(digest, len(content))
    os.close(writer.fd)
    writer.leave()
    return writer.prefixes


def read(cache: CacheStore, digest: Digest) -> bytes | None:
    held = cache.open(digest)
    if held is None:
        return None
    with held:
        return os.pread(held.fd, held.size, 0)


async def opened(folder: Path, capacity: int = 100 * MIB) -> tuple[CacheStore, Told]:
    cache, told = CacheStore(folder, capacity), Told()
    await cache.start(told)
    return cache, told


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, WITHIN_S))


def test_the_least_recently_used_goes_first_and_the_order_outlives_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path, 4 * MIB)
        digests = [await put(cache, body(number)) for number in range(4)]
        for age, digest in enumerate((digests[1], digests[3], digests[0], digests[2])):
            path = tmp_path / "blobs/sha256" / digest.hex[:2] / digest.hex
            os.utime(path, (1000 + age, 1000 + age))
        await cache.close()

        cache, told = await opened(tmp_path, 4 * MIB)
        assert read(cache, digests[1]) == body(1)
        await put(cache, body(4))
        assert [read(cache, digest) is not None for digest in digests] == [True, True, True, False]
        await put(cache, body(5, 2 * MIB))
        assert cache.used_bytes <= 4 * MIB
        assert digests[3].key not in told.keys
        await cache.close()

    run(story())


def test_more_than_the_bound_is_refused_and_evicts_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path, 4 * MIB)
        kept = await put(cache, body(1))
        with pytest.raises(StorageFull, match="cache-size"):
            await cache.begin(Digest.of(b"x"), 5 * MIB)
        writers = [await cache.begin(Digest.of(b"%d" % number), 2 * MIB - 1) for number in range(2)]
        with pytest.raises(StorageFull):
            await cache.begin(Digest.of(b"y"), MIB)
        for writer in writers:
            os.close(writer.fd)
            writer.discard()
        assert read(cache, kept) is None  # it made room for the two that were arriving
        assert cache.used_bytes == 0
        await cache.close()

    run(story())


def prefixes_of(content: bytes, pieces: int) -> list[bytes]:
    unit = piece_size(len(content))
    return [hashlib.sha256(content[: (number + 1) * unit]).digest() for number in range(pieces)]


HALF = body(9, 5 * MIB)


def test_what_is_left_half_is_gone_on_with_also_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, HALF, 2)
        assert await found(cache, HALF) == prefixes_of(HALF, 2)
        assert cache.used_bytes == len(HALF)
        await cache.close()

        again, told = await opened(tmp_path)
        assert again.used_bytes == len(HALF)
        assert told.keys == set()
        assert read(again, digest) is None
        assert again.has_partial(digest)
        writer = await again.begin(digest, len(HALF))
        assert not again.has_partial(digest)
        assert writer.prefixes == prefixes_of(HALF, 2)
        assert os.pread(writer.fd, 2 * MIB, 0) == HALF[: 2 * MIB]
        os.pwrite(writer.fd, HALF[2 * MIB :], 2 * MIB)
        os.close(writer.fd)
        writer.commit()
        assert read(again, digest) == HALF
        assert os.listdir(tmp_path / "spool") == []
        await again.close()

    run(story())


def test_of_a_journal_what_was_struck_or_not_written_to_its_end_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, HALF, 3)
        journal = tmp_path / "spool" / f"{digest.hex}.pieces"
        with journal.open("ab") as file:
            file.write(b"torn")
        assert await found(cache, HALF) == prefixes_of(HALF, 3)
        writer = await cache.begin(digest, len(HALF))
        writer.keep(1)
        os.close(writer.fd)
        writer.leave()
        assert await found(cache, HALF) == prefixes_of(HALF, 1)
        await cache.close()

    run(story())


def test_nothing_half_is_kept_of_which_no_piece_is_known_to_be_whole(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        await leave(cache, HALF, 0)
        assert cache.used_bytes == 0
        await cache.close()
        assert os.listdir(tmp_path / "spool") == []

    run(story())


def test_what_is_half_of_another_size_begins_anew(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, HALF, 2)
        writer = await cache.begin(digest, len(HALF) + 1)
        assert (writer.prefixes, os.fstat(writer.fd).st_size) == ([], len(HALF) + 1)
        assert not any(os.pread(writer.fd, MIB, 0))
        os.close(writer.fd)
        writer.discard()
        assert cache.used_bytes == 0
        await cache.close()

    run(story())


def test_what_is_half_goes_before_what_is_whole(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path, 8 * MIB)
        whole = await put(cache, body(1))
        await leave(cache, HALF, 2)
        last = await put(cache, body(2, 3 * MIB))
        assert (read(cache, whole), read(cache, last)) == (body(1), body(2, 3 * MIB))
        assert cache.used_bytes == 4 * MIB
        assert await found(cache, HALF) == []
        await cache.close()

    run(story())


@pytest.mark.parametrize("harm", ["power failure", "no journal", "no file", "other size", "junk journal", "no cache"])
def test_half_blobs_that_cannot_be_gone_on_with_are_dropped_at_the_start(tmp_path: Path, harm: str) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, HALF, 2)
        file, journal = tmp_path / "spool" / digest.hex, tmp_path / "spool" / f"{digest.hex}.pieces"
        match harm:
            case "power failure":
                after_a_power_failure(tmp_path)
            case "no journal":
                journal.unlink()
            case "no file":
                file.unlink()
            case "other size":
                os.truncate(file, MIB)
            case "junk journal":
                journal.write_bytes(b"")
        again, told = await opened(tmp_path, 0 if harm == "no cache" else 100 * MIB)
        assert os.listdir(tmp_path / "spool") == []
        assert again.used_bytes == 0
        assert told.keys == set()
        await again.close()

    run(story())


def after_a_power_failure(folder: Path) -> None:
    (folder / "running").write_text("another boot")


def test_damage_by_a_power_failure_is_found_before_it_is_served(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good, torn = await put(cache, body(1)), await put(cache, body(2))
        path = tmp_path / "blobs/sha256" / torn.hex[:2] / torn.hex
        path.write_bytes(bytes(MIB))
        after_a_power_failure(tmp_path)

        again, told = await opened(tmp_path)
        assert read(again, torn) is None
        assert again.verification is not None
        await again.verification
        assert read(again, good) == body(1)
        assert told.keys == {good.key}
        assert not path.exists()
        await again.close()
        assert not (tmp_path / "running").exists()

    run(story())


def test_what_is_fetched_before_its_old_copy_was_verified_counts_once(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good, torn = await put(cache, body(1)), await put(cache, body(2))
        (tmp_path / "blobs/sha256" / torn.hex[:2] / torn.hex).write_bytes(bytes(MIB))
        after_a_power_failure(tmp_path)

        again, told = await opened(tmp_path)
        for number in (1, 2):
            await put(again, body(number))
        assert again.verification is not None
        await again.verification
        assert told.keys == {good.key, torn.key}
        assert (read(again, good), read(again, torn)) == (body(1), body(2))
        assert again.used_bytes == 2 * MIB
        await again.close()

    run(story())


def test_what_cannot_be_read_is_left_out_and_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good = [await put(cache, body(number)) for number in range(3)]
        (tmp_path / "blobs/sha256/00" / ("0" * 64)).mkdir(parents=True)
        gone = await put(cache, body(3))
        path = tmp_path / "blobs/sha256" / gone.hex[:2] / gone.hex
        os.utime(path, (0, 0))  # the first to be looked at
        after_a_power_failure(tmp_path)

        again, told = await opened(tmp_path)
        path.unlink()
        assert again.verification is not None
        await again.verification
        assert told.keys == {digest.key for digest in good}
        await again.close()

        trusted, told = await opened(tmp_path)
        assert told.keys == {digest.key for digest in good}
        assert trusted.open(Digest("0" * 64)) is None
        await trusted.close()

    run(story())


def test_tags_outlive_a_restart_and_junk_among_them_is_removed(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path)
        reference, tag = Reference.parse("nginx:1.27"), Tag(Digest.of(b"m"), time.time() - 5, "upstream")
        await cache.put_tag(reference, tag)
        assert told.keys == {reference.key}
        await cache.close()
        junk = [b"", b"{", b'{"reference": 7}', b'{"reference":"A B","digest":"sha256:0","checked_unix_s":1}']
        for number, text in enumerate(junk):
            (tmp_path / "tags" / f"{number}").write_bytes(text)
        (tmp_path / "tags" / "half.new").write_bytes(b"")

        again, told = await opened(tmp_path)
        assert again.tag(reference) == tag
        assert told.keys == {reference.key}
        assert len(os.listdir(tmp_path / "tags")) == 1
        await again.close()

    run(story())


def test_a_blob_that_somebody_deleted_is_withdrawn(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path)
        digest = await put(cache, body(1))
        (tmp_path / "blobs/sha256" / digest.hex[:2] / digest.hex).unlink()
        assert read(cache, digest) is None
        assert told.keys == set()
        await cache.close()

    run(story())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def story() -> None:
        with pytest.raises(ConfigError, match=r"data-dir: cannot use .*file.*name a folder"):
            await opened(tmp_path / "file" / "cache")

    run(story())


KILLED = """
    import asyncio, os, random, sys
    from pathlib import Path
    from mirror.oci.digest import Digest
    from mirror.stores.cache import CacheStore

    class Deaf:
        appeared = vanished = lambda self, keys: None

    async def main():
        cache = CacheStore(Path(sys.argv[1]), 8 << 20)
        await cache.start(Deaf())
        number = 0
        while True:
            content = random.Random(number).randbytes(300_000)
            digest = Digest.of(content)
            writer = await cache.begin(digest, len(content))
            os.pwrite(writer.fd, content, 0)
            os.close(writer.fd)
            writer.commit()
            number += 1
            print(number, flush=True)

    asyncio.run(main())
"""


@pytest.mark.parametrize("rounds", [1, 9, 40])
def test_killed_at_any_moment_only_right_blobs_are_served_afterwards(tmp_path: Path, rounds: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(rounds):
        assert writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    with writer:
        pass

    async def story() -> None:
        cache, told = await opened(tmp_path, 8 * MIB)
        assert told.keys
        for key in told.keys:
            content = read(cache, Digest(key.hex()))
            assert content is not None
            assert hashlib.sha256(content).digest() == key
        await cache.close()

    run(story())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_evicts_then_refuses_and_keeps_what_is_right(small_disk: Path) -> None:
    async def story() -> None:
        cache, told = await opened(small_disk / "cache")
        digests = [await put(cache, body(number, 2 * MIB)) for number in range(5)]
        assert read(cache, digests[4]) == body(4, 2 * MIB)
        assert read(cache, digests[0]) is None
        with pytest.raises(StorageFull, match="No space left"):
            await cache.begin(Digest.of(b"large"), 9 * MIB)
        assert told.keys == {key.key for key in digests if read(cache, key) is not None}
        await cache.close()

    run(story())


def test_a_folder_that_cannot_be_written_to_is_named(small_disk: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(small_disk)
        await cache.close()
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(ConfigError, match=r"data-dir: cannot use .*disk.*Read-only.*name a folder"):
            await opened(small_disk)

    run(story())
