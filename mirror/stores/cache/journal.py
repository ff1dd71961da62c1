"""The journal of a blob that is being written: what the next fetch needs to continue it.

Eight bytes hold the blob's size, big-endian. After them come 32 bytes for each piece that is in the file, in order: the
sha256 of everything up to its end. A process killed while it writes leaves at most one record that is not whole, at
the end; hashing the file proves the others right or wrong.
"""

import contextlib
import os
from pathlib import Path

_SIZE_BYTES, _PREFIX_BYTES = 8, 32


class Journal:
    """An open journal.

    Args:
        fd: open for reading and appending; `close` closes it.
        size: of the blob, in bytes. A journal that names another size starts again, empty.

    Raises:
        OSError: the disk failed; the descriptor stays open.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.prefixes = self._read(size)
        """What it said when it was opened: for each piece, in order, the sha256 of everything up to its end."""

    def append(self, prefix: bytes) -> None:
        """Note that the next piece is in the file. On a disk that is full nothing happens: that piece comes again."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, prefix)

    def keep(self, count: int) -> None:
        """Strike all but the first records: the pieces after them are not in the file, or may be wrong."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, _SIZE_BYTES + count * _PREFIX_BYTES)

    def close(self) -> None:
        """Close it; what is appended or struck from now on is ignored."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read(self, size: int) -> list[bytes]:
        """Read the records, and cut off a last one that is not whole."""
        text = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        if text[:_SIZE_BYTES] != size.to_bytes(_SIZE_BYTES, "big"):
            os.ftruncate(self._fd, 0)
            os.write(self._fd, size.to_bytes(_SIZE_BYTES, "big"))
            return []
        count = (len(text) - _SIZE_BYTES) // _PREFIX_BYTES
        os.ftruncate(self._fd, _SIZE_BYTES + count * _PREFIX_BYTES)
        records = text[_SIZE_BYTES:]
        return [records[i * _PREFIX_BYTES : (i + 1) * _PREFIX_BYTES] for i in range(count)]


def read_size(path: Path) -> int:
    """The size, in bytes, of the blob that a journal speaks of; a damaged journal gives some other number."""
    return int.from_bytes(path.read_bytes()[:_SIZE_BYTES], "big")


def has_records(path: Path) -> bool:
    """Whether a journal names at least one whole piece."""
    try:
        return path.stat().st_size >= _SIZE_BYTES + _PREFIX_BYTES
    except OSError:
        return False
