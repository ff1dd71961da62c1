"""What happens to files on a disk: bits flip, ends are lost, names disappear.

A flip is made much as a disk makes it: the next read from the disk gives another byte. What the kernel keeps of the
file in memory is dropped, not changed, so bytes that are on their way to a client stay as they are. Size and mtime
stay, but ctime changes, which no program can prevent: so an agent can see by the file's times that something happened.
Rot that leaves ctime as it is happens in `tests/unit/mirror/stores/test_checking.py`.
"""

import mmap
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 4096


def flip(path: Path, chance: random.Random) -> str:
    """Flip a bit somewhere; size and mtime stay."""
    status = path.stat()
    if not status.st_size:
        return "was empty"
    bit = 1 << chance.randrange(8)
    blocks = status.st_size // _BLOCK_BYTES
    if blocks and os.major(status.st_dev):
        offset = chance.randrange(blocks * _BLOCK_BYTES)
        _flip_below_memory(path, offset, bit)
        how = "on the disk"
    else:  # there is no disk below, or the file is no block long: another file takes the place
        offset = chance.randrange(status.st_size)
        _flip_in_a_copy(path, offset, bit)
        how = "in a copy that takes its place"
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"a bit of byte {offset} of {status.st_size}, {how}"


def truncate(path: Path, chance: random.Random) -> str:
    """Lose the end, by whole blocks."""
    size = path.stat().st_size
    kept = chance.randrange(size) // _BLOCK_BYTES * _BLOCK_BYTES if size else 0
    os.truncate(path, kept)
    return f"{kept} of {size} bytes left"


def empty(path: Path, chance: random.Random) -> str:
    """Lose all bytes."""
    size = path.stat().st_size
    os.truncate(path, 0)
    return f"0 of {size} bytes left"


def delete(path: Path, chance: random.Random) -> str:
    """Lose the name."""
    path.unlink()
    return "gone"


DAMAGES: Final[Mapping[str, Callable[[Path, random.Random], str]]] = {
    "flip": flip,
    "truncate": truncate,
    "empty": empty,
    "delete": delete,
}
"""What can happen to a file; each says what it did."""


def _flip_below_memory(path: Path, offset: int, bit: int) -> None:
    """Write a block past the page cache, which forgets what it has of it."""
    start = offset // _BLOCK_BYTES * _BLOCK_BYTES
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _BLOCK_BYTES) as block:
            os.preadv(descriptor, [block], start)
            block[offset - start] ^= bit
            os.pwritev(descriptor, [block], start)
    finally:
        os.close(descriptor)


def _flip_in_a_copy(path: Path, offset: int, bit: int) -> None:
    body = bytearray(path.read_bytes())
    body[offset] ^= bit
    copy = path.with_name(f".{path.name}.flipped")
    try:
        copy.write_bytes(body)
        copy.chmod(path.stat().st_mode)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)
