"""The spool: any order in, one order out, and never a complete corrupt blob."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.content import Content
from mirror.digest import Digest
from mirror.errors import MirrorError, SourceError, Unavailable
from mirror.plan import MEBIBYTE, piece_size
from mirror.reference import Repository
from mirror.spool import Spool

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


class Reader:
    """Reads a range of a spool in the background."""

    def __init__(self, spool: Spool, start: int, stop: int) -> None:
        self.got = bytearray()
        self._spool = spool
        self._grown = asyncio.Event()
        self.task = asyncio.create_task(self._read(start, stop))

    async def _read(self, start: int, stop: int) -> None:
        async for offset, count in self._spool.extents(start, stop):
            assert offset == start + len(self.got)
            self.got += os.pread(self._spool.fd, count, offset)
            self._grown.set()

    async def until(self, length: int) -> None:
        """Wait until so much has come; fail if reading ends before."""
        while len(self.got) < length:
            assert not self.task.done() or self.task.exception() is None
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
            await spool.write(2 * MEBIBYTE, [LARGE[2 * MEBIBYTE : 3 * MEBIBYTE]])
            await settle()
            assert not reader.got
            await spool.write(0, [LARGE[:1000], LARGE[1000:MEBIBYTE]])
            await reader.until(MEBIBYTE)
            await spool.write(MEBIBYTE, [LARGE[MEBIBYTE : 2 * MEBIBYTE]])
            await reader.until(3 * MEBIBYTE)
            assert reader.got == LARGE[: 3 * MEBIBYTE]
            reader.task.cancel()

    run(check())


def test_a_reader_of_a_range_waits_for_its_own_bytes_only() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            reader = Reader(spool, 2 * MEBIBYTE + 7, 3 * MEBIBYTE)
            await spool.write(2 * MEBIBYTE, [LARGE[2 * MEBIBYTE : 3 * MEBIBYTE]])
            await reader.task
            assert reader.got == LARGE[2 * MEBIBYTE + 7 : 3 * MEBIBYTE]

    run(check())


@pytest.mark.parametrize(("blob", "given"), [(SMALL, 0), (LARGE, WITHHELD)], ids=["small", "large"])
def test_the_last_piece_is_withheld_until_the_digest_is_right(blob: bytes, given: int) -> None:
    async def check() -> None:
        async with spooling(blob) as spool:
            whole, end = Reader(spool, 0, len(blob)), Reader(spool, len(blob) - 1, len(blob))
            await spool.write(0, [blob])
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
                await spool.write(part * odd, [blob[part * odd : (part + 1) * odd]])
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
            await spool.write(0, [LARGE[:MEBIBYTE]])
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
            await spool.write(0, [bytes(2 * MEBIBYTE)])
            assert len(set(await spool.hash_ranges([(0, MEBIBYTE), (MEBIBYTE, 2 * MEBIBYTE)]))) == 1
            spool.doubt(0, 2 * MEBIBYTE)
            reader = Reader(spool, 0, len(LARGE))
            await settle()
            assert not reader.got
            await spool.write(0, [LARGE])
            assert await spool.hash() == spool.content.digest.hex
            spool.finish()
            await reader.task
            assert reader.got == LARGE

    run(check())


def test_who_has_read_what_turned_out_wrong_is_let_go_short_and_others_read_on() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            deceived, lucky = Reader(spool, 0, len(LARGE)), Reader(spool, 3 * MEBIBYTE, len(LARGE))
            await spool.write(0, [LARGE[:MEBIBYTE], bytes(MEBIBYTE), LARGE[2 * MEBIBYTE :]])
            await deceived.until(WITHHELD)
            assert await spool.hash() != spool.content.digest.hex
            spool.doubt(MEBIBYTE, 2 * MEBIBYTE)
            await spool.write(MEBIBYTE, [LARGE[MEBIBYTE : 2 * MEBIBYTE]])
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


def test_readers_are_counted() -> None:
    async def check() -> None:
        async with spooling(SMALL) as spool:
            assert spool.idle.is_set()
            spool.join()
            spool.join()
            spool.leave()
            assert not spool.idle.is_set()
            spool.leave()
            assert spool.idle.is_set()

    run(check())


def test_a_disk_that_lost_bytes_is_an_error_and_no_endless_loop() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            await spool.write(0, [LARGE])
            os.ftruncate(spool.fd, 10)
            with pytest.raises(OSError, match="ends at"):
                await spool.hash()

    run(check())
