"""Files beside an event loop: reading without stalling it on a cold disk, and writing in threads.

What the kernel has in its page cache is read at memory speed, faster than a thread could be asked to do it; what it
has not may take a disk's whole seek, or a sick disk's seconds. Linux says which it is: `preadv2` with RWF_NOWAIT
refuses where it would have to wait. So warm bytes are read where we stand, and cold ones in a thread.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def resident(fd: int, offset: int, count: int) -> bool:
    """Whether the bytes are, as far as their first and last tell, in the page cache; costs 2 µs.

    Kernels read ahead in long contiguous runs, so the two ends speak for up to some MiB between them. Where the file
    system cannot tell, the answer is no.
    """
    byte = bytearray(1)
    try:
        os.preadv(fd, [byte], offset, os.RWF_NOWAIT)
        os.preadv(fd, [byte], offset + count - 1, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


async def read(fd: int, offset: int, count: int) -> bytearray:
    """Read exactly these bytes, in a thread if the disk has to be waited for.

    Raises:
        OSError: the disk fails, or the file ends before.
    """
    content = bytearray(count)
    try:
        got = os.preadv(fd, [content], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, *_UNSUPPORTED):
            raise
        got = 0
    if got == count:
        return content
    rest = await in_thread(os.pread, fd, count - got, offset + got)
    content[got:] = rest
    if len(content) < count:
        raise ended_early(offset + len(content), offset + count)
    return content


def write_all(fd: int, content: bytes | memoryview, offset: int) -> None:
    """Write all of some content to its place in a file; a signal, or a disk that is nearly full, may cut one short."""
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def ended_early(end: int, stop: int) -> OSError:
    """The error of a file that is shorter than it was said to be."""
    return OSError(errno.EIO, f"the file ends at byte {end}, not at {stop} or later")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short file work in a thread, and do not return before it has ended, not even when cancelled.

    The caller's descriptors are thereby never closed, and their numbers never given to another file, under the thread.
    """
    return await to_its_end(asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs)))


async def to_its_end(work: "asyncio.Future[T]", stop: Callable[[], object] = lambda: None) -> T:
    """Wait for work in a thread, which cannot be cancelled: when this is, call `stop`, and wait all the same."""
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # nobody is left to hear of it
        raise cancelled
    return work.result()
