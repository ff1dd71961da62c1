"""What the C library keeps of memory that was given back: little. By itself glibc keeps a heap for every few threads.

A node that had pulled eight layers at once from another kept 30 MiB beyond what it has when idle; with this it keeps 8.

What is free between blocks that are in use it returns only when it is told to: after a pull that can be 20 MiB.

Source: glibc, "Memory Allocation Tunables"; mallopt(3); malloc_trim(3).
"""

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""The names of these parameters. Source: glibc, malloc.h."""

HEAPS: Final = 1
"""All threads share one heap: they hold Python's lock where they ask for memory, so they hardly ever wait for it."""
MAPPED_BYTES: Final = 256 * 1024
"""Blocks from this size on go back to the kernel as soon as they are free, bytes: buffers of content, not of heads.
glibc would raise its own bound to the largest block that it has seen."""


def keep_little() -> bool:
    """Set that, before threads are made; whether the C library knows these parameters. musl has no such heaps."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    is_set = [mallopt(name, value) for name, value in ((_ARENA_MAX, HEAPS), (_MMAP_THRESHOLD, MAPPED_BYTES))]
    return all(is_set)


def give_back() -> None:
    """Return to the kernel all memory that is free now, as far as the C library can: it takes 0.1 ms to a few ms."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
