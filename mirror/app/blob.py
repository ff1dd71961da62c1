"""Answers whose body is long: bytes of files, as they become ready.

The head is sent before the first byte of the body is ready. When the client closes the connection, the answer ends at
once, without a log line. When the rest will not come, the answer ends short of its Content-Length, with one log line.
Then the server closes the connection, and the client sees a short read, never a body that is complete but wrong.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from typing import TypeVar

from starlette.types import Message, Receive, Scope, Send

from ..errors import MirrorError, StorageFailed
from ..fileio import read
from ..oci.digest import Digest
from ..oci.ranges import content_range
from ..settings import AppSettings
from .zerocopy import EXTENSION, ClientGone

log = logging.getLogger(__name__)

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]
Extent = tuple[int, int, int]
"""Bytes of a file that may leave: its descriptor, the first byte's offset, and how many."""
Piece = Extent | bytes
"""What a body consists of: bytes of files, and what stands between them."""


def blob_headers(
    digest: Digest, media_type: str, size: int, wanted: tuple[int, int] | None = None
) -> tuple[int, Headers]:
    """The status and headers for some content, or a range of it.

    Args:
        digest: of the whole.
        media_type: of the whole.
        size: of the whole, in bytes.
        wanted: the range `(start, stop)` that was asked for. It is answered with 206 even if it is the whole, because
            clients conclude from a 200 that ranges are not served. None for the whole, with 200.

    Source: RFC 9110 sections 8.8.3, 14.3, 14.4 and 15.3.7; OCI distribution-spec, "Pulling blobs".
    """
    start, stop = wanted or (0, size)
    name = str(digest).encode()
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", b"%d" % (stop - start)),
        (b"docker-content-digest", name),
        (b"etag", b'"%b"' % name),
        (b"accept-ranges", b"bytes"),
    ]
    if wanted is None:
        return 200, headers
    return 206, [*headers, (b"content-range", content_range(start, stop, size).encode())]


class LongResponse(ABC):
    """An ASGI application that gives one answer; a subclass says what the body consists of.

    Args:
        status: of the answer.
        headers: with lower-case names; a Content-Length among them.
    """

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = headers
        self.sent = 0
        """Bytes of the body that were given to the server."""
        self.error: MirrorError | None = None
        """Why the body ended before its end; None if it did not, or the client broke off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; return when it has ended, in one way or another, and the body's source is closed."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send(scope, send))
            watching = tasks.create_task(_when_gone(receive, sending.cancel))
            await asyncio.wait([sending])
            watching.cancel()

    async def _send(self, scope: Scope, send: Send) -> None:
        async with contextlib.aclosing(self._parts(scope)) as parts:
            try:
                await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
                if scope["method"] != "HEAD":
                    async for part, count in parts:
                        try:
                            await send(part)
                        except BaseException:  # a client that has all may be gone before that is known here
                            self.sent += part.get("sent", 0)
                            raise
                        self.sent += count
                await send({"type": "http.response.body", "body": b""})
            except ClientGone:
                log.debug("%s: the client has gone", scope["path"])
            except (MirrorError, OSError) as error:
                log.debug("%s: the answer ends after %d bytes: %s", scope["path"][:300], self.sent, error)
                self.error = error if isinstance(error, MirrorError) else StorageFailed(f"the disk failed: {error}")

    @abstractmethod
    def _parts(self, scope: Scope) -> AsyncGenerator[tuple[Message, int], None]:
        """The body as messages that others follow, each with the number of bytes that it stands for."""


class BlobResponse(LongResponse):
    """Bytes of files that become ready one after the other, and what stands between them.

    Args:
        status: 200 or 206; 304 without extents.
        headers: with lower-case names; a Content-Length among them.
        extents: in the body's order, each ready when it is given. Whoever gives them keeps the files open until the
            next one is asked for. A MirrorError in between means that the rest will not come.
        settings: how the body is cut into messages.
    """

    def __init__(
        self,
        status: int,
        headers: Sequence[tuple[bytes, bytes]],
        extents: Iterable[Piece] | AsyncIterable[Piece],
        settings: AppSettings | None = None,
    ) -> None:
        super().__init__(status, headers)
        self._extents = extents
        self._settings = settings or AppSettings()

    async def _parts(self, scope: Scope) -> AsyncGenerator[tuple[Message, int], None]:
        copied_max, chunk = self._settings.copied_max_bytes, self._settings.chunk_bytes
        zero_copy = EXTENSION in scope.get("extensions", {})
        between = b""
        async with contextlib.aclosing(each(self._extents)) as pieces:
            async for piece in pieces:
                if isinstance(piece, bytes):
                    between += piece  # leaves in one packet with what follows
                    continue
                fd, offset, count = piece
                if zero_copy and count > copied_max:
                    if between:
                        yield _body(between), len(between)
                    place = {"file": fd, "offset": offset, "count": count}
                    yield {"type": EXTENSION, **place, "more_body": True}, count
                    between = b""
                    continue
                for start in range(offset, offset + count, chunk):
                    part = await read(fd, start, min(chunk, offset + count - start))
                    body, between = between + part if between else part, b""
                    yield _body(body), len(body)
        if between:
            yield _body(between), len(between)


async def of_file(fd: int, places: AsyncGenerator[tuple[int, int], None]) -> AsyncGenerator[Extent, None]:
    """The extents at some places `(offset, count)` of one file."""
    async with contextlib.aclosing(places):
        async for offset, count in places:
            yield fd, offset, count


def _body(content: bytes | bytearray) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Give the items of an iterable of either kind; close it afterwards if it is an asynchronous generator."""
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
    else:
        for item in items:
            yield item


async def _when_gone(receive: Receive, call: Callable[[], object]) -> None:
    """Wait until the client has closed the connection, then call; what the client still sends is ignored."""
    while (await receive())["type"] != "http.disconnect":
        pass
    call()
