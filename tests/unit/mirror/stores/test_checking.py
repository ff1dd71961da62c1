"""Checking: what leaves was checked, what is wrong is told, and what cannot be read is not taken for wrong."""

import asyncio
import errno
import os
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mirror import fileio
from mirror.errors import Corrupt, StorageFailed
from mirror.oci.digest import Digest
from mirror.settings import CheckSettings
from mirror.stores import Held, checking
from mirror.stores.checking import Checker, FileChecks, Findings, Identity
from mirror.stores.proofs import Proof, block_size
from tests.caches import proof_of
from tests.rot import flip

KIB = 1024
BLOB = random.Random(2).randbytes(5 * KIB * KIB + 100)
DIGEST = Digest.of(BLOB)
SETTINGS = CheckSettings(warm_bytes=KIB * KIB, cold_bytes=512 * KIB)


class Shelf:
    """A file, a checker for it, and what it was told and asked."""

    def __init__(self, folder: Path, settings: CheckSettings = SETTINGS) -> None:
        self.path = folder / "blob"
        self.path.write_bytes(BLOB)
        self.corrupt: list[str] = []
        self.failed: list[int | None] = []
        self.records: dict[Digest, Proof] = {}
        self.loads = 0
        self._settings = settings
        self.restart()

    def restart(self) -> None:
        findings = Findings(
            lambda digest, identity, what: self.corrupt.append(what),
            lambda digest, error: self.failed.append(error.errno),
        )
        self.checker = Checker(findings, self, self._settings)

    def load(self, digest: Digest, size: int) -> Proof | None:
        self.loads += 1
        return self.records.get(digest)

    def save(self, digest: Digest, proof: Proof) -> None:
        self.records[digest] = proof

    def open(self, digest: Digest = DIGEST, size: int = len(BLOB)) -> Held:
        return Held(os.open(self.path, os.O_RDONLY), size, "shelf", FileChecks(self.checker, digest, size))

    async def read(self, start: int = 0, stop: int = len(BLOB), into: bytearray | None = None) -> bytes:
        got = bytearray() if into is None else into
        with self.open() as held:
            async for offset, count in held.ready(start, stop):
                assert offset == start + len(got)
                got += os.pread(held.fd, count, offset)
        return bytes(got)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges that were read to be checked."""
    seen: list[tuple[int, int]] = []
    real = fileio.read_parts

    def read_parts(fd: int, start: int, stop: int, buffer: bytearray) -> Any:
        seen.append((start, stop))
        return real(fd, start, stop, buffer)

    monkeypatch.setattr(checking, "read_parts", read_parts)
    return seen


class Gate:
    """Holds threads that hash a whole file after its first part."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()
        self.parts = 0
        self._real = fileio.read_parts

    def read_parts(self, fd: int, start: int, stop: int, buffer: bytearray) -> Iterator[memoryview]:
        for part in self._real(fd, start, stop, buffer):
            self.parts += 1
            yield part
            if stop - start > block_size(len(BLOB)):
                self.begun.release()
                self.opened.wait(20)

    async def wait(self) -> None:
        """Until one more thread stands at the gate."""
        assert await asyncio.to_thread(self.begun.acquire, True, 20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(checking, "read_parts", gate.read_parts)
    yield gate
    gate.opened.set()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20), debug=True)


@pytest.mark.parametrize(("start", "stop"), [(0, len(BLOB)), (0, 1), (300_000, 300_001), (700_000, len(BLOB) - 1)])
def test_a_range_is_given_as_it_is(shelf: Shelf, start: int, stop: int) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        assert await shelf.read(start, stop) == BLOB[start:stop]
        assert shelf.corrupt == []

    run(story())


def test_what_was_hashed_just_now_leaves_without_being_read(shelf: Shelf, reads: list[tuple[int, int]]) -> None:
    async def story() -> None:
        shelf.checker.know(DIGEST, Identity.of(shelf.path), proof_of(BLOB))
        assert await shelf.read() == BLOB
        assert (reads, shelf.loads) == ([], 0)

    run(story())


def test_after_a_restart_a_block_is_checked_once_and_again_when_it_comes_from_the_disk(
    shelf: Shelf, reads: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        assert await shelf.read() == BLOB
        assert len(reads) == 21, "every block"
        reads.clear()
        assert await shelf.read() == BLOB
        assert reads == []
        gone = (512 * KIB, 768 * KIB)  # this block has left the page cache
        monkeypatch.setattr(checking, "cached", lambda fd, start, count: start + count <= gone[0] or start >= gone[1])
        assert await shelf.read() == BLOB
        assert reads[0] == gone
        assert len(reads) == 19, "the kernel may have read the blocks behind it ahead"

    run(story())


@pytest.mark.parametrize("at", [0, 300_000, len(BLOB) - 1])
def test_up_to_a_wrong_block_bytes_leave_and_none_of_it(shelf: Shelf, at: int) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        flip(shelf.path, at)
        got = bytearray()
        with pytest.raises(Corrupt, match=f"block {at // (256 * KIB)} does not have its checksum"):
            await shelf.read(into=got)
        assert BLOB.startswith(got)
        assert len(got) <= at
        assert len(shelf.corrupt) == 1

    run(story())


def test_a_change_is_seen_though_the_block_was_checked_before_and_the_time_was_set_back(shelf: Shelf) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        assert await shelf.read() == BLOB
        await asyncio.to_thread(flip, shelf.path, 300_000)
        with pytest.raises(Corrupt):
            await shelf.read()

    run(story())


@pytest.mark.parametrize("who", ["a reader", "the scrub"])
def test_other_bytes_from_the_disk_are_seen_though_nothing_tells_that_the_file_has_changed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """As rot does it: ctime stays, too. No program can have that, so the checker is told that nothing has changed."""

    async def scrub() -> None:
        with shelf.open() as held:
            async for _ in shelf.checker.scrub(DIGEST, held.fd, held.size):
                pass

    async def story() -> None:
        before = Identity.of(shelf.path)
        shelf.checker.know(DIGEST, before, proof_of(BLOB))
        flip(shelf.path, 300_000)
        shelf.checker.touched(DIGEST, before, Identity.of(shelf.path))
        gone = (256 * KIB, 512 * KIB)  # the block has left the page cache
        monkeypatch.setattr(checking, "cached", lambda fd, start, count: start + count <= gone[0] or start >= gone[1])
        got = bytearray()
        with pytest.raises(Corrupt, match="block 1 does not have its checksum"):
            await (shelf.read(into=got) if who == "a reader" else scrub())
        assert BLOB[: gone[0]].startswith(got)
        assert len(shelf.corrupt) == 1

    run(story())


HARM: list[tuple[str, Callable[[Path], None]]] = [
    ("short", lambda path: os.truncate(path, 300_000)),
    ("empty", lambda path: os.truncate(path, 0)),
    ("long", lambda path: os.truncate(path, len(BLOB) + 1)),
]


@pytest.mark.parametrize("harm", [harm for _, harm in HARM], ids=[name for name, _ in HARM])
def test_another_size_is_seen_at_once_also_in_the_middle(shelf: Shelf, harm: Callable[[Path], None]) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        with shelf.open() as held:
            parts = held.ready(0, len(BLOB))
            await anext(parts)
            await asyncio.sleep(0)
            harm(shelf.path)
            with pytest.raises(Corrupt, match=r"bytes, not|does not have its checksum"):
                async for _ in parts:
                    pass
        with pytest.raises(Corrupt, match=r"bytes, not"):
            await shelf.read()

    run(story())


def test_a_file_without_a_proof_is_hashed_first_once_for_all_who_ask(
    shelf: Shelf, reads: list[tuple[int, int]]
) -> None:
    async def story() -> None:
        with shelf.open() as held:
            assert await held.prefixes() is None, "not known yet"
        assert await asyncio.gather(*(shelf.read() for _ in range(3))) == [BLOB] * 3
        assert reads == [(0, len(BLOB))]
        assert shelf.records[DIGEST] == proof_of(BLOB)
        with shelf.open() as held:
            assert await held.prefixes() == proof_of(BLOB).prefixes
            assert await held.read() == BLOB

    run(story())


def test_a_file_without_a_proof_that_is_other_content_gives_no_byte(shelf: Shelf) -> None:
    async def story() -> None:
        flip(shelf.path, len(BLOB) - 1)
        got = bytearray()
        with pytest.raises(Corrupt, match="has the digest sha256"):
            await shelf.read(into=got)
        assert not got
        assert shelf.records == {}

    run(story())


def test_to_verify_is_to_hash_the_whole_whatever_is_known(shelf: Shelf, reads: list[tuple[int, int]]) -> None:
    async def story() -> None:
        shelf.checker.know(DIGEST, Identity.of(shelf.path), proof_of(BLOB))
        with shelf.open() as held:
            await shelf.checker.verify(DIGEST, held.fd, held.size)
            assert reads == [(0, len(BLOB))]
            await shelf.checker.verify(DIGEST, held.fd, held.size)
            flip(shelf.path, 7)
            with pytest.raises(Corrupt):
                await shelf.checker.verify(DIGEST, held.fd, held.size)

    run(story())


def test_a_disk_that_fails_is_not_taken_for_a_wrong_file(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        def fails(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(checking, "read_parts", fails)
        for _ in range(2):  # without a proof, and with one
            with pytest.raises(StorageFailed, match="Input/output error"):
                await shelf.read()
            shelf.records[DIGEST] = proof_of(BLOB)
        assert (shelf.corrupt, shelf.failed) == ([], [errno.EIO] * 2)

    run(story())


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EUCLEAN, errno.ESTALE])
def test_what_disks_say_that_do_not_give_a_file_is_told_of_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def story() -> None:
        def fails(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(checking, "read_parts", fails)
        with pytest.raises(StorageFailed):
            await shelf.read()
        monkeypatch.setattr(os, "stat", fails)
        with pytest.raises(StorageFailed):
            await shelf.read()
        assert (shelf.corrupt, shelf.failed) == ([], [number, number])

    run(story())


@pytest.mark.parametrize("has_proof", [True, False])
def test_an_error_that_says_nothing_of_the_file_is_not_told_of_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, has_proof: bool
) -> None:
    async def story() -> None:
        def fails(*_: object) -> None:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

        if has_proof:
            shelf.records[DIGEST] = proof_of(BLOB)
        monkeypatch.setattr(checking, "read_parts", fails)
        with pytest.raises(StorageFailed, match="allocate memory"):
            await shelf.read()
        assert (shelf.corrupt, shelf.failed) == ([], [])

    run(story())


def test_where_no_descriptor_is_left_a_file_without_a_proof_is_not_served_now(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        def fails(fd: int) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", fails)
            with pytest.raises(StorageFailed, match="Too many open files"):
                await shelf.read()
        assert (shelf.corrupt, shelf.failed) == ([], [])
        assert await shelf.read() == BLOB

    run(story())


def test_whoever_reads_a_file_that_the_store_forgets_meanwhile_needs_no_new_hash(
    shelf: Shelf, reads: list[tuple[int, int]]
) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        with shelf.open() as held:
            parts = held.ready(0, len(BLOB))
            offset, count = await anext(parts)
            got = os.pread(held.fd, count, offset)
            shelf.path.unlink()  # which changes the file's ctime
            shelf.checker.forget(DIGEST)
            shelf.records.clear()
            async for offset, count in parts:
                got += os.pread(held.fd, count, offset)
        assert got == BLOB
        assert (0, len(BLOB)) not in reads
        assert shelf.records == {}

    run(story())


def test_a_hash_goes_on_for_whoever_waits_and_stops_when_nobody_does(shelf: Shelf, gate: Gate) -> None:
    async def story() -> None:
        descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        first, second = (asyncio.create_task(shelf.read()) for _ in range(2))
        await gate.wait()
        first.cancel()
        await asyncio.wait([first])
        assert not second.done()
        second.cancel()
        await asyncio.wait([second])
        for _ in range(5):  # turns in which the thread is told
            await asyncio.sleep(0)
        gate.opened.set()
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0)
        assert gate.parts == 2, "it notices with the next part"
        assert shelf.records == {}
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert await shelf.read() == BLOB
        assert gate.parts == -(-len(BLOB) // SETTINGS.read_bytes), "whoever asks then goes on where it stopped"

    run(story())


def test_to_close_stops_hashes_also_those_that_have_no_thread_yet(shelf: Shelf, gate: Gate) -> None:
    async def story() -> None:
        async def verify(number: int) -> None:
            digest = Digest.of(bytes([number]))
            with shelf.open(digest) as held, suppress(Corrupt):
                await shelf.checker.verify(digest, held.fd, held.size)

        tasks = [asyncio.create_task(verify(number)) for number in range(8)]
        for _ in range(2):  # both threads stand at the gate
            await gate.wait()
        closing = asyncio.create_task(shelf.checker.close())
        for _ in range(100):  # turns in which they are told, more than there are tasks on the way
            await asyncio.sleep(0)
        gate.opened.set()
        await closing
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.parts <= 4, "some had begun"
        assert shelf.corrupt == []

    run(story())


def test_checks_do_not_wait_for_hashes(shelf: Shelf, gate: Gate) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        others = [Digest.of(bytes([number])) for number in range(8)]
        with shelf.open() as held:
            tasks = [asyncio.create_task(shelf.checker.verify(other, held.fd, held.size)) for other in others]
            await gate.wait()
            assert await shelf.read() == BLOB
            gate.opened.set()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert len(shelf.corrupt) == len(others)

    run(story())


def test_a_change_of_times_by_the_store_itself_costs_no_check(shelf: Shelf, reads: list[tuple[int, int]]) -> None:
    async def story() -> None:
        before = Identity.of(shelf.path)
        shelf.checker.know(DIGEST, before, proof_of(BLOB))
        os.utime(shelf.path, (1000, 1000))
        shelf.checker.touched(DIGEST, before, Identity.of(shelf.path))
        assert await shelf.read() == BLOB
        assert reads == []

    run(story())


def test_what_is_known_is_bounded_and_what_was_forgotten_costs_one_more_check(tmp_path: Path) -> None:
    async def story() -> None:
        shelf = Shelf(tmp_path, CheckSettings(memory_bytes=1))
        shelf.records[DIGEST] = proof_of(BLOB)
        assert await shelf.read() == BLOB
        shelf.checker.know(Digest.of(b"other"), Identity.of(shelf.path), Proof(0, b"", ()))
        assert await shelf.read() == BLOB
        assert shelf.loads == 2

    run(story())


def test_a_reader_that_stops_leaves_no_check_behind(shelf: Shelf) -> None:
    async def story() -> None:
        shelf.records[DIGEST] = proof_of(BLOB)
        before = asyncio.all_tasks()
        with shelf.open() as held:
            parts = held.ready(0, len(BLOB))
            await anext(parts)
            assert asyncio.all_tasks() > before, "the next bytes are checked meanwhile"
            await parts.aclose()
        assert asyncio.all_tasks() == before

    run(story())


def test_the_kernel_says_what_is_in_memory_and_where_it_cannot_both_ends_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(BLOB)
    fd = os.open(path, os.O_RDONLY)
    asked: list[int] = []

    def look(fd: int, buffers: object, offset: int, flags: int) -> int:
        asked.append(offset)
        if offset > 6000:
            raise BlockingIOError
        return 1

    try:
        assert fileio.cached(fd, 0, len(BLOB))
        assert fileio.cached(fd, 5000, 1)
        monkeypatch.setattr(fileio, "CACHESTAT", -1)
        monkeypatch.setattr(os, "preadv", look)
        assert fileio.cached(fd, 5000, 10)
        assert not fileio.cached(fd, 5000, 2000)
        assert asked == [5000, 5009, 5000, 6999]
    finally:
        os.close(fd)
    assert block_size(len(BLOB)) == 256 * KIB
