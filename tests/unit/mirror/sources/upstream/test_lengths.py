"""Sizes of blobs that registries do not say."""

import asyncio
from collections.abc import Sequence

import pytest

from mirror.oci.digest import Digest
from mirror.settings import UpstreamSettings
from mirror.sources.upstream.lengths import Lengths

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))


def test_the_oldest_is_forgotten() -> None:
    lengths = Lengths(UpstreamSettings(lengths_max=2))
    for digest, size in ((A, 1), (B, 2), (A, 3), (C, 4)):
        lengths.note(digest, size)
    assert [lengths.known(digest) for digest in (A, B, C)] == [3, None, 4]


@pytest.mark.parametrize(
    ("chunks", "is_right"),
    [([b"abc", b"de"], True), ([b"abcde"], True), ([b"abc", b""], False), ([b""], False), ([b"abc", b"def"], False)],
)
def test_a_body_that_is_not_as_long_as_claimed_is_to_be_measured(chunks: Sequence[bytes], is_right: bool) -> None:
    lengths, waiting = Lengths(UpstreamSettings()), list(chunks)
    lengths.note(A, 5)

    async def read() -> bytes:
        return waiting.pop(0)

    async def story() -> None:
        read_on = lengths.watched(A, 5, read)
        assert [await read_on() for _ in chunks] == list(chunks)

    asyncio.run(story())
    assert (lengths.known(A), lengths.is_to_be_measured(A)) == ((5, False) if is_right else (None, True))
    assert not lengths.is_to_be_measured(B)
