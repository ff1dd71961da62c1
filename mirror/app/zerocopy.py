"""Sending files through uvicorn without copying them: the ASGI extension `http.response.zerocopysend`.

uvicorn writes every body through its transport, which costs a copy into Python and one back into the kernel. With
`ZeroCopyProtocol` as `http=`, uvicorn offers the extension to applications. The head goes through the transport as
always. Then the kernel moves the file's bytes to a duplicate of the connection's descriptor by sendfile, and after that
the transport goes on. A response may have zero-copy and ordinary parts of its body in any order.

Three things are normal here and are not logged: a client that goes away, a client that takes nothing for
`stall_timeout_s`, and an application that returns before its body is complete. The last is how an application says that
the rest will not come: the connection is closed with FIN, so that the client sees a short read.

The first test in `tests/loopback/test_zerocopy.py` lists all that this uses of uvicorn's internals.

Source: ASGI specification, extensions, "Zero Copy Send"; sendfile(2).
"""

import asyncio
import os
import select
import threading
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol, TypedDict, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..fileio import ended_early, in_thread, resident, to_its_end
from .protocol import BoundedProtocol
from .tls import LEND, MEMBER_NAMES

EXTENSION = "http.response.zerocopysend"

_INLINE_BYTES = 1024 * 1024
"""Largest part that is sent on the event loop, if it is in the page cache. A larger one gets a thread of its own, which
needs no turn of the event loop for every mebibyte: faster for one client, and on several cores for many."""

_BURST_BYTES = 4 * 1024 * 1024
"""Largest part that a thread sends in one turn while more transfers run than there are threads: a few milliseconds of
copying, so that all transfers make progress."""

_THREADS = 8
"""Bounds transfers with a thread of their own. Beyond it all take turns. Dozens of threads make the event loop, and
so gossip, wait for the interpreter: 64 of them for 38 ms one time in a hundred, 8 for 11 ms."""

_POLL_MS = 250
"""Time after which a thread that waits for its client looks whether it was told to end, ms. It bounds how long a
cancelled transfer lives on, and costs four wake-ups a second."""

_senders = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")


class ClientGone(ConnectionError):
    """The client has closed the connection, or has not taken a byte for too long. Applications need not catch it."""


class ZeroCopySend(TypedDict, total=False):
    """The extension's message.

    Args:
        file: a descriptor, or an object with `fileno()`.
        offset: first byte to send; if None, the file's position is used and moved on.
        count: number of bytes; if None, up to the end of the file.
        more_body: whether more of the body follows; default False.
        sent: is set to the number of bytes that the kernel took, also where the client has gone before all were.
    """

    type: str
    file: Any
    offset: int | None
    count: int | None
    more_body: bool
    sent: int


class Outlet(Protocol):
    """Where a file is sent to."""

    def fileno(self) -> int:
        """The descriptor, to wait with."""
        ...

    def push(self, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send until `count` bytes are sent or the socket is full; return their number, and whether it is full."""
        ...

    def close(self) -> None:
        """The part of the file is sent, or will not be."""
        ...


class Duplicate:
    """A connection as the kernel sees it: a duplicate of its descriptor, to which the kernel moves a file's bytes.

    Args:
        sock: of the connection.
    """

    def __init__(self, sock: Any) -> None:
        self._fd = os.dup(sock.fileno())

    def fileno(self) -> int:
        """The descriptor, to wait with."""
        return self._fd

    def push(self, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send until `count` bytes are sent or the socket is full; return their number, and whether it is full."""
        sent = 0
        while sent < count:
            try:
                moved = os.sendfile(self._fd, fd, offset + sent, count - sent)
            except BlockingIOError:
                return sent, True
            if not moved:
                raise ended_early(offset + sent, offset + count)
            sent += moved
        return sent, False

    def close(self) -> None:
        """Close the duplicate; the connection stays open."""
        os.close(self._fd)


class ZeroCopyProtocol(BoundedProtocol):
    """A connection with the extension. Each response has one more descriptor open while it is sent."""

    _transfers: ClassVar[int] = 0
    """Number of files that are sent now, on all connections of the process."""

    def on_message_begin(self) -> None:
        """Offer the extension, and say whom an encrypted connection has proven to come from."""
        super().on_message_begin()
        extensions = cast("dict[str, Any]", self.scope).setdefault("extensions", {})
        proven = self.transport.get_extra_info(MEMBER_NAMES)
        if proven is not None:
            extensions[MEMBER_NAMES] = proven()
        if proven is not None or self.scheme == "http":
            extensions[EXTENSION] = {}

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application for one request, in uvicorn's task."""
        cycle: RequestResponseCycle = send.__self__

        async def send_any(message: Any) -> None:
            if message["type"] == EXTENSION:
                await self._zero_copy(cycle, message)
            else:
                if self.flow.write_paused:
                    await self._drain()
                await send(message)

        try:
            await super()._run(scope, receive, send_any)
        except ClientGone:
            self.transport.abort()
        except asyncio.CancelledError:  # by uvicorn, at the end of a shutdown; it would log a stack trace
            self.transport.close()
        if cycle.response_started and not cycle.response_complete:
            self.transport.close()
        if self.transport.is_closing():
            cycle.disconnected = True

    async def _zero_copy(self, cycle: RequestResponseCycle, message: ZeroCopySend) -> None:
        if cycle.disconnected:
            raise ClientGone("the connection is closed")  # perhaps before the head, which uvicorn drops then
        if not cycle.response_started or cycle.response_complete:
            raise RuntimeError(f"{EXTENSION} belongs between a response's start and its end")
        fd = message["file"] if isinstance(message["file"], int) else message["file"].fileno()
        given = message.get("offset")
        offset = os.lseek(fd, 0, os.SEEK_CUR) if given is None else given
        asked = message.get("count")
        count = max(0, os.fstat(fd).st_size - offset) if asked is None else asked
        if count and cycle.scope["method"] != "HEAD":
            await self._send_file(cycle, message, fd, offset, count)
        if given is None:
            os.lseek(fd, offset + count, os.SEEK_SET)
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    async def _send_file(
        self, cycle: RequestResponseCycle, message: ZeroCopySend, fd: int, offset: int, count: int
    ) -> None:
        """Send a part of a file as a part of the body, framed as the head announced."""
        if cycle.chunked_encoding:
            self._write(b"%x\r\n" % count)
        elif count > cycle.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        else:
            cycle.expected_content_length -= count
        try:
            await self._flush()
            await self._transfer(message, fd, offset, count)
        except ConnectionError as error:
            raise ClientGone(str(error)) from error
        if cycle.chunked_encoding:
            self._write(b"\r\n")

    def _write(self, frame: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(frame)

    async def _flush(self) -> None:
        """Wait until the kernel has all that was written to the transport."""
        self._ensure_open()
        self.transport.set_write_buffer_limits(high=0)
        if self.flow.write_paused:
            await self._drain()
        self._ensure_open()
        self.transport.set_write_buffer_limits()

    async def _drain(self) -> None:
        await self._progress(self.flow.drain())

    async def _transfer(self, message: ZeroCopySend, fd: int, offset: int, count: int) -> None:
        """Send a part of a file to the socket itself, while the transport is idle."""
        lend = self.transport.get_extra_info(LEND)
        peer: Outlet = (lend and lend()) or Duplicate(self.transport.get_extra_info("socket"))
        ZeroCopyProtocol._transfers += 1
        try:
            if count > _INLINE_BYTES and ZeroCopyProtocol._transfers <= _THREADS:
                ended = threading.Event()
                work = self.loop.run_in_executor(_senders, self._send_all, message, peer, fd, offset, count, ended)
                await to_its_end(work, ended.set)
                return
            start, stop = offset, offset + count
            while offset < stop:
                self._ensure_open()
                sent, full = await self._push(peer, fd, offset, stop - offset)
                offset += sent
                message["sent"] = offset - start
                if full:
                    await self._writable(peer)
                elif offset < stop:
                    await asyncio.sleep(0)
        finally:
            ZeroCopyProtocol._transfers -= 1
            peer.close()

    async def _push(self, peer: Outlet, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send as much as the socket takes now; return the number of bytes sent, and whether the socket is full."""
        near = min(count, _INLINE_BYTES)
        if isinstance(peer, Duplicate) and ZeroCopyProtocol._transfers <= _THREADS and resident(fd, offset, near):
            return peer.push(fd, offset, near)
        return await in_thread(peer.push, fd, offset, min(count, _BURST_BYTES))

    def _send_all(
        self, message: ZeroCopySend, peer: Outlet, fd: int, offset: int, count: int, ended: threading.Event
    ) -> None:
        """Send all, and wait for the client where necessary. Blocks; ends early once `ended` is set."""
        poll = select.poll()
        poll.register(peer.fileno(), select.POLLOUT)
        start, stop, waited_s = offset, offset + count, 0.0
        while offset < stop and not ended.is_set():
            sent, full = peer.push(fd, offset, stop - offset)
            offset += sent
            message["sent"] = offset - start
            if not full:
                continue
            if poll.poll(_POLL_MS):
                waited_s = 0.0
            elif (waited_s := waited_s + _POLL_MS / 1000) >= self.settings.stall_timeout_s:
                raise ClientGone(f"the client has taken nothing for {self.settings.stall_timeout_s} s")

    async def _writable(self, peer: Outlet) -> None:
        """Wait until the socket takes bytes again."""
        writable = asyncio.Event()
        self.loop.add_writer(peer.fileno(), writable.set)
        try:
            await self._progress(writable.wait())
        finally:
            self.loop.remove_writer(peer.fileno())

    async def _progress(self, event: Awaitable[object]) -> None:
        """Wait for the client to take something, at most `stall_timeout_s`; raise ClientGone after that."""
        try:
            async with asyncio.timeout(self.settings.stall_timeout_s):
                await event
        except TimeoutError:
            raise ClientGone(f"the client has taken nothing for {self.settings.stall_timeout_s} s") from None

    def _ensure_open(self) -> None:
        if self.transport.is_closing():
            raise ClientGone("the connection is closed")
