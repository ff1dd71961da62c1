"""The rest of an answer from another fetch: it is given only if what went before came alike."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from mirror.app.again import rest, sha256_of
from mirror.errors import SourceError, StorageFailed

if TYPE_CHECKING:
    from mirror.fetch import Reader

BODY = bytes(range(100))


class Again:
    """A reader of a file, which gives it in parts of 7 bytes."""

    def __init__(self, path: Path, body: bytes) -> None:
        path.write_bytes(body)
        self.fd = os.open(path, os.O_RDONLY)

    async def extents(self, start: int, stop: int) -> AsyncGenerator[tuple[int, int], None]:
        for offset in range(start, stop, 7):
            yield offset, min(7, stop - offset)


def given(path: Path, body: bytes, start: int, position: int, stop: int) -> bytes:
    async def story() -> bytes:
        again = Again(path, body)
        try:
            got, before = b"", hashlib.sha256(BODY[start:position]).digest()
            async for fd, offset, count in rest(cast("Reader", again), start, position, stop, before):
                got += os.pread(fd, count, offset)
            return got
        finally:
            os.close(again.fd)

    return asyncio.run(story())


@pytest.mark.parametrize("position", [10, 11, 17, 50, 90])
def test_what_the_client_has_got_is_compared_and_the_rest_is_given(tmp_path: Path, position: int) -> None:
    assert given(tmp_path / "blob", BODY, 10, position, 90) == BODY[position:90]


@pytest.mark.parametrize("wrong", [10, 16, 17, 49])
def test_not_a_byte_is_given_if_the_client_has_got_others(tmp_path: Path, wrong: int) -> None:
    other = bytearray(BODY)
    other[wrong] ^= 1
    with pytest.raises(SourceError, match="came otherwise"):
        given(tmp_path / "blob", bytes(other), 10, 50, 90)


def test_a_file_that_became_shorter_is_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BODY)
    with path.open("rb") as file, pytest.raises(StorageFailed):
        asyncio.run(sha256_of(file.fileno(), 0, len(BODY) + 1))
