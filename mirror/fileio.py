"""Files beside an event loop: reading that does not block the loop on a cold disk, and writing in threads.

Bytes in the kernel's page cache are read at memory speed, faster than a thread could be asked to do it. Other bytes
may take a disk's seek, or some seconds on a disk that is about to fail. Linux says which it is: `preadv2` with
RWF_NOWAIT refuses if it would have to wait, and `cachestat` counts the pages that are there; some file systems, as
tmpfs, know only the second. So warm bytes are read on the event loop, and cold ones in a thread.
"""

import asyncio
import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors by which this process lacks something, if only for a moment."""

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class _Range(ctypes.Structure):
    """`struct cachestat_range`."""

    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    """`struct cachestat`: pages in the cache, of these dirty and being written; pages that have left it."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently"))


CACHESTAT = 451
"""The number of the system call, the same on all machines but Alpha. Linux has it since 6.5."""
_libc = ctypes.CDLL(None, use_errno=True)


def cached(fd: int, offset: int, count: int) -> bool:
    """Whether all of some bytes are in the page cache; costs 2 to 20 µs, or 6 µs a MiB where pages are small.

    Where the kernel cannot count pages, only both ends are looked at: see `resident`.
    """
    are_all = _are_pages_cached(fd, offset, count)
    return bool(_are_ends_cached(fd, offset, count) if are_all is None else are_all)


def resident(fd: int, offset: int, count: int) -> bool:
    """Whether the first and the last of some bytes are in the page cache; costs 2 µs.

    Kernels read ahead in long contiguous runs, so if both ends are there, up to some MiB between them mostly are, too.
    A file system that cannot tell, as tmpfs, has its pages counted. If the kernel cannot do that, the answer is no.
    """
    are_ends = _are_ends_cached(fd, offset, count)
    return bool(_are_pages_cached(fd, offset, count) if are_ends is None else are_ends)


def _are_pages_cached(fd: int, offset: int, count: int) -> bool | None:
    """Whether all pages of some bytes are in the page cache; None where the kernel cannot count them."""
    wanted, pages = _Range(offset, count), _Pages()
    if _libc.syscall(CACHESTAT, fd, ctypes.byref(wanted), ctypes.byref(pages), 0):
        return None
    first, last = offset // mmap.PAGESIZE, (offset + count - 1) // mmap.PAGESIZE
    return int(pages.cached) > last - first


def _are_ends_cached(fd: int, offset: int, count: int) -> bool | None:
    """Whether the first and the last of some bytes are in the page cache; None where the file system cannot tell."""
    byte = bytearray(1)
    try:
        os.preadv(fd, [byte], offset, os.RWF_NOWAIT)
        os.preadv(fd, [byte], offset + count - 1, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


def read_small(path: str | os.PathLike[str], max_bytes: int) -> tuple[bytes, bool]:
    """Read a whole file of settings or secrets, which blocks.

    Returns:
        What it has, and whether others than its owner may read or write that very file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or has more than `max_bytes` bytes; the message names it.
    """
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # a pipe must not block
        mode, content = os.fstat(file.fileno()).st_mode, b""
        if stat.S_ISREG(mode):
            content = file.read(max_bytes + 1)
    if not stat.S_ISREG(mode) or len(content) > max_bytes:
        raise ValueError(f"{path} must be a regular file of at most {max_bytes} bytes")
    return content, bool(mode & 0o077)


def replace(path: Path, content: bytes, *, durably: bool = False) -> None:
    """Write a file anew, for its owner alone; whoever reads it finds the old one or the new one, whole. Blocks.

    Two must not write the same file at a time: what is new comes into being beside it, as `.new`.

    Args:
        path: of it; its folder is there.
        content: of it.
        durably: whether to return only when it is on the disk, name and all, so that it outlives a loss of power.

    Raises:
        OSError: the disk fails, or is full; the old one is still there.
    """
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        if durably:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durably:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, which blocks; raise OSError if it fails."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


async def read(fd: int, offset: int, count: int) -> bytearray:
    """Read exactly `count` bytes from `offset` on, in a thread if the disk has to be waited for.

    Raises:
        OSError: the disk fails, or the file ends earlier.
    """
    content = bytearray(count)
    try:
        got = os.preadv(fd, [content], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        got = 0
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        got = os.preadv(fd, [content], offset) if _are_pages_cached(fd, offset, count) else 0
    if got == count:
        return content
    rest = await in_thread(os.pread, fd, count - got, offset + got)
    content[got:] = rest
    if len(content) < count:
        raise ended_early(offset + len(content), offset + count)
    return content


def write_all(fd: int, content: bytes | memoryview, offset: int) -> None:
    """Write all of some content at an offset; one system call may write less, after a signal or on a nearly full disk.

    Raises:
        OSError: the disk fails, or is full.
    """
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def read_parts(fd: int, start: int, stop: int, buffer: bytearray) -> Iterator[memoryview]:
    """Read a range of a file through a buffer; blocks. Each part is overwritten by the next one.

    Raises:
        EndedEarly: the file ends before the range does.
        OSError: the disk fails.
    """
    view = memoryview(buffer)
    while start < stop:
        count = os.preadv(fd, [view[: stop - start]], start)
        if not count:
            raise ended_early(start, stop)
        yield view[:count]
        start += count


def hash_range(update: Callable[[memoryview], object], fd: int, start: int, stop: int, buffer_bytes: int) -> None:
    """Hash a range of a file, through a buffer of at most `buffer_bytes`; blocks.

    Args:
        update: takes each part: of a hash object.
        fd: the file.
        start: first byte.
        stop: end, exclusive.
        buffer_bytes: how much is read at once, in bytes.

    Raises:
        EndedEarly: the file ends before the range does.
        OSError: the disk fails.
    """
    for part in read_parts(fd, start, stop, bytearray(min(buffer_bytes, stop - start))):
        update(part)


def tells_of_file(error: OSError) -> bool:
    """Whether an error of reading or opening tells of the file, rather than of what this process lacks or may not do.

    Disks, and the file systems and networks before them, have many words for "it cannot be read": EIO, ENODATA,
    EBADMSG, EUCLEAN, EILSEQ, ENXIO, EREMOTEIO, ETIMEDOUT, ESTALE. So what is not known to mean something else does.
    """
    return error.errno not in LACKS and not isinstance(error, PermissionError | InterruptedError)


class EndedEarly(OSError):
    """A file is shorter than expected."""


def ended_early(end: int, stop: int) -> EndedEarly:
    """The error for a file that is shorter than expected: it ends at `end`, but bytes up to `stop` are needed."""
    return EndedEarly(errno.EIO, f"the file ends at byte {end}, not at {stop} or later")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short file work in a thread, and return only when it has ended, even if cancelled.

    So the caller never closes a descriptor that the thread still uses, and its number never becomes another file's.
    """
    return await to_its_end(asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs)))


async def to_its_end(work: "asyncio.Future[T]", stop: Callable[[], object] = lambda: None) -> T:
    """Wait for work in a thread, which cannot be cancelled. If the caller is, call `stop`, and wait for its end."""
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # nobody is left to handle it; without this, asyncio would log it
        raise cancelled
    return work.result()
