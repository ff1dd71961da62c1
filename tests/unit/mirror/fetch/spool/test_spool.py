"""The spool: any order in, one order out, and never a complete corrupt blob."""

import asyncio
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE, piece_size
from mirror.errors import MirrorError, SourceError, Unavailable
from mirror.fetch.spool.spool import WINDOW_BYTES, Spool
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.ranges import RangeSet
from mirror.oci.reference import Repository

SMALL = bytes(range(256)) * 16
LARGE = os.urandom(MEBIBYTE) * 5 + b"tail"
WITHHELD = (len(LARGE) - 1) // piece_size(len(LARGE)) * piece_size(len(LARGE))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@asynccontextmanager
async def spooling(blob: bytes, *, begun: bool = True) -> AsyncIterator[Spool]:
    """A spool for a blob, on a file of its own."""
    spool = Spool(Content(Repository("lab", "app"), "blobs", Digest.of(blob)))
    with tempfile.TemporaryFile() as file:
        if begun:
            spool.begin(os.dup(file.fileno()), len(blob))
        yield spool
        spool.close()


def write(spool: Spool, offset: int, chunks: list[bytes]) -> None:
    """Have bytes arrive as a source brings them: into the file, then told."""
    count = os.pwritev(spool.fd, chunks, offset)
    assert count == sum(map(len, chunks))
    spool.arrived(offset, offset + count)


class Reader:
    """Reads a range of a spool in the background."""

    def __init__(self, spool: Spool, start: int, stop: int, *, relayed: bool = False) -> None:
        self.got = bytearray()
        self._spool = spool
        self._grown = asyncio.Event()
        self.task = asyncio.create_task(self._read(start, stop, relayed=relayed))

    async def _read(self, start: int, stop: int, *, relayed: bool) -> None:
        async for offset, count in self._spool.extents(start, stop, relayed=relayed):
            assert offset == start + len(self.got)
            self.got += os.pread(self._spool.fd, count, offset)
            self._grown.set()

    async def until(self, length: int) -> None:
        """Wait until so much has come; fail if reading ends before."""
        while len(self.got) < length:
            assert not self.task.done() or self.task.exception() is None
            await self._grown.wait()
            self._grown.clear()


class Journal:
    """Hears how far the hash has come."""

    def __init__(self, act: Callable[[int], None] = lambda count: None) -> None:
        self.prefixes: list[bytes] = []
        self._act = act
        self._grown = asyncio.Event()

    def passed(self, prefix: bytes) -> None:
        self.prefixes.append(prefix)
        self._grown.set()
        self._act(len(self.prefixes))

    async def until(self, count: int) -> None:
        """Wait until so many pieces have been hashed."""
        while len(self.prefixes) < count:
            await self._grown.wait()
            self._grown.clear()


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_bytes_are_given_in_order_whatever_order_they_come_in() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            reader = Reader(spool, 0, len(LARGE))
            write(spool, 2 * MEBIBYTE, [LARGE[2 * MEBIBYTE : 3 * MEBIBYTE]])
            await settle()
            assert not reader.got
            write(spool, 0, [LARGE[:1000], LARGE[1000:MEBIBYTE]])
            await reader.until(MEBIBYTE)
            write(spool, MEBIBYTE, [LARGE[MEBIBYTE : 2 * MEBIBYTE]])
            await reader.until(3 * MEBIBYTE)
            assert reader.got == LARGE[: 3 * MEBIBYTE]
            reader.task.cancel()

    run(check())


def test_a_reader_of_a_range_waits_for_its_own_bytes_only() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            reader = Reader(spool, 2 * MEBIBYTE + 7, 3 * MEBIBYTE)
            write(spool, 2 * MEBIBYTE, [LARGE[2 * MEBIBYTE : 3 * MEBIBYTE]])
            await reader.task
            assert reader.got == LARGE[2 * MEBIBYTE + 7 : 3 * MEBIBYTE]

    run(check())


@pytest.mark.parametrize(("blob", "given"), [(SMALL, 0), (LARGE, WITHHELD)], ids=["small", "large"])
def test_the_last_piece_is_withheld_until_the_digest_is_right(blob: bytes, given: int) -> None:
    async def check() -> None:
        async with spooling(blob) as spool:
            whole, end = Reader(spool, 0, len(blob)), Reader(spool, len(blob) - 1, len(blob))
            write(spool, 0, [blob])
            assert await spool.hash() == spool.content.digest.hex
            await whole.until(given)
            await settle()
            assert (len(whole.got), len(end.got)) == (given, 0)
            spool.finish()
            await whole.task
            await end.task
            assert (bytes(whole.got), bytes(end.got)) == (blob, blob[-1:])

    run(check())


def test_an_empty_blob_is_complete_without_a_byte() -> None:
    async def check() -> None:
        async with spooling(b"") as spool:
            assert await spool.hash() == spool.content.digest.hex
            spool.finish()
            reader = Reader(spool, 0, 0)
            await asyncio.gather(spool.completed(), reader.task)
            assert not reader.got

    run(check())


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 997), st.data())
def test_the_digest_is_of_the_whole_in_whatever_order_it_came(order: list[int], odd: int, data: st.DataObject) -> None:
    blob = os.urandom(12 * odd)
    start = data.draw(st.integers(0, len(blob)))
    stop = data.draw(st.integers(start, len(blob)))

    async def check() -> None:
        async with spooling(blob) as spool:
            hashing, reader = asyncio.create_task(spool.hash()), Reader(spool, start, stop)
            for part in order:
                write(spool, part * odd, [blob[part * odd : (part + 1) * odd]])
            assert await hashing == spool.content.digest.hex
            spool.finish()
            await reader.task
            assert reader.got == blob[start:stop]

    run(check())


@pytest.mark.parametrize(
    "wait", [Spool.known_size, Spool.completed, Spool.hash], ids=["known_size", "completed", "hash"]
)
def test_who_waits_for_what_will_not_come_gets_the_failure(wait: Callable[[Spool], Awaitable[object]]) -> None:
    async def check() -> None:
        async with spooling(SMALL, begun=False) as spool:
            waiting = asyncio.ensure_future(wait(spool))
            await settle()
            spool.fail(Unavailable("no source"))
            with pytest.raises(Unavailable, match="no source"):
                await waiting

    run(check())


def test_a_reader_gets_what_has_arrived_and_then_the_failure() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            early = Reader(spool, 0, len(LARGE))
            write(spool, 0, [LARGE[:MEBIBYTE]])
            spool.fail(Unavailable("no source"))
            late = Reader(spool, 0, len(LARGE))
            for reader in (early, late):
                with pytest.raises(Unavailable):
                    await reader.task
                assert reader.got == LARGE[:MEBIBYTE]

    run(check())


def test_bytes_in_doubt_are_not_given_before_they_have_been_written_again() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, [bytes(2 * MEBIBYTE)])
            assert len(set(await spool.hash_ranges([(0, MEBIBYTE), (MEBIBYTE, 2 * MEBIBYTE)]))) == 1
            spool.doubt(0, 2 * MEBIBYTE)
            reader = Reader(spool, 0, len(LARGE))
            await settle()
            assert not reader.got
            write(spool, 0, [LARGE])
            assert await spool.hash() == spool.content.digest.hex
            spool.finish()
            await reader.task
            assert reader.got == LARGE

    run(check())


def test_who_has_read_what_turned_out_wrong_is_let_go_short_and_others_read_on() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            deceived, lucky = Reader(spool, 0, len(LARGE)), Reader(spool, 3 * MEBIBYTE, len(LARGE))
            write(spool, 0, [LARGE[:MEBIBYTE], bytes(MEBIBYTE), LARGE[2 * MEBIBYTE :]])
            await deceived.until(WITHHELD)
            assert await spool.hash() != spool.content.digest.hex
            spool.doubt(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, [LARGE[MEBIBYTE : 2 * MEBIBYTE]])
            spool.replaced(MEBIBYTE, 2 * MEBIBYTE)
            assert await spool.hash() == spool.content.digest.hex
            spool.finish()
            with pytest.raises(MirrorError) as caught:
                await deceived.task
            assert isinstance(caught.value, SourceError)
            assert len(deceived.got) == WITHHELD
            await lucky.task
            assert lucky.got == LARGE[3 * MEBIBYTE :]

    run(check())


def test_readers_are_counted_those_of_others_apart() -> None:
    async def check() -> None:
        async with spooling(SMALL) as spool:
            assert spool.idle.is_set()
            assert not spool.wanted
            spool.join(relayed=True)
            assert (spool.own, spool.relayed, spool.readers, spool.wanted) == (0, 1, 1, False)
            spool.join()
            assert (spool.own, spool.relayed, spool.readers, spool.wanted) == (1, 1, 2, True)
            spool.leave(relayed=True)
            assert not spool.idle.is_set()
            spool.leave()
            assert spool.idle.is_set()
            assert spool.readers == 0
            assert spool.wanted

    run(check())


def test_a_disk_that_lost_bytes_is_an_error_and_no_endless_loop() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, [LARGE])
            os.ftruncate(spool.fd, 10)
            with pytest.raises(OSError, match="ends at"):
                await spool.hash()

    run(check())


# For other members.


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_other_members_get_every_byte_as_it_comes_and_own_readers_wait_for_the_end(blob: bytes) -> None:
    async def check() -> None:
        async with spooling(blob) as spool:
            own, other = Reader(spool, 0, len(blob)), Reader(spool, 0, len(blob), relayed=True)
            write(spool, 0, [blob])
            await other.task
            assert other.got == blob
            await settle()
            assert len(own.got) == (len(blob) - 1) // piece_size(len(blob)) * piece_size(len(blob))
            spool.fail(Unavailable("the digest is wrong"))
            with pytest.raises(Unavailable):
                await own.task

    run(check())


def test_what_is_wanted_is_what_readers_ask_for_those_of_this_node_all_of_it() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            assert not spool.own_wants()
            assert not spool.relayed_wants()
            spool.join(relayed=True)
            other = Reader(spool, MEBIBYTE, 2 * MEBIBYTE, relayed=True)
            await settle()
            assert not spool.own_wants()
            assert spool.relayed_wants() == RangeSet((MEBIBYTE, 2 * MEBIBYTE))
            assert spool.heads() == []
            write(spool, MEBIBYTE, [LARGE[MEBIBYTE : MEBIBYTE + 10]])
            await other.until(10)
            await settle()
            assert spool.relayed_wants() == RangeSet((MEBIBYTE + 10, 2 * MEBIBYTE))
            spool.join()
            own = Reader(spool, 3 * MEBIBYTE, 4 * MEBIBYTE)
            await settle()
            assert spool.own_wants() == RangeSet((0, len(LARGE)))
            assert spool.heads() == [3 * MEBIBYTE]
            other.task.cancel()
            own.task.cancel()
            await settle()
            assert not spool.relayed_wants()
            assert spool.heads() == []

    run(check())


def test_other_members_are_turned_away_from_what_this_node_cannot_bring_and_own_readers_wait_on() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            own = Reader(spool, 2 * MEBIBYTE, 4 * MEBIBYTE)
            stuck = Reader(spool, 2 * MEBIBYTE, 3 * MEBIBYTE, relayed=True)
            other = Reader(spool, MEBIBYTE, 2 * MEBIBYTE, relayed=True)
            await settle()
            spool.turn_away(RangeSet((2 * MEBIBYTE, 3 * MEBIBYTE)), Unavailable("nobody to ask"))
            with pytest.raises(Unavailable, match="nobody to ask"):
                await stuck.task
            write(spool, MEBIBYTE, [LARGE[MEBIBYTE : 4 * MEBIBYTE]])
            await asyncio.gather(own.task, other.task)
            assert own.got == LARGE[2 * MEBIBYTE : 4 * MEBIBYTE]
            assert other.got == LARGE[MEBIBYTE : 2 * MEBIBYTE]

    run(check())


def test_other_members_do_not_wait_for_a_size_that_this_node_cannot_find_out() -> None:
    async def check() -> None:
        async with spooling(LARGE, begun=False) as spool:
            own = asyncio.create_task(spool.known_size())
            other = asyncio.create_task(spool.known_size(relayed=True))
            await settle()
            spool.turn_away(RangeSet((0, 1)), Unavailable("nobody to ask"))
            with pytest.raises(Unavailable, match="nobody to ask"):
                await other
            assert not own.done()
            own.cancel()

    run(check())


def test_before_the_size_is_known_one_byte_is_wanted_or_what_others_are_going_to_ask_for() -> None:
    async def check() -> None:
        async with spooling(LARGE, begun=False) as spool:
            assert not spool.own_wants()
            assert not spool.relayed_wants()
            spool.hint = 7 * MEBIBYTE, 8 * MEBIBYTE
            spool.join(relayed=True)
            assert spool.relayed_wants() == RangeSet(spool.hint)
            spool.join()
            assert spool.own_wants() == RangeSet((0, 1))

    run(check())


def test_the_fetch_is_told_when_readers_come_and_go() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            told = 0

            def note() -> None:
                nonlocal told
                told += 1

            spool.watch(note)
            spool.join()
            before = told
            assert before
            reader = Reader(spool, 0, MEBIBYTE)
            await settle()
            assert told > before
            before = told
            reader.task.cancel()
            await settle()
            assert told > before

    run(check())


def test_a_doubt_about_what_was_hashed_has_it_hashed_again() -> None:
    """Or what replaces it would be taken for right whatever it is."""

    async def check() -> None:
        async with spooling(LARGE) as spool:
            journal = Journal()
            hashing = asyncio.create_task(spool.hash(journal.passed))
            write(spool, 0, [LARGE[: 4 * MEBIBYTE]])
            await journal.until(4)
            spool.doubt(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, [bytes(MEBIBYTE)])
            write(spool, 4 * MEBIBYTE, [LARGE[4 * MEBIBYTE :]])
            replaced = LARGE[:MEBIBYTE] + bytes(MEBIBYTE) + LARGE[2 * MEBIBYTE :]
            assert await hashing == hashlib.sha256(replaced).hexdigest()
            assert journal.prefixes[4:] == prefixes_of(replaced)

    run(check())


@pytest.mark.parametrize("piece", [0, 4])
def test_a_doubt_in_the_moment_when_all_has_been_hashed_is_not_overlooked(piece: int) -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            start, stop = piece * MEBIBYTE, (piece + 1) * MEBIBYTE

            def doubt(count: int) -> None:
                if count == 5:
                    spool.doubt(start, stop)

            write(spool, 0, [LARGE])
            journal = Journal(doubt)
            hashing = asyncio.create_task(spool.hash(journal.passed))
            await journal.until(5)
            write(spool, start, [bytes(MEBIBYTE)])
            assert await hashing == hashlib.sha256(LARGE[:start] + bytes(MEBIBYTE) + LARGE[stop:]).hexdigest()

    run(check())


def test_a_doubt_that_comes_too_late_leaves_no_reader_waiting() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, [LARGE])
            assert await spool.hash() == spool.content.digest.hex
            spool.doubt(MEBIBYTE, 2 * MEBIBYTE)
            spool.finish()
            reader = Reader(spool, 0, len(LARGE))
            await reader.task
            assert reader.got == LARGE

    run(check())


# What an earlier fetch left.


def prefixes_of(blob: bytes) -> list[bytes]:
    """The sha256 of everything up to the end of each whole piece."""
    unit = piece_size(len(blob))
    return [hashlib.sha256(blob[:end]).digest() for end in range(unit, len(blob) + 1, unit)]


def test_the_hash_passes_the_journal_on_piece_by_piece() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            journal = Journal()
            hashing = asyncio.create_task(spool.hash(journal.passed))
            write(spool, 0, [LARGE[: 4 * MEBIBYTE + 10]])
            await journal.until(4)
            assert journal.prefixes == prefixes_of(LARGE)[:4]
            write(spool, 4 * MEBIBYTE + 10, [LARGE[4 * MEBIBYTE + 10 :]])
            assert await hashing == spool.content.digest.hex
            assert journal.prefixes == prefixes_of(LARGE)

    run(check())


def damaged(piece: int) -> bytes:
    """The blob with one byte of a piece changed."""
    at = piece * MEBIBYTE + 17
    return LARGE[:at] + bytes([LARGE[at] ^ 1]) + LARGE[at + 1 :]


@pytest.mark.parametrize(
    ("left", "prefixes", "good"),
    [
        (LARGE, prefixes_of(LARGE), 5),
        (LARGE, prefixes_of(LARGE)[:2], 2),
        (LARGE, [], 0),
        (LARGE, [bytes(32), *prefixes_of(LARGE)[1:]], 0),
        (LARGE, [*prefixes_of(LARGE)[:3], bytes(32)], 3),
        (LARGE, [*prefixes_of(LARGE)[:3], b"short"], 3),
        (damaged(0), prefixes_of(LARGE), 0),
        (damaged(3), prefixes_of(LARGE), 3),
        (bytes(len(LARGE)), prefixes_of(LARGE), 0),
        (LARGE, [*prefixes_of(LARGE), *[bytes(32)] * 9], 5),
    ],
    ids=[
        "all",
        "some",
        "none",
        "a wrong first",
        "a wrong last",
        "a short last",
        "damage",
        "later damage",
        "zeros",
        "more",
    ],
)
def test_a_half_blob_is_taken_over_as_far_as_its_journal_is_right(
    left: bytes, prefixes: list[bytes], good: int
) -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            os.pwrite(spool.fd, left, 0)
            assert await spool.resume(prefixes) == good * MEBIBYTE
            assert spool.present == RangeSet((0, good * MEBIBYTE))
            passed: list[bytes] = []
            write(spool, good * MEBIBYTE, [LARGE[good * MEBIBYTE :]])
            assert await spool.hash(passed.append) == spool.content.digest.hex
            assert passed == prefixes_of(LARGE)[good:]

    run(check())


def test_after_a_wrong_digest_what_was_taken_over_is_hashed_from_the_beginning() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            other = damaged(1)
            os.pwrite(spool.fd, other, 0)
            assert await spool.resume(prefixes_of(other)) == 5 * MEBIBYTE
            write(spool, 5 * MEBIBYTE, [LARGE[5 * MEBIBYTE :]])
            assert await spool.hash() != spool.content.digest.hex
            spool.doubt(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, [LARGE[MEBIBYTE : 2 * MEBIBYTE]])
            assert await spool.hash() == spool.content.digest.hex

    run(check())


# In memory, where only a part fits.

LONG_PIECES = 56
LONG = LONG_PIECES * MEBIBYTE
Pause = Callable[[], Awaitable[object]]


def long_piece(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * (MEBIBYTE // 32)


def sha256_of(start: int, stop: int) -> bytes:
    """The sha256 of some of the long blob's bytes."""
    sha256 = hashlib.sha256()
    for number in range(start // MEBIBYTE, -(-stop // MEBIBYTE)):
        first = number * MEBIBYTE
        sha256.update(long_piece(number)[max(start - first, 0) : stop - first])
    return sha256.digest()


WHOLE = sha256_of(0, LONG)


@asynccontextmanager
async def bounded() -> AsyncIterator[tuple[Spool, "Feeder"]]:
    """A spool in memory, and a fetch that brings what it wants, a piece at a time."""
    spool = Spool(Content(Repository("lab", "app"), "blobs", Digest(WHOLE.hex())))
    fd = os.memfd_create("spool", os.MFD_CLOEXEC)
    os.ftruncate(fd, LONG)
    spool.begin(fd, LONG, bounded=True)
    feeder = Feeder(spool)
    try:
        yield spool, feeder
    finally:
        feeder.task.cancel()
        await asyncio.gather(feeder.task, return_exceptions=True)
        spool.close()


class Feeder:
    """Does what a fetch does."""

    def __init__(self, spool: Spool) -> None:
        self.brought: Counter[int] = Counter()
        self.most = 0
        self.idle = asyncio.Event()
        """Set while everything that is wanted is there."""
        self._spool = spool
        self._changed = asyncio.Event()
        spool.watch(self._changed.set)
        self.task = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        spool = self._spool
        hashing = asyncio.create_task(spool.hash())
        hashing.add_done_callback(lambda _: self._changed.set())
        try:
            while not hashing.done():
                self._changed.clear()
                wanted = (spool.own_wants() | spool.relayed_wants()) - spool.present
                if wanted:
                    self._bring(next(iter(wanted))[0] // MEBIBYTE)
                    await asyncio.sleep(0)
                else:
                    self.idle.set()
                    await self._changed.wait()
                    self.idle.clear()
            assert hashing.result() == spool.content.digest.hex
            spool.finish()
        finally:
            self.idle.set()
            hashing.cancel()

    def _bring(self, piece: int) -> None:
        self.brought[piece] += 1
        write(self._spool, piece * MEBIBYTE, [long_piece(piece)])
        self.most = max(self.most, held_bytes(self._spool))


def held_bytes(spool: Spool) -> int:
    """What the file in memory really takes."""
    return os.fstat(spool.fd).st_blocks * 512


async def no_pause() -> None:
    """Read on at once."""


async def read(spool: Spool, start: int, stop: int, pause: Pause = no_pause, *, relayed: bool = False) -> bytes:
    """Read as a client does that takes its time before each part; return the sha256 of what came."""
    sha256, total = hashlib.sha256(), 0
    async for offset, count in spool.extents(start, stop, relayed=relayed):
        await pause()
        sha256.update(os.pread(spool.fd, count, offset))
        total += count
    assert total == stop - start
    return sha256.digest()


@pytest.mark.parametrize("slow", [False, True])
def test_a_spool_in_memory_passes_a_blob_through_that_is_larger_than_its_bound(*, slow: bool) -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            assert await read(spool, 0, LONG, feeder.idle.wait if slow else no_pause) == WHOLE
            await feeder.task
            assert spool.complete
            assert spool.trimmed
            assert feeder.most <= WINDOW_BYTES + MEBIBYTE
            assert max(feeder.brought.values()) == 1, "what was needed was let go"

    run(check())


def test_two_readers_far_apart_share_the_bound() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            spool.join()
            first = asyncio.create_task(read(spool, 0, LONG))
            start, stop = 30 * MEBIBYTE, 50 * MEBIBYTE
            second = asyncio.create_task(read(spool, start, stop, feeder.idle.wait))
            assert await first == WHOLE
            assert await second == sha256_of(start, stop)
            assert feeder.most <= WINDOW_BYTES + 2 * MEBIBYTE

    run(check())


def test_however_many_readers_there_are_none_waits_for_ever() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            readers = []
            for number in range(16):
                spool.join()
                readers.append(asyncio.create_task(read(spool, 0, LONG, feeder.idle.wait if number % 2 else no_pause)))
            assert set(await asyncio.gather(*readers)) == {WHOLE}

    run(check())


def test_what_was_let_go_is_brought_again_for_who_comes_back_to_it() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            end = 50 * MEBIBYTE
            assert await read(spool, 0, end) == sha256_of(0, end)
            assert not spool.present.covers(0, MEBIBYTE)
            assert await read(spool, 5, 3 * MEBIBYTE) == sha256_of(5, 3 * MEBIBYTE)
            assert feeder.brought[0] == 2
            assert feeder.most <= WINDOW_BYTES + MEBIBYTE

    run(check())


def test_a_reader_of_a_part_has_no_more_brought_than_a_little_ahead() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            start, stop = 10 * MEBIBYTE + 5, 12 * MEBIBYTE
            assert await read(spool, start, stop) == sha256_of(start, stop)
            await settle()
            assert feeder.brought == {10: 1, 11: 1}
            assert not spool.own_wants()
            assert not feeder.task.done()

    run(check())


def test_other_members_pieces_are_kept_until_they_have_them() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            spool.join(relayed=True)
            start, stop = 2 * MEBIBYTE, 4 * MEBIBYTE
            other = asyncio.create_task(read(spool, start, stop, spool.completed, relayed=True))
            assert await read(spool, 0, LONG) == WHOLE
            assert await other == sha256_of(start, stop)
            assert max(feeder.brought.values()) == 1

    run(check())


def test_who_waits_for_what_was_let_go_when_all_is_over_is_told_so() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            assert await read(spool, 0, LONG) == WHOLE
            await feeder.task
            with pytest.raises(SourceError, match="let go"):
                await read(spool, 0, MEBIBYTE)

    run(check())


def test_nobody_wants_anything_of_a_spool_in_memory_that_nobody_reads() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join()
            await settle()
            assert not spool.own_wants()
            assert not feeder.brought

    run(check())
