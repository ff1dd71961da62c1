"""Compressed archives, opened within bounds."""

import enum
import gzip
import zlib
from typing import Final, Protocol

import zstandard

from ..errors import ArchiveError
from ..settings import ArchiveSettings

HEAD_BYTES: Final = 6
"""Bytes at the start of a file that say how it is compressed."""


class Packing(enum.Enum):
    """How bytes are compressed; the value begins them."""

    GZIP = b"\x1f\x8b"
    ZSTD = b"\x28\xb5\x2f\xfd"
    BZIP2 = b"BZh"
    XZ = b"\xfd7zXZ\x00"


def packing_of(head: bytes) -> Packing | None:
    """How bytes are compressed that begin so; None: they are not."""
    return next((packing for packing in Packing if head.startswith(packing.value)), None)


class Readable(Protocol):
    """What can be read in order."""

    def read(self, count: int = ..., /) -> bytes:
        """Some of the next bytes; none at the end."""
        ...


class Unpacked:
    """The content of a compressed archive, read in order.

    Args:
        packed: the archive.
        packing: how it is compressed.
        settings: bounds.

    Raises:
        ArchiveError: in a way that is not read here.
    """

    def __init__(self, packed: Readable, packing: Packing, settings: ArchiveSettings) -> None:
        self._packed = _Counted(packed)
        self._settings = settings
        self._position = 0
        self._source: Readable
        match packing:
            case Packing.GZIP:
                self._source = gzip.GzipFile(fileobj=self._packed, mode="rb")  # type: ignore[call-overload]
            case Packing.ZSTD:
                window = zstandard.ZstdDecompressor(max_window_size=settings.window_max_bytes)
                self._source = window.stream_reader(self._packed, read_across_frames=True)  # type: ignore[arg-type]
            case _:
                raise ArchiveError(
                    f"compressed with {packing.name.lower()}; plain, gzip and zstd are read: unpack it first, "
                    f"`{packing.name.lower()} -dc FILE | skvaller load -`"
                )

    def read(self, count: int = -1, /) -> bytes:
        """Some of the next bytes; none at the end.

        Raises:
            ArchiveError: what is there is damaged, or expands beyond all measure.
        """
        try:
            content = self._source.read(count)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise ArchiveError(f"its compressed content is damaged, or cut off: {error}") from None
        self._position += len(content)
        expected = self._settings.expansion_max * self._packed.count
        if self._position > expected + self._settings.expansion_free_bytes:
            raise ArchiveError(
                f"expands to more than {self._settings.expansion_max} times its size, which no image does; if you "
                "trust it, unpack it yourself, and load that"
            )
        return content


class _Counted:
    """A file that counts what was read of it."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0

    def read(self, count: int = -1) -> bytes:
        content = self._file.read(count)
        self.count += len(content)
        return content
