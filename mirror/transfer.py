"""Receiving content from members, each transfer in a thread of its own, from the socket into the file.

Half of what receiving through an event loop costs is the loop: buffers that are joined and cut, and a turn for every
64 KiB. A thread that reads a socket into memory and writes that to the file lets go of the interpreter in both calls, so
that the loop keeps its time for gossip, and the hash runs beside it.

Connections are kept and used again. A transfer is ended from outside by shutting its socket down.
"""

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .errors import NoRoom
from .pagecache import write_all

T = TypeVar("T")

READ_BYTES = 1024 * 1024
GATHER_S, GATHER_MAX_S = 0.05, 0.5
"""A slow transfer is read so often at most, and some 16 times in all, not for every packet: each time a thread is woken,
a file written and readers told. No byte waits for longer than the second."""

_READS = 16

CONNECT_S = 2.0
SILENCE_S = 60.0
"""The last resort: whoever watches a transfer ends a silent one much sooner."""

_THREADS = 128
_KEPT = 16
_KEPT_S = 20.0
_RECEIVE_BUFFER = 1024 * 1024


class Lines:
    """Connections to members, and the threads that read them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="receive")
        self._kept: dict[tuple[str, int], list[tuple[float, Line]]] = {}

    def close(self) -> None:
        """Drop all connections; transfers end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for lines in self._kept.values():
            for _, line in lines:
                line.close()
        self._kept.clear()

    @contextlib.contextmanager
    def line(self, host: str, port: int) -> Iterator["Line"]:
        """A connection, an old one if there is; it is kept if its answer was read to the end."""
        kept = self._kept.setdefault((host, port), [])
        now = time.monotonic()
        while kept and (kept[-1][0] < now - _KEPT_S or not kept[-1][1].idle):
            kept.pop()[1].close()
        line = kept.pop()[1] if kept else Line(host, port)
        try:
            yield line
        finally:
            kept = self._kept.setdefault((host, port), [])  # others may have dropped the list meanwhile
            if line.idle and len(kept) < _KEPT:
                kept.append((time.monotonic(), line))
            else:
                line.close()
            if not kept:
                self._kept.pop((host, port), None)

    async def run(self, line: "Line", work: Callable[[], T]) -> T:
        """Run blocking work on a connection in a thread; return when the thread is done, also when cancelled.

        The file that it writes to is thereby never closed under it.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        return await _to_its_end(future, line.hang_up)


class Line:
    """One connection, used by one transfer at a time. All but `hang_up` and `idle` block."""

    def __init__(self, host: str, port: int) -> None:
        self._http = http.client.HTTPConnection(host, port, CONNECT_S)
        self._answer: http.client.HTTPResponse | None = None
        self._hung_up = False
        self.used = False

    def ask(self, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a GET request, and wait for the head of the answer; a kept connection that was closed is opened anew."""
        reused = self._http.sock is not None
        try:
            return self._ask(target, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not reused or self._hung_up:
                raise
        self._http.close()
        return self._ask(target, headers)

    def _ask(self, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if self._http.sock is None:
            self._http.connect()  # which turns Nagle's algorithm off
        if self._hung_up:
            raise ConnectionAbortedError("given up")
        self._await_bytes(1)
        self._http.sock.settimeout(SILENCE_S)
        self._http.putrequest("GET", target, skip_accept_encoding=True)
        for name, value in headers.items():
            self._http.putheader(name, value)
        self._http.endheaders()
        self._answer = self._http.getresponse()
        return self._answer

    def pour(self, fd: int, offset: int, count: int, arrived: Callable[[int], None]) -> int:
        """Write the body to a file; return how much of `count` came.

        Args:
            fd: of the file.
            offset: where the body belongs.
            count: how long it is.
            arrived: is told the end of what has been written, after each write.
        """
        assert self._answer is not None
        stop, enough, began_at = offset + count, 1, time.monotonic()
        while offset < stop:
            self._await_bytes(min(enough, stop - offset))
            part = self._answer.read1(min(READ_BYTES, stop - offset))
            if not part:
                break
            _write(fd, part, offset)
            offset += len(part)
            arrived(offset)
            now = time.monotonic()
            rate = len(part) / max(now - began_at, 1e-6)
            enough = int(min(READ_BYTES / 2, max(1, rate * GATHER_S, min(count / _READS, rate * GATHER_MAX_S))))
            began_at = now
        if offset == stop:
            self.done()
        return count - (stop - offset)

    def _await_bytes(self, count: int) -> None:
        """Have the next read wait for so many bytes, as far as so many are to come. Source: socket(7), SO_RCVLOWAT."""
        self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def done(self) -> None:
        """The answer has no more that matters: the connection can be used again if it was read to its end."""
        answer, self._answer = self._answer, None
        if answer is not None:
            if not answer.isclosed() and answer.length:
                self._hung_up = True
            answer.close()

    @property
    def idle(self) -> bool:
        """Whether it can take another request."""
        return self._answer is None and not self._hung_up and self._http.sock is not None

    def hang_up(self) -> None:
        """End a transfer from outside: the thread that waits for it wakes up."""
        self._hung_up = True
        sock = self._http.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._hung_up = True
        self._http.close()


def _write(fd: int, part: bytes, offset: int) -> None:
    """Write all of it; raise NoRoom where the disk does not take it."""
    try:
        write_all(fd, [part], offset)
    except OSError as error:
        raise NoRoom(f"the cache's disk failed: {error.strerror}") from error


async def _to_its_end(work: Awaitable[T], stop: Callable[[], None]) -> T:
    """Wait for work whose thread cannot be cancelled; when this is, have it stopped, and wait all the same."""
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # nobody is left to hear of it
        raise cancelled
    return future.result()
