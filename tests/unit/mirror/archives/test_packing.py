"""Compressed archives: those that are read, those that are not, and bombs."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from dataclasses import replace

import pytest
import zstandard

from mirror.archives.packing import Unpacked, packing_of
from mirror.errors import ArchiveError
from mirror.settings import ArchiveSettings

SETTINGS = ArchiveSettings()
PACKS: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, zstandard.compress)
CONTENT = bytes(range(256)) * 400


def unpack(packed: bytes, settings: ArchiveSettings = SETTINGS) -> bytes:
    packing = packing_of(packed[:6])
    assert packing is not None
    unpacked = Unpacked(io.BytesIO(packed), packing, settings)
    return b"".join(iter(lambda: unpacked.read(1000), b""))


@pytest.mark.parametrize("pack", PACKS)
def test_what_is_compressed_in_one_or_several_parts_is_read(pack: Callable[[bytes], bytes]) -> None:
    packed = [pack(CONTENT), pack(CONTENT[:7])]
    assert unpack(b"".join(packed)) == CONTENT + CONTENT[:7]


def test_what_is_not_compressed_is_told() -> None:
    assert packing_of(b"index.") is None


@pytest.mark.parametrize(("packed", "way"), [(bz2.compress(b"x"), "bzip2 -dc"), (lzma.compress(b"x"), "xz -dc")])
def test_others_are_refused_with_the_way_out(packed: bytes, way: str) -> None:
    with pytest.raises(ArchiveError, match=way):
        unpack(packed)


@pytest.mark.parametrize("pack", PACKS)
def test_a_bomb_ends_when_it_has_expanded_too_far(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(4_000_000))
    settings = replace(SETTINGS, expansion_free_bytes=100_000, expansion_max=10)
    with pytest.raises(ArchiveError, match="expands to more than 10 times its size"):
        unpack(bomb, settings)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(CONTENT)[:-9],
        gzip.compress(CONTENT)[:20] + bytes(99),
        zstandard.compress(CONTENT)[:6] + b"\xff" * 99,
    ],
)
def test_what_is_damaged_is_an_error(packed: bytes) -> None:
    with pytest.raises(ArchiveError, match="damaged, or cut off"):
        unpack(packed)


def test_a_window_that_takes_too_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = stream.compress(CONTENT) + stream.flush()
    with pytest.raises(ArchiveError, match="damaged, or cut off"):
        unpack(packed, replace(SETTINGS, window_max_bytes=1 << 20))
