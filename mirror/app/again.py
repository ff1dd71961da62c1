"""The rest of an answer whose first source failed: who takes over gives what follows, once that is known to fit."""

import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable

from ..errors import Reason, SourceError, StorageError, StorageFailed
from ..fetch import Reader
from ..fileio import hash_range, in_thread
from ..oci.content import Content
from .blob import Extent

log = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024
"""How much of a file is read at once, in bytes: bounds what hashing takes of memory."""


async def taken_over(
    content: Content,
    fd: int,
    places: AsyncGenerator[tuple[int, int], None],
    start: int,
    rest_from: Callable[[int], AsyncGenerator[Extent, None]],
) -> AsyncGenerator[Extent, None]:
    """The extents at some places of a file and, from where its disk fails, those of somebody who takes over.

    Args:
        content: of the file, for the log.
        fd: the file.
        places: `(offset, count)` of what is ready, in order; raises StorageError where the disk fails.
        start: first byte that the client wants.
        rest_from: gives what follows a position.
    """
    position = start
    try:
        async with contextlib.aclosing(places):
            async for offset, count in places:
                yield fd, offset, count
                position = offset + count
        return
    except StorageError as error:
        log.debug("%s: from byte %d on it comes another way: %s", content.digest, position, error)
    async with contextlib.aclosing(rest_from(position)) as extents:
        async for extent in extents:
            yield extent


async def sha256_of(fd: int, start: int, stop: int) -> bytes:
    """The sha256 of a range of a file.

    Raises:
        StorageFailed: the disk does not give it any more.
    """
    sha256 = hashlib.sha256()
    await _hash(sha256, fd, start, stop)
    return sha256.digest()


async def rest(reader: Reader, start: int, position: int, stop: int, given: bytes) -> AsyncGenerator[Extent, None]:
    """Follow `[start, stop)`, and give what follows `position`.

    What comes before has gone to the client already. If the client got other bytes than come now, no right byte may
    make a wrong answer complete.

    Args:
        reader: of the content.
        start: first byte that the client wanted.
        position: end of what it has got.
        stop: end of what it wants, exclusive.
        given: the sha256 of what it has got.

    Raises:
        MirrorError: the rest will not come, or the client has got other bytes.
    """
    sha256 = hashlib.sha256()
    is_compared = position == start
    async with contextlib.aclosing(reader.extents(start, stop)) as ready:
        async for offset, count in ready:
            begin, end = max(offset, position), offset + count
            if not is_compared:
                await _hash(sha256, reader.fd, offset, min(end, position))
                is_compared = end >= position
                if is_compared and sha256.digest() != given:
                    raise SourceError(Reason.CORRUPT, f"bytes {start} to {position} came otherwise the second time")
            if begin < end:
                yield reader.fd, begin, end - begin


async def _hash(sha256: "hashlib._Hash", fd: int, start: int, stop: int) -> None:
    try:
        await in_thread(hash_range, sha256.update, fd, start, stop, _READ_BYTES)
    except OSError as error:
        raise StorageFailed(f"the disk does not give what was sent: {error.strerror}") from error
