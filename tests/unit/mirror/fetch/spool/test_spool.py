"""The spool: any order in, one order out, and never a complete corrupt blob."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE, piece_size
from mirror.errors import MirrorError, SourceError, Unavailable
from mirror.fetch.demand import Audience
from mirror.fetch.spool import MemoryWindow, Spool
from mirror.oci.digest import Digest
from mirror.oci.ranges import RangeSet
from mirror.settings import SpoolSettings
from tests.unit.mirror.fetch.spool.spooling import (
    LARGE,
    SETTINGS,
    SMALL,
    WITHHELD,
    Follower,
    content_of,
    nobody,
    run,
    settle,
    spooling,
    write,
)


def test_readers_get_bytes_in_order_in_whatever_order_they_arrive() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            reader = Follower(spool, 0, len(LARGE))
            write(spool, 2 * MEBIBYTE, LARGE[2 * MEBIBYTE : 3 * MEBIBYTE])
            await settle()
            assert not reader.got
            write(spool, 0, LARGE[:1000], LARGE[1000:MEBIBYTE])
            await reader.until(MEBIBYTE)
            write(spool, MEBIBYTE, LARGE[MEBIBYTE : 2 * MEBIBYTE])
            await reader.until(3 * MEBIBYTE)
            assert reader.got == LARGE[: 3 * MEBIBYTE]
            reader.task.cancel()

    run(check())


def test_a_reader_of_a_range_waits_for_its_own_bytes_only() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            reader = Follower(spool, 2 * MEBIBYTE + 7, 3 * MEBIBYTE)
            write(spool, 2 * MEBIBYTE, LARGE[2 * MEBIBYTE : 3 * MEBIBYTE])
            await reader.task
            assert reader.got == LARGE[2 * MEBIBYTE + 7 : 3 * MEBIBYTE]

    run(check())


@pytest.mark.parametrize(("blob", "given"), [(SMALL, 0), (LARGE, WITHHELD)], ids=["small", "large"])
def test_the_last_piece_is_withheld_until_the_digest_is_right(blob: bytes, given: int) -> None:
    async def check() -> None:
        async with spooling(blob) as spool:
            whole, end = Follower(spool, 0, len(blob)), Follower(spool, len(blob) - 1, len(blob))
            write(spool, 0, blob)
            assert await spool.hash() == spool.content.digest
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
            assert await spool.hash() == spool.content.digest
            spool.finish()
            reader = Follower(spool, 0, 0)
            with spool.join(Audience.LOCAL) as other:
                await asyncio.gather(other.completed(), reader.task)
            assert not reader.got

    run(check())


@settings(max_examples=40)
@given(st.permutations(range(12)), st.integers(1, 997), st.data())
def test_the_digest_is_of_the_whole_in_whatever_order_it_came(order: list[int], odd: int, data: st.DataObject) -> None:
    blob = os.urandom(12 * odd)
    start = data.draw(st.integers(0, len(blob)))
    stop = data.draw(st.integers(start, len(blob)))

    async def check() -> None:
        async with spooling(blob) as spool:
            hashing, reader = asyncio.create_task(spool.hash()), Follower(spool, start, stop)
            for part in order:
                write(spool, part * odd, blob[part * odd : (part + 1) * odd])
            assert await hashing == spool.content.digest
            spool.finish()
            await reader.task
            assert reader.got == blob[start:stop]

    run(check())


async def size_of(spool: Spool) -> None:
    with spool.join(Audience.LOCAL) as reader:
        await reader.size()


async def completion_of(spool: Spool) -> None:
    with spool.join(Audience.LOCAL) as reader:
        await reader.completed()


async def reading_of(spool: Spool) -> None:
    with spool.join(Audience.MEMBER) as reader:
        await anext(reader.extents(0, 1))


@pytest.mark.parametrize("wait", [size_of, completion_of, reading_of, Spool.hash])
def test_whoever_waits_gets_the_error_when_the_fetch_fails(wait: Callable[[Spool], Awaitable[object]]) -> None:
    async def check() -> None:
        async with spooling(SMALL, opened=False) as spool:
            waiting = asyncio.ensure_future(wait(spool))
            await settle()
            spool.fail(Unavailable("no source"))
            with pytest.raises(Unavailable, match="no source"):
                await waiting

    run(check())


def test_a_reader_gets_what_has_arrived_and_then_the_error() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            early = Follower(spool, 0, len(LARGE))
            write(spool, 0, LARGE[:MEBIBYTE])
            spool.fail(Unavailable("no source"))
            late = Follower(spool, 0, len(LARGE))
            for reader in (early, late):
                with pytest.raises(Unavailable):
                    await reader.task
                assert reader.got == LARGE[:MEBIBYTE]

    run(check())


def test_retracted_bytes_are_not_given_before_they_are_written_again() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, bytes(2 * MEBIBYTE))
            assert len(set(await spool.hash_ranges([(0, MEBIBYTE), (MEBIBYTE, 2 * MEBIBYTE)]))) == 1
            spool.retract(0, 2 * MEBIBYTE)
            reader = Follower(spool, 0, len(LARGE))
            await settle()
            assert not reader.got
            write(spool, 0, LARGE)
            assert await spool.hash() == spool.content.digest
            spool.finish()
            await reader.task
            assert reader.got == LARGE

    run(check())


def test_a_reader_of_wrong_bytes_gets_a_short_read_and_others_read_on() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            deceived, lucky = Follower(spool, 0, len(LARGE)), Follower(spool, 3 * MEBIBYTE, len(LARGE))
            write(spool, 0, LARGE[:MEBIBYTE], bytes(MEBIBYTE), LARGE[2 * MEBIBYTE :])
            await deceived.until(WITHHELD)
            assert await spool.hash() != spool.content.digest
            given = spool.readers.given(MEBIBYTE, 2 * MEBIBYTE)
            spool.retract(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, LARGE[MEBIBYTE : 2 * MEBIBYTE])
            for cursor, *_ in given:
                cursor.mislead()
            assert await spool.hash() == spool.content.digest
            spool.finish()
            with pytest.raises(MirrorError) as caught:
                await deceived.task
            assert isinstance(caught.value, SourceError)
            assert len(deceived.got) == WITHHELD
            await lucky.task
            assert lucky.got == LARGE[3 * MEBIBYTE :]

    run(check())


def test_a_retraction_that_comes_too_late_leaves_no_reader_waiting() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, LARGE)
            assert await spool.hash() == spool.content.digest
            spool.retract(MEBIBYTE, 2 * MEBIBYTE)
            spool.finish()
            reader = Follower(spool, 0, len(LARGE))
            await reader.task
            assert reader.got == LARGE

    run(check())


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_members_get_every_byte_as_it_comes_and_local_readers_wait_for_the_digest(blob: bytes) -> None:
    async def check() -> None:
        async with spooling(blob) as spool:
            own, other = Follower(spool, 0, len(blob)), Follower(spool, 0, len(blob), Audience.MEMBER)
            write(spool, 0, blob)
            await other.task
            assert other.got == blob
            await settle()
            assert len(own.got) == (len(blob) - 1) // piece_size(len(blob)) * piece_size(len(blob))
            spool.fail(Unavailable("the digest is wrong"))
            with pytest.raises(Unavailable):
                await own.task

    run(check())


def test_members_need_what_they_read_and_local_readers_need_all_of_it() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            assert not spool.demand().local
            assert not spool.demand().members
            other = Follower(spool, MEBIBYTE, 2 * MEBIBYTE, Audience.MEMBER)
            await settle()
            assert not spool.demand().local
            assert spool.demand().members == RangeSet((MEBIBYTE, 2 * MEBIBYTE))
            assert spool.demand().heads == []
            write(spool, MEBIBYTE, LARGE[MEBIBYTE : MEBIBYTE + 10])
            await other.until(10)
            await settle()
            assert spool.demand().members == RangeSet((MEBIBYTE + 10, 2 * MEBIBYTE))
            own = Follower(spool, 3 * MEBIBYTE, 4 * MEBIBYTE)
            await settle()
            assert spool.demand().local == RangeSet((0, len(LARGE)))
            assert spool.demand().heads == [3 * MEBIBYTE]
            other.task.cancel()
            own.task.cancel()
            await settle()
            assert not spool.demand().members
            assert spool.demand().heads == []

    run(check())


def test_members_are_refused_what_this_node_cannot_fetch_and_local_readers_wait_on() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            own = Follower(spool, 2 * MEBIBYTE, 4 * MEBIBYTE)
            stuck = Follower(spool, 2 * MEBIBYTE, 3 * MEBIBYTE, Audience.MEMBER)
            other = Follower(spool, MEBIBYTE, 2 * MEBIBYTE, Audience.MEMBER)
            await settle()
            spool.refuse_members(RangeSet((2 * MEBIBYTE, 3 * MEBIBYTE)), Unavailable("nobody to ask"))
            with pytest.raises(Unavailable, match="nobody to ask"):
                await stuck.task
            write(spool, MEBIBYTE, LARGE[MEBIBYTE : 4 * MEBIBYTE])
            await asyncio.gather(own.task, other.task)
            assert own.got == LARGE[2 * MEBIBYTE : 4 * MEBIBYTE]
            assert other.got == LARGE[MEBIBYTE : 2 * MEBIBYTE]

    run(check())


def test_members_do_not_wait_for_a_size_that_this_node_cannot_find_out() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            own = asyncio.create_task(spool.join(Audience.LOCAL).size())
            other = asyncio.create_task(spool.join(Audience.MEMBER).size())
            await settle()
            spool.refuse_members(RangeSet((0, 1)), Unavailable("nobody to ask"))
            with pytest.raises(Unavailable, match="nobody to ask"):
                await other
            with pytest.raises(Unavailable, match="nobody to ask"):
                await spool.join(Audience.MEMBER).size()
            assert not own.done()
            own.cancel()

    run(check())


def test_before_the_size_is_known_one_byte_is_needed_or_what_a_member_is_going_to_read() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            assert not spool.demand().local
            assert not spool.demand().members
            spool.join(Audience.MEMBER, hint=(7 * MEBIBYTE, 8 * MEBIBYTE))
            spool.join(Audience.MEMBER, hint=(0, MEBIBYTE))
            assert spool.demand().members == RangeSet((7 * MEBIBYTE, 8 * MEBIBYTE))
            spool.interest.hints[Audience.MEMBER] = 0, MEBIBYTE
            assert spool.demand().members == RangeSet((0, MEBIBYTE))
            spool.join(Audience.LOCAL)
            assert spool.demand().local == RangeSet((0, 1))

    run(check())


def test_what_is_read_ahead_is_needed_whole_until_a_client_says_what_it_needs() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            spool.interest.read_ahead()
            assert spool.demand().local == RangeSet((0, len(LARGE)))
            assert (spool.interest.is_read_ahead, spool.interest.was_read_locally) == (True, False)
            spool.join(Audience.LOCAL).close()
            assert (spool.interest.is_read_ahead, spool.interest.was_read_locally) == (False, True)
            spool.interest.read_ahead()
            assert not spool.interest.is_read_ahead

    run(check())


def test_what_passes_through_memory_is_not_read_ahead() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            spool.open(MemoryWindow(len(LARGE), SETTINGS))
            spool.interest.read_ahead()
            assert not spool.demand().local

    run(check())


def test_readers_are_counted_and_a_local_one_is_remembered() -> None:
    async def check() -> None:
        async with spooling(SMALL) as spool:
            assert (spool.idle.is_set(), spool.interest.was_read_locally, len(spool.readers)) == (True, False, 0)
            other = spool.join(Audience.MEMBER)
            assert (spool.idle.is_set(), spool.interest.was_read_locally, len(spool.readers)) == (False, False, 1)
            own = spool.join(Audience.LOCAL)
            assert (spool.idle.is_set(), spool.interest.was_read_locally, len(spool.readers)) == (False, True, 2)
            for _ in range(2):  # the second time says nothing
                other.close()
                assert (spool.idle.is_set(), len(spool.readers)) == (False, 1)
            own.close()
            assert (spool.idle.is_set(), spool.interest.was_read_locally, len(spool.readers)) == (True, True, 0)

    run(check())


def test_a_handle_knows_the_file_from_when_the_size_is_known_until_the_spool_is_closed() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            with spool.join(Audience.LOCAL) as reader:
                assert (reader.fd, reader.is_in_memory, spool.size) == (-1, False, None)
                spool.open(MemoryWindow(len(LARGE), SETTINGS))
                assert reader.fd >= 0
                assert (reader.is_in_memory, await reader.size(), spool.size) == (True, len(LARGE), len(LARGE))
            spool.close()
            spool.close()
            assert reader.fd == -1

    run(check())


def test_before_the_size_is_known_nothing_can_be_written() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            with pytest.raises(RuntimeError, match="not known"):
                spool.put(0, b"x")

    run(check())


def test_the_fetch_is_told_when_readers_come_and_go() -> None:
    async def check() -> None:
        told = 0

        def note() -> None:
            nonlocal told
            told += 1

        async with spooling(LARGE, on_change=note) as spool:
            spool.join(Audience.MEMBER)
            before = told
            assert before
            reader = Follower(spool, 0, MEBIBYTE)
            await settle()
            assert told > before
            before = told
            reader.task.cancel()
            await settle()
            assert told > before

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
    """A spool in memory, and a fetch that delivers what it needs, a piece at a time."""
    changed = asyncio.Event()
    spool = Spool(content_of(Digest(WHOLE.hex())), SETTINGS, changed.set, nobody)
    window = MemoryWindow(LONG, SETTINGS)
    spool.open(window)
    feeder = Feeder(spool, window, changed)
    try:
        yield spool, feeder
    finally:
        feeder.task.cancel()
        await asyncio.gather(feeder.task, return_exceptions=True)
        spool.close()


class Feeder:
    """Does what a fetch does."""

    def __init__(self, spool: Spool, window: MemoryWindow, changed: asyncio.Event) -> None:
        self.fetched: Counter[int] = Counter()
        self.most = 0
        """What the file in memory really took, at most."""
        self.idle = asyncio.Event()
        """Set while everything that is needed is there."""
        self._spool = spool
        self._window = window
        self._changed = changed
        self.task = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        spool = self._spool
        hashing = asyncio.create_task(spool.hash())
        hashing.add_done_callback(lambda _: self._changed.set())
        try:
            while not hashing.done():
                self._changed.clear()
                demand = spool.demand()
                lacking = (demand.local | demand.members) - demand.present
                if lacking:
                    self._fetch(next(iter(lacking))[0] // MEBIBYTE)
                    await asyncio.sleep(0)
                else:
                    self.idle.set()
                    await self._changed.wait()
                    self.idle.clear()
            assert hashing.result() == spool.content.digest
            spool.finish()
        finally:
            self.idle.set()
            hashing.cancel()

    def _fetch(self, piece: int) -> None:
        self.fetched[piece] += 1
        write(self._spool, piece * MEBIBYTE, long_piece(piece))
        self.most = max(self.most, os.fstat(self._window.fd).st_blocks * 512)


async def no_pause() -> None:
    """Read on at once."""


async def read(
    spool: Spool, start: int, stop: int, pause: Pause = no_pause, audience: Audience = Audience.LOCAL
) -> bytes:
    """Read as a client does that takes its time before each part; return the sha256 of what came."""
    sha256, total = hashlib.sha256(), 0
    with spool.join(audience) as reader:
        async for offset, count in reader.extents(start, stop):
            await pause()
            sha256.update(os.pread(reader.fd, count, offset))
            total += count
    assert total == stop - start
    return sha256.digest()


@pytest.mark.parametrize("slow", [False, True])
def test_a_blob_larger_than_the_window_passes_through_memory(*, slow: bool) -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            assert await read(spool, 0, LONG, feeder.idle.wait if slow else no_pause) == WHOLE
            await feeder.task
            assert spool.is_complete
            assert spool.is_trimmed
            assert feeder.most <= SETTINGS.window_bytes + MEBIBYTE
            assert max(feeder.fetched.values()) == 1, "needed bytes were dropped"

    run(check())


def test_two_readers_far_apart_share_the_window() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            first = asyncio.create_task(read(spool, 0, LONG))
            start, stop = 30 * MEBIBYTE, 50 * MEBIBYTE
            second = asyncio.create_task(read(spool, start, stop, feeder.idle.wait))
            assert await first == WHOLE
            assert await second == sha256_of(start, stop)
            assert feeder.most <= SETTINGS.window_bytes + 2 * MEBIBYTE

    run(check())


def test_with_many_readers_none_waits_for_ever() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            pauses = [feeder.idle.wait if number % 2 else no_pause for number in range(16)]
            readers = [asyncio.create_task(read(spool, 0, LONG, pause)) for pause in pauses]
            assert set(await asyncio.gather(*readers)) == {WHOLE}

    run(check())


def test_dropped_bytes_are_fetched_again_for_a_reader_that_comes_back_to_them() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            end = 50 * MEBIBYTE
            assert await read(spool, 0, end) == sha256_of(0, end)
            assert not spool.present.covers(0, MEBIBYTE)
            assert await read(spool, 5, 3 * MEBIBYTE) == sha256_of(5, 3 * MEBIBYTE)
            assert feeder.fetched[0] == 2
            assert feeder.most <= SETTINGS.window_bytes + MEBIBYTE

    run(check())


def test_for_a_reader_of_a_part_only_that_part_is_fetched() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            start, stop = 10 * MEBIBYTE + 5, 12 * MEBIBYTE
            assert await read(spool, start, stop) == sha256_of(start, stop)
            await settle()
            assert feeder.fetched == {10: 1, 11: 1}
            assert not spool.demand().local
            assert not feeder.task.done()

    run(check())


def test_members_pieces_are_held_until_they_have_read_them() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            start, stop = 2 * MEBIBYTE, 4 * MEBIBYTE
            completed = spool.join(Audience.MEMBER).completed
            other = asyncio.create_task(read(spool, start, stop, completed, Audience.MEMBER))
            assert await read(spool, 0, LONG) == WHOLE
            assert await other == sha256_of(start, stop)
            assert max(feeder.fetched.values()) == 1

    run(check())


def test_a_reader_of_dropped_bytes_gets_an_error_when_the_fetch_has_ended() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            assert await read(spool, 0, LONG) == WHOLE
            await feeder.task
            reader = Follower(spool, 0, MEBIBYTE)
            await settle()
            assert not reader.task.done()
            assert not spool.is_over
            spool.fail(Unavailable("the fetch has ended"))
            with pytest.raises(Unavailable, match="has ended"):
                await reader.task
            assert spool.is_over
            assert spool.is_complete

    run(check())


@pytest.mark.parametrize("audience", [Audience.LOCAL, Audience.LAZY])
def test_the_digest_says_nothing_of_bytes_that_came_once_more(audience: Audience) -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            assert await read(spool, 0, LONG) == WHOLE
            await feeder.task
            kept = Follower(spool, LONG - MEBIBYTE, LONG, audience)
            await kept.until(MEBIBYTE)

            reader = Follower(spool, 0, MEBIBYTE, audience)
            await settle()
            assert spool.demand().needed.covers(0, MEBIBYTE)
            for start, stop in spool.put(0, long_piece(0)):
                spool.arrived(start, stop)
            await settle()
            assert not reader.got
            spool.vouching.release(0, MEBIBYTE)
            await reader.until(MEBIBYTE)

    run(check())


def test_in_memory_nothing_is_needed_while_nobody_reads() -> None:
    async def check() -> None:
        async with bounded() as (spool, feeder):
            spool.join(Audience.LOCAL)
            await settle()
            assert not spool.demand().local
            assert not feeder.fetched

    run(check())


def test_a_source_is_held_up_until_a_reader_needs_what_follows() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            spool.open(MemoryWindow(len(LARGE), SpoolSettings(window_bytes=4 * MEBIBYTE, window_pieces=1)))
            waiting = asyncio.create_task(spool.wait_for_space(2 * MEBIBYTE))
            await settle()
            assert not waiting.done()
            nearby = Follower(spool, 0, MEBIBYTE)
            await settle()
            assert not waiting.done()
            reader = Follower(spool, 3 * MEBIBYTE, 4 * MEBIBYTE, Audience.MEMBER)
            await waiting
            for follower in (nearby, reader):
                follower.task.cancel()

    run(check())


def test_in_memory_what_the_hash_needs_next_is_kept_for_a_reader_that_waits_for_the_hash() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            spool.open(MemoryWindow(len(LARGE), SpoolSettings(window_bytes=4 * MEBIBYTE, window_pieces=1)))
            reader = Follower(spool, 0, 3 * MEBIBYTE)
            await settle()
            write(spool, 0, LARGE[: 3 * MEBIBYTE])
            await settle()
            assert 0 < len(reader.got) < 3 * MEBIBYTE, "it gets no further than a bound before the hash"
            assert spool.demand().local.covers(0, MEBIBYTE)
            reader.task.cancel()

    run(check())


def test_on_disk_no_source_is_held_up() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            await spool.wait_for_space(2 * MEBIBYTE)

    run(check())
