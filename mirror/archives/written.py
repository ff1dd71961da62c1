"""The file that an archive is written into, and what an earlier run, which broke off, left in it."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import ArchiveError
from ..oci.digest import Digest

PARTIAL: Final = ".partial"
"""What the name of a file ends with until it is whole."""
_PIPE: Final = "-"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def write_all(out: BinaryIO, content: bytes | memoryview) -> None:
    """Write all of some content; a pipe may take less at once."""
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]


@contextmanager
def target(place: str) -> Iterator[BinaryIO]:
    """A file that has its name only when it is whole, and is on the disk; `-` is standard output.

    Until then it is another file, which stays if the block ends in an error: the next run goes on with it.

    Raises:
        ArchiveError: it cannot be written there, or another command is writing it.
    """
    partial = Path(f"{place}{PARTIAL}")
    try:
        if place == _PIPE:
            if sys.stdout.isatty():
                raise ArchiveError("it is a terminal; name a file with -o, or give a pipe")
            with open(1, "wb", buffering=0, closefd=False) as out:
                yield out
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(partial, flags, 0o666), "r+b", buffering=0) as out:
            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveError(f"another command is writing {str(partial)!r}") from None
            yield out
            os.fdatasync(out.fileno())
            partial.replace(place)
    except OSError as error:
        why = f"it cannot be written: {error.strerror}"
        if error.errno in _FULL:
            why += f"; make room and start it again: it goes on from {partial}, or delete that"
        raise ArchiveError(why) from None


class Written:
    """Tells which members of an archive a file has already, one after the other from its start.

    Args:
        out: the file; one that cannot be read has nothing.
        part_bytes: that are hashed at once.
    """

    def __init__(self, out: BinaryIO, part_bytes: int) -> None:
        self._out = out
        self._part_bytes = part_bytes
        self._left = 0
        """Bytes of the file that were not looked at."""
        if out.readable() and out.seekable():
            self._left = out.seek(0, os.SEEK_END)
            out.seek(0)

    def has(self, head: bytes, body: bytes | Digest, size: int, end: bytes) -> bool:
        """Whether the next member is there as it should be. If not, the file ends before it, and nothing is there.

        Args:
            head: of the member.
            body: its bytes, or their digest.
            size: how many they are.
            end: what follows them.
        """
        if not self._left:
            return False
        whole = len(head) + size + len(end)
        at = self._out.tell()
        read = self._out.read
        if whole <= self._left and read(len(head)) == head and self._is(body, size) and read(len(end)) == end:
            self._left -= whole
            return True
        self._left = 0
        self._out.seek(at)
        self._out.truncate()
        return False

    def finish(self) -> None:
        """Leave out what follows the last member."""
        if self._left:
            self._left = 0
            self._out.truncate()

    def _is(self, body: bytes | Digest, size: int) -> bool:
        """Whether the next bytes of the file are the right ones."""
        if isinstance(body, bytes):
            return self._out.read(size) == body
        hashed = body.algorithm.begin()
        while size:
            part = self._out.read(min(size, self._part_bytes))
            if not part:
                return False
            hashed.update(part)
            size -= len(part)
        return hashed.hexdigest() == body.hex
