"""Receiving content from members, each transfer in a thread of its own, from the socket into the file.

Half of what receiving through an event loop costs is the loop: buffers that are joined and cut, and a turn for every
64 KiB. A thread that reads a socket into memory and writes that to the file lets go of the interpreter in both calls,
so that the loop keeps its time for gossip, and the hash runs beside it.

Connections are kept and used again. A transfer is ended from outside by shutting its socket down.
"""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ...fileio import to_its_end

T = TypeVar("T")

READ_BYTES = 1024 * 1024
GATHER_S, GATHER_MAX_S = 0.05, 0.5
"""A slow transfer is read so often at most, and some eight times in all, not for every packet: each time a thread is
woken, a file written, and readers are told. No byte waits for longer than the second."""

_READS = 8

CONNECT_S = 2.0
SILENCE_S = 60.0
"""The last resort: whoever watches a transfer ends a silent one much sooner."""

_DIRECT_THREADS, _WAITING_THREADS = 64, 96
"""What may wait for another node's flight has threads of its own, and leaves some for what others wait for here: else
nodes could wait for each other in a circle."""

_KEPT = 16
_KEPT_S = 20.0
_READ_MIN_BYTES = 64 * 1024
_HEAD_BYTES = 16 * 1024
_DRAINED_BYTES = 16 * 1024
_LENGTH = re.compile(r"[0-9]{1,19}")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-5][0-9]{2})(?: .*)?")


class Lines:
    """Connections to members, and the threads that read them."""

    def __init__(self) -> None:
        self._direct = ThreadPoolExecutor(_DIRECT_THREADS, thread_name_prefix="receive")
        self._waiting = ThreadPoolExecutor(_WAITING_THREADS, thread_name_prefix="receive from homes")
        self._kept: dict[tuple[str, int], list[tuple[float, Line]]] = {}

    def close(self) -> None:
        """Drop all connections; transfers end."""
        for threads in (self._direct, self._waiting):
            threads.shutdown(wait=False, cancel_futures=True)
        for lines in self._kept.values():
            for _, line in lines:
                line.close()
        self._kept.clear()

    def expire(self) -> None:
        """Close connections that were kept for long, as those to members that have gone are."""
        oldest = time.monotonic() - _KEPT_S
        for address, kept in list(self._kept.items()):
            while kept and kept[0][0] < oldest:
                kept.pop(0)[1].close()
            if not kept:
                del self._kept[address]

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

    async def run(self, line: "Line", work: Callable[[], T], *, waiting: bool = False) -> T:
        """Run blocking work on a connection in a thread; return when the thread is done, also when cancelled.

        The file that it writes to is thereby never closed under it. Work that no thread has begun is dropped.

        Args:
            line: the connection.
            work: what to do.
            waiting: whether it may wait for another node's flight.
        """
        begun = (self._waiting if waiting else self._direct).submit(work)

        def stop() -> None:
            line.hang_up()
            begun.cancel()

        return await to_its_end(asyncio.wrap_future(begun), stop)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer.

    Args:
        status: as in HTTP.
        headers: by lower-case name; of several by one name the last.
    """

    status: int
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, text: bytes) -> "Head":
        """Read a status line and headers, without the empty line; raise BadAnswer where they are none."""
        first, *lines = text.decode("latin-1").split("\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise BadAnswer(f"an answer that begins with {first[:60]!r}")
        odd = next(filter(_FORBIDDEN.search, (first, *lines)), None)
        if odd is not None:
            raise BadAnswer(f"an answer with control characters in its head: {odd[:60]!r}")
        fields = (line.partition(":") for line in lines)
        return cls(int(match[1]), {name.strip().lower(): value.strip() for name, _, value in fields})

    @property
    def length(self) -> int | None:
        """The length of the body; None where it has none that is told, as one in chunks."""
        text = self.headers.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) and "transfer-encoding" not in self.headers else None


class BadAnswer(Exception):
    """What came is no answer by HTTP/1.1 (RFC 9112), or what is to be asked is no request."""


class Line:
    """One connection, used by one transfer at a time. All but `hang_up`, `idle` and `close` block."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._sock: socket.socket | None = None
        self._begun = b""
        """What came of the body together with the head."""
        self._left: int | None = 0
        """Bytes of the body that have not been read; None where that is not known, and no other answer can follow."""
        self._hung_up = False

    def ask(self, target: str, headers: Mapping[str, str]) -> Head:
        """Send a GET request, and wait for the head of the answer; a kept connection that was closed is opened anew.

        Raises:
            OSError: no connection, or no answer.
            BadAnswer: it is none, or the host, the target or a header is none that can be sent.
        """
        try:
            request = _request(target, headers)
            if self._sock is not None:
                with contextlib.suppress(ConnectionError):
                    return self._ask(self._sock, request)
                self._sock.close()
                self._sock = None
            return self._ask(self._connect(), request)
        except (ValueError, OverflowError) as error:  # of encoding it, or of the host's name or the port
            raise BadAnswer(f"cannot be asked: {error}") from error

    def _connect(self) -> socket.socket:
        sock = self._sock = socket.create_connection(self._address, CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(SILENCE_S)  # that it polls before it reads matters, too: see _read
        return sock

    def _ask(self, sock: socket.socket, request: bytes) -> Head:
        if self._hung_up:
            raise ConnectionAbortedError("given up")
        self._left = None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        sock.sendall(request)
        text = b""
        while (end := text.find(b"\r\n\r\n")) < 0:
            part = sock.recv(_HEAD_BYTES)
            text += part
            if not part:
                raise ConnectionResetError("closed before an answer")
            if len(text) > _HEAD_BYTES:
                raise BadAnswer(f"an answer whose head has more than {_HEAD_BYTES} bytes")
        head = Head.parse(text[:end])
        self._begun = text[end + 4 :]
        self._left = head.length
        return head

    def pour(self, put: Callable[[int, bytes], None], offset: int, count: int) -> int:
        """Read the body, and put it where it belongs; return how much of `count` came.

        Args:
            put: takes what came, and where it belongs.
            offset: where the body begins.
            count: how long it is.

        Raises:
            OSError: the connection failed.
        """
        stop, enough, began_at = offset + count, 1, time.monotonic()
        while offset < stop and (part := self._read(min(enough, stop - offset), stop - offset)):
            put(offset, part)
            offset += len(part)
            now = time.monotonic()
            rate = len(part) / max(now - began_at, 1e-6)
            enough = int(min(READ_BYTES / 2, max(1, rate * GATHER_S, min(count / _READS, rate * GATHER_MAX_S))))
            began_at = now
        return count - (stop - offset)

    def drain(self) -> None:
        """Read the rest of a short body, so that the connection can be used again."""
        while self._left and self._left <= _DRAINED_BYTES and self._read(1, self._left):
            pass

    def _read(self, enough: int, most: int) -> bytes:
        """The next bytes of the body: some, and at least `enough` of them unless it ends before; none at its end.

        Polling waits for so many bytes. Reading alone would take some and then wait for as many once more.
        Source: socket(7), SO_RCVLOWAT.
        """
        assert self._sock is not None
        if self._begun:
            part, self._begun = self._begun[:most], self._begun[most:]
        else:
            part = self._receive(self._sock, enough, min(most, max(2 * enough, _READ_MIN_BYTES)))
        if self._left is not None:
            self._left = self._left - len(part) if part else None
        return part

    @staticmethod
    def _receive(sock: socket.socket, enough: int, most: int) -> bytes:
        """Wait for so many bytes, but not long where fewer are here: who sends them may wait for the rest itself."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
        if enough > 1:
            sock.settimeout(GATHER_MAX_S)
            try:
                return sock.recv(most)
            except TimeoutError:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            finally:
                sock.settimeout(SILENCE_S)
        return sock.recv(most)

    @property
    def idle(self) -> bool:
        """Whether it can take another request."""
        return self._left == 0 and not self._hung_up and self._sock is not None

    def hang_up(self) -> None:
        """End a transfer from outside: the thread that waits for it wakes up."""
        self._hung_up = True
        sock = self._sock  # the thread may let go of it meanwhile
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._hung_up = True
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _request(target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request; raise ValueError where something would not be one line of it."""
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(map(_FORBIDDEN.search, lines)):
        raise ValueError("a request with control characters in its head")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
