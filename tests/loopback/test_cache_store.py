"""The cache store on a real disk: what survives a restart, what is bounded, and what is never served."""

import asyncio
import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.cluster.homes import piece_size
from mirror.errors import ConfigError, Corrupt, StorageError, StorageFailed, StorageFull
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.reference import Reference
from mirror.settings import CacheSettings, UpkeepSettings
from mirror.stores import Tag
from mirror.stores.cache import CacheStore
from tests.caches import proof_of
from tests.rot import flip

MIB = 1024 * 1024
WITHIN_S = 30.0


class Told:
    """A listener that keeps the keys that can be served; each change is reported once."""

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


async def put(
    cache: CacheStore, content: bytes, wanted_here: bool = True, algorithm: Algorithm = Algorithm.SHA256
) -> Digest:
    """Write content as a fetch does."""
    digest = Digest.of(content, algorithm)
    writer = await cache.begin(digest, len(content), lambda: wanted_here)
    try:
        await asyncio.to_thread(writer.reserve, 0, len(content))
        os.pwrite(writer.fd, content, 0)
    except StorageError:
        writer.discard()
        raise
    finally:
        os.close(writer.fd)
    writer.commit(proof_of(content))
    return digest


async def leave(cache: CacheStore, content: bytes, pieces: int) -> Digest:
    """Write some pieces of content, and leave it partial."""
    digest, unit = Digest.of(content), piece_size(len(content))
    writer = await cache.begin(digest, len(content))
    await asyncio.to_thread(writer.reserve, 0, len(content))
    for number in range(pieces):
        stop = (number + 1) * unit
        os.pwrite(writer.fd, content[number * unit : stop], number * unit)
        writer.append_prefix(hashlib.sha256(content[:stop]).digest())
    os.close(writer.fd)
    writer.leave()
    return digest


async def found(cache: CacheStore, content: bytes) -> list[bytes]:
    """What the journal of a partial blob says; the blob is left as it was."""
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
        assert read(cache, kept) == body(1), "nothing has arrived yet"
        for writer in writers:
            await asyncio.to_thread(writer.reserve, 0, 2 * MIB - 1)
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


PARTIAL = body(9, 5 * MIB)


def test_a_partial_blob_is_continued_also_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, PARTIAL, 2)
        assert await found(cache, PARTIAL) == prefixes_of(PARTIAL, 2)
        assert cache.used_bytes == len(PARTIAL)
        await cache.close()

        again, told = await opened(tmp_path)
        assert again.used_bytes == len(PARTIAL)
        assert told.keys == set()
        assert read(again, digest) is None
        assert again.has_partial(digest)
        writer = await again.begin(digest, len(PARTIAL))
        assert not again.has_partial(digest)
        assert writer.prefixes == prefixes_of(PARTIAL, 2)
        assert os.pread(writer.fd, 2 * MIB, 0) == PARTIAL[: 2 * MIB]
        os.pwrite(writer.fd, PARTIAL[2 * MIB :], 2 * MIB)
        os.close(writer.fd)
        writer.commit()
        assert read(again, digest) == PARTIAL
        assert os.listdir(tmp_path / "spool") == []
        await again.close()

    run(story())


def test_struck_and_torn_records_of_a_journal_are_gone(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, PARTIAL, 3)
        journal = tmp_path / "spool" / f"{digest.hex}.pieces"
        with journal.open("ab") as file:
            file.write(b"torn")
        assert await found(cache, PARTIAL) == prefixes_of(PARTIAL, 3)
        writer = await cache.begin(digest, len(PARTIAL))
        writer.keep(1)
        os.close(writer.fd)
        writer.leave()
        assert await found(cache, PARTIAL) == prefixes_of(PARTIAL, 1)
        await cache.close()

    run(story())


def test_a_partial_blob_without_a_whole_piece_is_not_kept(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        await leave(cache, PARTIAL, 0)
        assert cache.used_bytes == 0
        await cache.close()
        assert os.listdir(tmp_path / "spool") == []

    run(story())


def test_a_partial_blob_of_another_size_starts_again(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, PARTIAL, 2)
        writer = await cache.begin(digest, len(PARTIAL) + 1)
        assert (writer.prefixes, os.fstat(writer.fd).st_size) == ([], len(PARTIAL) + 1)
        assert not any(os.pread(writer.fd, MIB, 0))
        os.close(writer.fd)
        writer.discard()
        assert cache.used_bytes == 0
        await cache.close()

    run(story())


def test_partial_blobs_are_evicted_before_complete_ones(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path, 8 * MIB)
        whole = await put(cache, body(1))
        await leave(cache, PARTIAL, 2)
        last = await put(cache, body(2, 3 * MIB))
        assert (read(cache, whole), read(cache, last)) == (body(1), body(2, 3 * MIB))
        assert cache.used_bytes == 4 * MIB
        assert await found(cache, PARTIAL) == []
        await cache.close()

    run(story())


@pytest.mark.parametrize("harm", ["no journal", "no file", "other size", "junk journal", "no cache"])
def test_partial_blobs_that_cannot_be_continued_are_dropped_at_the_start(tmp_path: Path, harm: str) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await leave(cache, PARTIAL, 2)
        file, journal = tmp_path / "spool" / digest.hex, tmp_path / "spool" / f"{digest.hex}.pieces"
        match harm:
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


def without_proofs(folder: Path) -> None:
    """As an older agent left it, or a power failure."""
    shutil.rmtree(folder / "proofs")


def test_what_nothing_proves_is_hashed_before_it_is_served(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good, torn = await put(cache, body(1)), await put(cache, body(2))
        await cache.close()
        path = tmp_path / "blobs/sha256" / torn.hex[:2] / torn.hex
        path.write_bytes(bytes(MIB))
        without_proofs(tmp_path)

        again, told = await opened(tmp_path)
        assert (read(again, good), read(again, torn)) == (None, None)
        assert again.used_bytes == 2 * MIB
        await again.upkeep.verified.wait()
        assert read(again, good) == body(1)
        assert told.keys == {good.key}
        assert again.open(torn) is None
        assert again.used_bytes == MIB
        await again.close()
        assert not path.exists()

        third, told = await opened(tmp_path)
        assert told.keys == {good.key}, "now there is a proof"
        await third.close()

    run(story())


def test_a_blob_fetched_before_its_old_copy_is_verified_counts_once(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good, torn = await put(cache, body(1)), await put(cache, body(2))
        await cache.close()
        (tmp_path / "blobs/sha256" / torn.hex[:2] / torn.hex).write_bytes(bytes(MIB))
        without_proofs(tmp_path)

        again, told = await opened(tmp_path)
        for number in (1, 2):
            await put(again, body(number))
        await again.upkeep.verified.wait()
        assert told.keys == {good.key, torn.key}
        assert (read(again, good), read(again, torn)) == (body(1), body(2))
        assert again.used_bytes == 2 * MIB
        await again.close()

    run(story())


def test_blobs_that_cannot_be_read_are_left_out_and_the_others_are_served(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        good = [await put(cache, body(number)) for number in range(3)]
        (tmp_path / "blobs/sha256/00" / ("0" * 64)).mkdir(parents=True)
        gone = await put(cache, body(3))
        path = tmp_path / "blobs/sha256" / gone.hex[:2] / gone.hex
        await cache.close()
        os.utime(path, (0, 0))  # the last to be looked at
        without_proofs(tmp_path)

        again, told = await opened(tmp_path)
        path.unlink()
        await again.upkeep.verified.wait()
        assert told.keys == {digest.key for digest in good}
        await again.close()

        third, told = await opened(tmp_path)
        assert told.keys == {digest.key for digest in good}
        assert third.open(Digest("0" * 64)) is None
        await third.close()

    run(story())


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder that is no load for a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_what_is_on_disk_and_too_much_goes_at_the_start_a_few_names_a_turn(in_memory: Path) -> None:
    """Twenty thousand in a folder, and room for a thousand: the event loop never works on more than a batch."""
    tmp_path = in_memory
    count, kept = 20_000, 1000
    names = [f"{number:064x}" for number in range(count)]
    for part in {name[:2] for name in names}:
        (tmp_path / "blobs/sha256" / part).mkdir(parents=True)
        (tmp_path / "proofs" / part).mkdir(parents=True)
    for number, name in enumerate(names):
        content = b"%010d" % number
        path = tmp_path / "blobs/sha256" / name[:2] / name
        path.write_bytes(content)
        os.utime(path, (number, number))
        (tmp_path / "proofs" / name[:2] / name).write_bytes(proof_of(content).encode())

    async def story() -> None:
        calls: list[int] = []

        class Counting(Told):
            def appeared(self, keys: Collection[bytes]) -> None:
                calls.append(len(keys))
                super().appeared(keys)

            def vanished(self, keys: Collection[bytes]) -> None:
                calls.append(len(keys))
                super().vanished(keys)

        cache, told = CacheStore(tmp_path, 10 * kept), Counting()
        await cache.start(told)
        assert told.keys == {bytes.fromhex(name) for name in names[-kept:]}
        assert max(calls) <= 512
        calls.clear()
        digest = await put(cache, body(1, 9 * kept))  # 900 have to go
        assert digest.key in told.keys
        assert len(told.keys) <= kept - 900 + 1
        assert max(calls) <= 64
        await cache.upkeep.verified.wait()
        await cache.close()
        assert len(list((tmp_path / "blobs").rglob("*/*/*"))) == len(told.keys)

    run(story())


def test_a_size_that_somebody_invents_costs_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path, 8 * MIB)
        kept = [await put(cache, body(number)) for number in range(7)]
        with pytest.raises(StorageFull):
            await cache.begin(Digest.of(b"invented"), 1 << 40)
        writer = await cache.begin(Digest.of(b"large"), 8 * MIB)
        assert told.keys == {digest.key for digest in kept}
        await asyncio.to_thread(writer.reserve, 0, 2 * MIB)
        assert len(told.keys) == 6, "room for what has arrived, and no more"
        os.close(writer.fd)
        writer.discard()
        assert cache.used_bytes == 6 * MIB
        await cache.close()

    run(story())


def test_what_other_members_ask_for_takes_no_place_of_what_clients_of_this_node_use(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path, 8 * MIB)
        ours = [await put(cache, body(number)) for number in range(7)]
        first = await put(cache, body(10), wanted_here=False)
        second = await put(cache, body(11), wanted_here=False)
        assert told.keys == {digest.key for digest in (*ours, second)}, "one for others takes the other's place"
        with pytest.raises(StorageFull, match="other members"):
            await put(cache, body(12, 3 * MIB), wanted_here=False)
        writers = [await cache.begin(Digest.of(b"%d" % number), MIB, lambda: False) for number in range(3)]
        await asyncio.to_thread(writers[0].reserve, 0, MIB)
        for writer in writers[1:]:
            with pytest.raises(StorageFull):
                await asyncio.to_thread(writer.reserve, 0, MIB)
        assert told.keys == {digest.key for digest in ours}
        for writer in writers:
            os.close(writer.fd)
            writer.discard()
        last = await put(cache, body(13, 2 * MIB))
        assert (first.key in told.keys, last.key in told.keys) == (False, True)
        assert len(told.keys) == 7
        await cache.close()

    run(story())


def test_what_no_client_used_lately_gives_way_to_what_other_members_ask_for(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = CacheStore(tmp_path, 4 * MIB, CacheSettings(lately_s=-1.0)), Told()
        await cache.start(told)
        old = [await put(cache, body(number)) for number in range(4)]
        new = await put(cache, body(4), wanted_here=False)
        assert told.keys == {digest.key for digest in (*old[1:], new)}
        await cache.close()

    run(story())


@pytest.mark.parametrize("harm", ["flipped", "short", "junk", "gone"])
def test_a_damaged_proof_costs_one_hash_and_no_blob(tmp_path: Path, harm: str) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await put(cache, PARTIAL)
        await cache.close()
        path = tmp_path / "proofs" / digest.hex[:2] / digest.hex
        record = bytearray(path.read_bytes())
        record[40] ^= 1
        wrong = {"flipped": bytes(record), "short": bytes(record[:40]), "junk": bytes(len(record)), "gone": b""}[harm]
        path.write_bytes(wrong) if wrong else path.unlink()

        again, told = await opened(tmp_path)
        await again.upkeep.verified.wait()
        assert told.keys == {digest.key}
        held = again.open(digest)
        assert held is not None
        with held:
            assert await held.read() == PARTIAL
            assert await held.prefixes() == proof_of(PARTIAL).prefixes
        await again.close()
        assert path.read_bytes() == proof_of(PARTIAL).encode()

    run(story())


def test_a_byte_that_was_flipped_while_the_agent_was_down_leaves_never(tmp_path: Path) -> None:
    async def story() -> None:
        cache, _ = await opened(tmp_path)
        digest = await put(cache, PARTIAL)
        await cache.close()
        path = tmp_path / "blobs/sha256" / digest.hex[:2] / digest.hex
        flip(path, 3 * MIB)

        again, told = await opened(tmp_path)
        held = again.open(digest)
        assert held is not None
        with held, pytest.raises(Corrupt):
            await held.read()
        assert told.keys == set()
        await again.close()
        assert not path.exists()

    run(story())


def test_a_blob_by_its_sha512_outlives_restarts_also_without_a_proof_and_damage_is_found(tmp_path: Path) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path)
        digest = await put(cache, PARTIAL, algorithm=Algorithm.SHA512)
        assert told.keys == {digest.key}
        await cache.close()
        path = tmp_path / "blobs/sha512" / digest.hex[:2] / digest.hex
        shutil.rmtree(tmp_path / "proofs")

        again, told = await opened(tmp_path)
        await again.upkeep.verified.wait()
        assert told.keys == {digest.key}
        assert read(again, digest) == PARTIAL
        again.mark_redundant([digest.key])
        await again.close()
        flip(path, 3 * MIB)
        shutil.rmtree(tmp_path / "proofs")

        again, told = await opened(tmp_path)
        await again.upkeep.verified.wait()
        assert told.keys == set()
        await again.close()
        assert not path.exists()

    run(story())


def test_a_look_in_the_background_finds_what_is_damaged_and_drops_it(tmp_path: Path) -> None:
    async def story() -> None:
        damaged: list[None] = []
        cache, told = CacheStore(tmp_path, 100 * MIB, on_damaged=lambda: damaged.append(None)), Told()
        await cache.start(told)
        good, bad, gone = [await put(cache, body(number, 3 * MIB)) for number in range(3)]
        flip(tmp_path / "blobs/sha256" / bad.hex[:2] / bad.hex, 2 * MIB)
        (tmp_path / "blobs/sha256" / gone.hex[:2] / gone.hex).unlink()
        for digest in (good, bad, gone):
            await cache.upkeep.look_at(digest.hex)
        assert told.keys == {good.key}
        assert len(damaged) == 1
        assert cache.used_bytes == 3 * MIB
        await cache.close()

    run(story())


def test_all_blobs_are_looked_at_round_after_round(tmp_path: Path) -> None:
    async def story() -> None:
        quick = UpkeepSettings(bytes_per_s=1e12, round_s=0, pause_s=0, first_after_s=0)
        cache, told = CacheStore(tmp_path, 100 * MIB, CacheSettings(upkeep=quick)), Told()
        await cache.start(told)
        digests = [await put(cache, body(number)) for number in range(3)]
        for digest in digests:
            flip(tmp_path / "blobs/sha256" / digest.hex[:2] / digest.hex, 7)
        while told.keys:
            await asyncio.sleep(0)
        await cache.close()

    run(story())


def test_a_disk_that_does_not_give_a_blob_has_it_withdrawn_and_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        cache, told = await opened(tmp_path)
        digest = await put(cache, body(1))
        path = tmp_path / "blobs/sha256" / digest.hex[:2] / digest.hex

        def fails(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        flip(path, 5)
        flip(path, 5)  # so that it has to be read again
        with monkeypatch.context() as patch:
            patch.setattr("mirror.stores.checking.read_parts", fails)
            held = cache.open(digest)
            assert held is not None
            with held, pytest.raises(StorageFailed):
                await held.read()
        assert told.keys == set()
        assert cache.open(digest) is None
        assert path.exists()
        assert cache.used_bytes == MIB
        await cache.upkeep.look_at(digest.hex)
        assert told.keys == {digest.key}, "the disk gives it again"
        await cache.close()

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
    from mirror.oci.digest import Algorithm, Digest
    from mirror.stores.cache import CacheStore
    from mirror.stores.proofs import ContentHasher

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
            hasher = ContentHasher(len(content))
            hasher.update(memoryview(content))
            writer.commit(hasher.proof())
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
        await cache.upkeep.verified.wait()
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
            await put(cache, body(5, 9 * MIB))
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
