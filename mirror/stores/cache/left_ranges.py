"""Ranges of a blob that was left, beyond what its journal proves, each with its sha256.

Clients that pull lazily read a layer here and there. What a fetch has of it when it ends, and what may be given to
clients, is written down beside the file; the next fetch hashes it, and takes over what is right.

Format: the blob's size (8 bytes, big-endian); for each range its start and its end (8 bytes each, big-endian) and its
sha256; at the end the sha256 of all that.
"""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ...fileio import write_all
from .. import HashedRange

RANGES_MAX = 4096
"""Bounds the ranges that are written down of one blob, to 192 KiB. A runtime that reads a layer to its end in chunks of
50 KB leaves fewer, since those that touch are one."""

_NUMBER_BYTES, _SHA256_BYTES = 8, 32
_RECORD_BYTES = 2 * _NUMBER_BYTES + _SHA256_BYTES


def write_ranges(path: Path, size: int, ranges: Sequence[HashedRange]) -> None:
    """Write down what is there of a blob of `size` bytes. On a disk that is full nothing happens: it comes again."""
    records = (
        part.start.to_bytes(_NUMBER_BYTES, "big") + part.stop.to_bytes(_NUMBER_BYTES, "big") + part.sha256
        for part in ranges[:RANGES_MAX]
    )
    text = size.to_bytes(_NUMBER_BYTES, "big") + b"".join(records)
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, text + hashlib.sha256(text).digest(), 0)
        finally:
            os.close(fd)


def read_ranges(path: Path, size: int) -> list[HashedRange]:
    """What was written down of a blob of `size` bytes; nothing if that is damaged."""
    try:
        with path.open("rb") as file:
            record = file.read(_NUMBER_BYTES + RANGES_MAX * _RECORD_BYTES + _SHA256_BYTES)
    except OSError:
        return []
    text, digest = record[:-_SHA256_BYTES], record[-_SHA256_BYTES:]
    if hashlib.sha256(text).digest() != digest or text[:_NUMBER_BYTES] != size.to_bytes(_NUMBER_BYTES, "big"):
        return []
    ranges = []
    for at in range(_NUMBER_BYTES, len(text), _RECORD_BYTES):
        start = int.from_bytes(text[at : at + _NUMBER_BYTES], "big")
        stop = int.from_bytes(text[at + _NUMBER_BYTES : at + 2 * _NUMBER_BYTES], "big")
        if start < stop <= size:
            ranges.append(HashedRange(start, stop, text[at + 2 * _NUMBER_BYTES : at + _RECORD_BYTES]))
    return ranges
