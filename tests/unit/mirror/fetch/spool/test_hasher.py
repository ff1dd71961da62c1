"""The hash of what arrives: piece by piece, again from the beginning after a retraction, and after an earlier fetch."""

import asyncio
import os
import random
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE
from mirror.fetch.spool import DiskFile, Spool
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.ranges import RangeSet
from mirror.settings import SpoolSettings
from tests.unit.mirror.fetch.spool.spooling import (
    LARGE,
    Heard,
    content_of,
    file_of,
    nobody,
    prefixes_of,
    run,
    spooling,
    write,
)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_hash_of_every_prefix_is_reported_piece_by_piece(algorithm: Algorithm) -> None:
    """Pieces have a sha256, by which members compare them, whatever the digest of the whole is."""

    async def check() -> None:
        async with spooling(LARGE, algorithm=algorithm) as spool:
            heard = Heard()
            hashing = asyncio.create_task(spool.hash(heard.on_prefix))
            write(spool, 0, LARGE[: 4 * MEBIBYTE + 10])
            await heard.until(4)
            assert heard.prefixes == prefixes_of(LARGE)[:4]
            write(spool, 4 * MEBIBYTE + 10, LARGE[4 * MEBIBYTE + 10 :])
            assert await hashing == spool.content.digest
            assert heard.prefixes == prefixes_of(LARGE)

    run(check())


def test_a_disk_that_lost_bytes_is_an_error_and_no_endless_loop() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            write(spool, 0, LARGE)
            os.ftruncate(file_of(spool), 10)
            with pytest.raises(OSError, match="ends at"):
                await spool.hash()

    run(check())


def test_retracted_bytes_are_hashed_again() -> None:
    """Otherwise whatever replaces them would count as right."""

    async def check() -> None:
        async with spooling(LARGE) as spool:
            heard = Heard()
            hashing = asyncio.create_task(spool.hash(heard.on_prefix))
            write(spool, 0, LARGE[: 4 * MEBIBYTE])
            await heard.until(4)
            spool.retract(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, bytes(MEBIBYTE))
            write(spool, 4 * MEBIBYTE, LARGE[4 * MEBIBYTE :])
            replaced = LARGE[:MEBIBYTE] + bytes(MEBIBYTE) + LARGE[2 * MEBIBYTE :]
            assert await hashing == Digest.of(replaced)
            assert heard.prefixes[4:] == prefixes_of(replaced)

    run(check())


@pytest.mark.parametrize("piece", [0, 4])
def test_a_retraction_at_the_moment_when_all_is_hashed_counts(piece: int) -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            start, stop = piece * MEBIBYTE, (piece + 1) * MEBIBYTE

            def retract(count: int) -> None:
                if count == 5:
                    spool.retract(start, stop)

            write(spool, 0, LARGE)
            heard = Heard(retract)
            hashing = asyncio.create_task(spool.hash(heard.on_prefix))
            await heard.until(5)
            write(spool, start, bytes(MEBIBYTE))
            assert await hashing == Digest.of(LARGE[:start] + bytes(MEBIBYTE) + LARGE[stop:])

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
def test_a_partial_blob_is_resumed_as_far_as_its_journal_is_right(
    left: bytes, prefixes: list[bytes], good: int
) -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            os.pwrite(file_of(spool), left, 0)
            assert await spool.resume(prefixes) == good * MEBIBYTE
            assert spool.present == RangeSet((0, good * MEBIBYTE))
            passed: list[bytes] = []
            write(spool, good * MEBIBYTE, LARGE[good * MEBIBYTE :])
            assert await spool.hash(passed.append) == spool.content.digest
            assert passed == prefixes_of(LARGE)[good:]

    run(check())


def test_after_a_wrong_digest_resumed_bytes_are_hashed_again_too() -> None:
    async def check() -> None:
        async with spooling(LARGE) as spool:
            other = damaged(1)
            os.pwrite(file_of(spool), other, 0)
            assert await spool.resume(prefixes_of(other)) == 5 * MEBIBYTE
            write(spool, 5 * MEBIBYTE, LARGE[5 * MEBIBYTE :])
            assert await spool.hash() != spool.content.digest
            spool.retract(MEBIBYTE, 2 * MEBIBYTE)
            write(spool, MEBIBYTE, LARGE[MEBIBYTE : 2 * MEBIBYTE])
            assert await spool.hash() == spool.content.digest

    run(check())


def test_the_hash_waits_until_resumed_bytes_are_checked() -> None:
    async def check() -> None:
        async with spooling(LARGE, opened=False) as spool:
            heard = Heard()
            hashing = asyncio.create_task(spool.hash(heard.on_prefix))
            with tempfile.TemporaryFile() as file:
                os.pwrite(file.fileno(), LARGE, 0)
                spool.open(DiskFile(os.dup(file.fileno()), len(LARGE)))
                assert await spool.resume(prefixes_of(LARGE)[:3]) == 3 * MEBIBYTE
            write(spool, 3 * MEBIBYTE, LARGE[3 * MEBIBYTE :])
            assert await hashing == spool.content.digest
            assert heard.prefixes == prefixes_of(LARGE)[3:]

    run(check())


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(1, 12), st.booleans()), max_size=25))
def test_whatever_is_retracted_and_written_again_the_digest_is_of_what_is_there(
    steps: list[tuple[int, int, bool]],
) -> None:
    """Steps write a part, or retract it; the model is an array of bytes."""
    unit, parts = 64, 40

    async def check() -> None:
        model, fill = bytearray(os.urandom(unit * parts)), random.Random(1)
        small = SpoolSettings(hash_step_bytes=3 * unit, hash_read_bytes=unit)
        content = content_of(Digest.of(b"any"))
        spool = Spool(content, small, lambda: None, nobody)
        with tempfile.TemporaryFile() as file:
            spool.open(DiskFile(os.dup(file.fileno()), len(model)))
            hashing = asyncio.create_task(spool.hash())
            for first, count, is_written in steps:
                start, stop = first * unit, min(first + count, parts) * unit
                if is_written:
                    for a, b in spool.put(start, bytes(model[start:stop])):
                        spool.arrived(a, b)
                else:
                    spool.retract(start, stop)
                    model[start:stop] = fill.randbytes(stop - start)
                await asyncio.sleep(0)
                if hashing.done():  # all was there
                    break
            for a, b in spool.put(0, bytes(model)):
                spool.arrived(a, b)
            assert spool.present == RangeSet((0, len(model)))
            if hashing.done():
                hashing = asyncio.create_task(spool.hash())
            assert await hashing == Digest.of(bytes(model))
            assert os.pread(file.fileno(), len(model), 0) == model
            spool.close()

    run(check())
