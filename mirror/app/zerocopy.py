"""Sending files through uvicorn without copying them: the ASGI extension `http.response.zerocopysend`.

uvicorn writes every body through its transport, which costs a copy into Python and one back into the kernel. Given
`ZeroCopyProtocol` as `http=`, it offers applications the extension: the head goes through the transport as ever, then
the kernel moves the file's bytes to a duplicate of the connection's descriptor by sendfile, and then the transport has
the connection back. Zero-copy and ordinary bodies may follow one another in a response, and responses in a connection.

Three things are weather here and are not logged: a client that goes away, one that takes nothing for `stall_timeout_s`,
and an application that returns before its body is complete. The last is how an application says that the rest will not
come: the connection is closed with FIN, so that the client sees a short read.

Of uvicorn's insides this leans on what `tests/loopback/test_zerocopy.py` lists in its first test, and no more.

Source: ASGI specification, extensions, "Zero Copy Send"; sendfile(2).
"""

import asyncio
import os
import select
import threading
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, TypedDict, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..fileio import ended_early, in_thread, resident, to_its_end

EXTENSION = "http.response.zerocopysend"

_INLINE_BYTES = 1024 * 1024
"""Up to here a file's bytes are sent where we stand, if they are in memory; more has a thread of its own, which polls
and sends without a turn of the event loop for every mebibyte: faster for one client, and on several cores for many."""

_BURST_BYTES = 4 * 1024 * 1024
_THREADS = 8
"""Transfers that have a thread of their own. With more of them, all take turns in bursts: dozens of threads would keep
the event loop, and so gossip, from the interpreter (64 of them for 38 ms one time in a hundred, 8 for 11)."""

_POLL_MS = 250
_senders = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")


class ClientGone(ConnectionError):
    """The client has closed the connection, or has not taken a byte for too long. An application may let it pass."""


class ZeroCopySend(TypedDict, total=False):
    """The extension's message.

    Args:
        file: a descriptor, or an object with `fileno()`.
        offset: first byte to send; where None, the file's position is used and moved on.
        count: number of bytes; where None, up to the end.
        more_body: whether more of the body follows; default False.
    """

    type: str
    file: Any
    offset: int | None
    count: int | None
    more_body: bool


class ZeroCopyProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the extension. Of one response, one more descriptor is open while it is sent."""

    stall_timeout_s: ClassVar[float] = 60.0
    """Seconds after which a client that takes nothing is let go."""

    _transfers: ClassVar[int] = 0
    """Number of files that are being sent now, on all connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._application = self.app
        self.app = self._run

    def on_message_begin(self) -> None:
        """Offer the extension, except where the bytes would have to be encrypted on their way."""
        super().on_message_begin()
        if self.scheme == "http":
            cast("dict[str, Any]", self.scope).setdefault("extensions", {})[EXTENSION] = {}

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; in the middle of a body that would be a lie, so there only the connection ends."""
        if self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
        else:
            self.transport.close()

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application for one request: the root of uvicorn's task, as far as it is ours."""
        cycle: RequestResponseCycle = send.__self__

        async def send_any(message: Any) -> None:
            if message["type"] == EXTENSION:
                await self._zero_copy(cycle, message)
            else:
                if self.flow.write_paused:
                    await self._drain()
                await send(message)

        try:
            await self._application(scope, receive, send_any)
        except ClientGone:
            self.transport.abort()
        except asyncio.CancelledError:  # by uvicorn, whose patience at shutdown is over; it would log a stack trace
            self.transport.close()
        if cycle.response_started and not cycle.response_complete:
            self.transport.close()
        if self.transport.is_closing():
            cycle.disconnected = True

    async def _zero_copy(self, cycle: RequestResponseCycle, message: ZeroCopySend) -> None:
        if cycle.disconnected:
            raise ClientGone("the connection is closed")  # maybe before the head, which is dropped then
        if not cycle.response_started or cycle.response_complete:
            raise RuntimeError(f"{EXTENSION} belongs between a response's start and its end")
        fd = message["file"] if isinstance(message["file"], int) else message["file"].fileno()
        given = message.get("offset")
        offset = os.lseek(fd, 0, os.SEEK_CUR) if given is None else given
        asked = message.get("count")
        count = max(0, os.fstat(fd).st_size - offset) if asked is None else asked
        if count and cycle.scope["method"] != "HEAD":
            await self._send_file(cycle, fd, offset, count)
        if given is None:
            os.lseek(fd, offset + count, os.SEEK_SET)
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    async def _send_file(self, cycle: RequestResponseCycle, fd: int, offset: int, count: int) -> None:
        """Send a part of a file as a part of the body, framed as the head has announced."""
        if cycle.chunked_encoding:
            self._write(b"%x\r\n" % count)
        elif count > cycle.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        else:
            cycle.expected_content_length -= count
        try:
            await self._flush()
            await self._transfer(fd, offset, count)
        except ConnectionError as error:
            raise ClientGone(str(error)) from error
        if cycle.chunked_encoding:
            self._write(b"\r\n")

    def _write(self, frame: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(frame)

    async def _flush(self) -> None:
        """Wait until all that was written to the transport is with the kernel."""
        self._ensure_open()
        self.transport.set_write_buffer_limits(high=0)
        if self.flow.write_paused:
            await self._drain()
        self._ensure_open()
        self.transport.set_write_buffer_limits()

    async def _drain(self) -> None:
        await self._progress(self.flow.drain())

    async def _transfer(self, fd: int, offset: int, count: int) -> None:
        """Send past the transport."""
        peer = os.dup(self.transport.get_extra_info("socket").fileno())
        ZeroCopyProtocol._transfers += 1
        try:
            if count > _INLINE_BYTES and ZeroCopyProtocol._transfers <= _THREADS:
                ended = threading.Event()
                work = self.loop.run_in_executor(_senders, self._send_all, peer, fd, offset, count, ended)
                await to_its_end(work, ended.set)
                return
            stop = offset + count
            while offset < stop:
                self._ensure_open()
                sent, full = await self._push(peer, fd, offset, stop - offset)
                offset += sent
                if full:
                    await self._writable(peer)
                elif offset < stop:
                    await asyncio.sleep(0)
        finally:
            ZeroCopyProtocol._transfers -= 1
            os.close(peer)

    async def _push(self, peer: int, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send what the socket takes now of the next bytes; return how many went, and whether it is full."""
        near = min(count, _INLINE_BYTES)
        if ZeroCopyProtocol._transfers <= _THREADS and resident(fd, offset, near):
            return _push(peer, fd, offset, near)
        return await in_thread(_push, peer, fd, offset, min(count, _BURST_BYTES))

    def _send_all(self, peer: int, fd: int, offset: int, count: int, ended: threading.Event) -> None:
        """Send all of it, waiting for the client as need be; blocks, and ends early once `ended` is set."""
        poll = select.poll()
        poll.register(peer, select.POLLOUT)
        stop, waited_s = offset + count, 0.0
        while offset < stop and not ended.is_set():
            sent, full = _push(peer, fd, offset, stop - offset)
            offset += sent
            if not full:
                continue
            if poll.poll(_POLL_MS):
                waited_s = 0.0
            elif (waited_s := waited_s + _POLL_MS / 1000) >= self.stall_timeout_s:
                raise ClientGone(f"the client has taken nothing for {self.stall_timeout_s} s")

    async def _writable(self, peer: int) -> None:
        """Wait until the socket takes bytes again."""
        writable = asyncio.Event()
        self.loop.add_writer(peer, writable.set)
        try:
            await self._progress(writable.wait())
        finally:
            self.loop.remove_writer(peer)

    async def _progress(self, event: Awaitable[object]) -> None:
        """Wait for the client to take something, but not for ever."""
        try:
            async with asyncio.timeout(self.stall_timeout_s):
                await event
        except TimeoutError:
            raise ClientGone(f"the client has taken nothing for {self.stall_timeout_s} s") from None

    def _ensure_open(self) -> None:
        if self.transport.is_closing():
            raise ClientGone("the connection is closed")


def _push(peer: int, fd: int, offset: int, count: int) -> tuple[int, bool]:
    """Send until `count` bytes are gone or the socket is full; return how many went, and whether it is full."""
    sent = 0
    while sent < count:
        try:
            moved = os.sendfile(peer, fd, offset + sent, count - sent)
        except BlockingIOError:
            return sent, True
        if not moved:
            raise ended_early(offset + sent, offset + count)
        sent += moved
    return sent, False
