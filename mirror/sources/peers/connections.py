"""Connections to members, and the threads that read content from them.

Each download has a thread of its own, which reads a socket into memory and writes that to the file. Half of what it
costs to receive through an event loop is the loop: buffers that are joined and cut, and a turn for every 64 KiB. A
thread releases the interpreter in both calls. So the loop keeps its time for gossip, and hashing runs beside it.

With TLS a read gives one record of 16 KiB, so a thread collects many of them before it writes.

Connections are kept and used again. A download is ended from outside by shutting its socket down.

Source: RFC 9112, as far as a client needs it that sends GET and reads bodies with a Content-Length.
"""

import asyncio
import contextlib
import math
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ...channels import Channel
from ...fileio import to_its_end
from ...settings import PeerSettings
from .. import Role

T = TypeVar("T")
Place = tuple[str, int, Channel | None]
"""Whom a connection is to: host, port, and how TLS is spoken; None for clear text."""

_LENGTH = re.compile(r"[0-9]{1,19}")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_RECORD_BYTES = 17 * 1024
"""The longest record of TLS with its head: as much may have left the kernel and still be incomplete."""
_LAST_RECEIVED_AT = 52
"""Where in the kernel's answer to TCP_INFO stands how long ago the last byte came, milliseconds, in 4 bytes."""
_ROUND_TRIP_AT = 68
"""Where in it stand the smoothed round trip of a packet and then its deviation, microseconds, in 4 bytes each."""
_UINT32, _TWO_UINT32 = struct.Struct("=I"), struct.Struct("=II")
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What shows that the other end has closed a connection that was open for a while."""
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-5][0-9]{2})(?: .*)?")


class RemoteProtocolError(Exception):
    """What the other end sent is no answer of HTTP/1.1."""


class LocalProtocolError(Exception):
    """Our own request cannot be sent: its host, its target or one of its headers is not valid."""


class ConnectionPool:
    """Connections to members, and the threads that use them.

    Args:
        settings: timeouts and bounds.
    """

    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self._direct = ThreadPoolExecutor(settings.direct_threads, thread_name_prefix="receive")
        self._waiting = ThreadPoolExecutor(settings.waiting_threads, thread_name_prefix="receive from homes")
        self._idle: dict[Place, list[tuple[float, Connection]]] = {}
        """Unused connections by place, each with the monotonic time of its last use; the newest comes last."""

    @property
    def idle_count(self) -> int:
        """The number of unused connections that are kept open."""
        return sum(map(len, self._idle.values()))

    def close(self) -> None:
        """Close the unused connections, and start no more work."""
        for threads in (self._direct, self._waiting):
            threads.shutdown(wait=False, cancel_futures=True)
        for connections in self._idle.values():
            for _, connection in connections:
                connection.close()
        self._idle.clear()

    def forget(self, host: str, port: int) -> None:
        """Close the unused connections to a member that is gone: whoever asks it next finds out whether it is back."""
        for place in [place for place in self._idle if place[:2] == (host, port)]:
            for _, connection in self._idle.pop(place):
                connection.close()

    def expire(self) -> None:
        """Close connections that nobody has used for long, among them those to members that are gone."""
        oldest = time.monotonic() - self._settings.idle_connection_s
        for place, idle in list(self._idle.items()):
            while idle and idle[0][0] < oldest:
                idle.pop(0)[1].close()
            if not idle:
                del self._idle[place]

    @contextlib.contextmanager
    def connection(self, host: str, port: int, channel: Channel | None = None) -> Iterator["Connection"]:
        """A connection, an unused one if there is one; it is kept afterwards if its answer was read to the end."""
        place = (host, port, channel)
        idle = self._idle.setdefault(place, [])
        oldest = time.monotonic() - self._settings.idle_connection_s
        while idle and (idle[-1][0] < oldest or not idle[-1][1].is_idle):
            idle.pop()[1].close()
        connection = idle.pop()[1] if idle else Connection(host, port, self._settings, channel)
        try:
            yield connection
        finally:
            idle = self._idle.setdefault(place, [])  # another download may have dropped the list meanwhile
            if connection.is_idle and len(idle) < self._settings.idle_connections_max:
                idle.append((time.monotonic(), connection))
            else:
                connection.close()
            if not idle:
                self._idle.pop(place, None)

    async def run(self, connection: "Connection", work: Callable[[], T], role: Role = Role.HOLDER) -> T:
        """Run blocking work on a connection in a thread; return when the thread is done, also when cancelled.

        So the file that the thread writes to is never closed under it. When cancelled, work that no thread has begun
        yet is dropped.

        Args:
            connection: what the work uses.
            work: what to do.
            role: as what the member is asked; what may wait for another node's download has threads of its own.
        """
        begun = (self._waiting if role.waits_for_others else self._direct).submit(work)

        def stop() -> None:
            connection.abort()
            begun.cancel()

        return await to_its_end(asyncio.wrap_future(begun), stop)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer.

    Args:
        status: the status code.
        headers: by lower-case name; of several with one name the last.
    """

    status: int
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, text: bytes) -> "Head":
        """Read a status line and headers, without the empty line after them.

        Raises:
            RemoteProtocolError: the text is not that.
        """
        first, *lines = text.decode("latin-1").split("\r\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise RemoteProtocolError(f"an answer that begins with {first[:60]!r}")
        odd = next(filter(_FORBIDDEN.search, (first, *lines)), None)
        if odd is not None:
            raise RemoteProtocolError(f"an answer with control characters in its head: {odd[:60]!r}")
        fields = (line.partition(":") for line in lines)
        return cls(int(match[1]), {name.strip().lower(): value.strip() for name, _, value in fields})

    @property
    def length(self) -> int | None:
        """The length of the body in bytes; None where the head does not tell it, as for a body in chunks."""
        text = self.headers.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) and "transfer-encoding" not in self.headers else None


class Connection:
    """One connection, used by one download at a time. All but `abort`, `is_idle` and `close` block.

    Args:
        host: IP address of the other end.
        port: its TCP port.
        settings: timeouts and bounds.
        channel: how TLS is spoken; None for clear text.
    """

    def __init__(self, host: str, port: int, settings: PeerSettings, channel: Channel | None = None) -> None:
        self._address = (host, port)
        self._settings = settings
        self._channel = channel
        self._sock: socket.socket | None = None
        self._early = b""
        """Bytes of the body that came together with the head."""
        self._left: int | None = 0
        """Bytes of the body that have not been read; None where that is not known, and no other answer can follow."""
        self._buffer = memoryview(b"")
        """Where records are collected while a body is read."""
        self._aborted = False

    def get(self, target: str, headers: Mapping[str, str]) -> Head:
        """Send a GET request, and wait for the head of the answer; an old connection that was closed is opened again.

        Raises:
            OSError: no connection, or no answer.
            RemoteProtocolError: what came is no answer.
            LocalProtocolError: the host, the target or a header cannot be sent.
        """
        try:
            request = _request(target, headers)
            if self._sock is not None:
                with contextlib.suppress(*_CLOSED):
                    return self._exchange(self._sock, request)
                self._sock.close()
                self._sock = None
            return self._exchange(self._connect(), request)
        except ssl.SSLError:  # some are a ValueError as well
            raise
        except (ValueError, OverflowError) as error:  # from encoding the request, the host's name or the port
            raise LocalProtocolError(f"the request cannot be sent: {error}") from error

    def _connect(self) -> socket.socket:
        self._left = None  # until it is connected, it is of no use to anybody else
        sock = self._sock = self._open()
        if self._aborted:
            raise ConnectionAbortedError("given up")
        sock.settimeout(self._settings.connect_s)
        sock.connect(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._channel is not None:
            context, name = self._channel.context, self._channel.name
            encrypted = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
            sock = self._sock = encrypted
            if self._aborted:
                raise ConnectionAbortedError("given up")
            encrypted.do_handshake()
        sock.settimeout(self._settings.read_s)  # with a timeout, Python polls before it reads: see _read
        return sock

    def _open(self) -> socket.socket:
        """A socket that is not connected yet, so that `abort` ends the wait for its connection as well."""
        host, port = self._address
        family, kind, protocol, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.socket(family, kind, protocol)

    def _exchange(self, sock: socket.socket, request: bytes) -> Head:
        if self._aborted:
            raise ConnectionAbortedError("given up")
        self._left = None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        sock.sendall(request)
        most, text = self._settings.head_max_bytes, b""
        while (end := text.find(b"\r\n\r\n")) < 0:
            part = sock.recv(most)
            text += part
            if not part:
                raise ConnectionResetError("closed before an answer")
            if len(text) > most:
                raise RemoteProtocolError(f"an answer whose head has more than {most} bytes")
        head = Head.parse(text[:end])
        self._early = text[end + 4 :]
        self._left = head.length
        return head

    def read_body(self, put: Callable[[int, bytes | memoryview], None], offset: int, count: int) -> int:
        """Read the body, and put it where it belongs; return how many of `count` bytes came.

        Args:
            put: takes the offset of what came, and the bytes, which are good until it returns.
            offset: where the body begins.
            count: how long it is, in bytes.

        Raises:
            OSError: the connection failed.
        """
        settings = self._settings
        stop, enough, began_at = offset + count, 1, time.monotonic()
        while offset < stop and (part := self._read(min(enough, stop - offset), stop - offset)):
            put(offset, part)
            offset += len(part)
            now = time.monotonic()
            rate = len(part) / max(now - began_at, 1e-6)
            collected = min(count / settings.gather_parts, rate * settings.gather_max_s)
            enough = int(min(settings.read_bytes / 2, max(1, rate * settings.gather_s, collected)))
            began_at = now
        self._buffer = memoryview(b"")
        return count - (stop - offset)

    def drain(self) -> None:
        """Read the rest of a short body, so that the connection can be used again."""
        while self._left and self._left <= self._settings.drained_max_bytes and self._read(1, self._left):
            pass

    def _read(self, enough: int, most: int) -> bytes | memoryview:
        """The next bytes of the body: at least `enough` unless the body ends before, at most `most`; none at its end.

        SO_RCVLOWAT makes the poll before a read wait for that many bytes. A read without a poll would take what is
        there and then wait for as many again.
        Source: socket(7), SO_RCVLOWAT.
        """
        assert self._sock is not None
        part: bytes | memoryview
        if self._early:
            part, self._early = self._early[:most], self._early[most:]
        else:
            part = self._receive(self._sock, enough, min(most, max(2 * enough, self._settings.read_min_bytes)))
        if self._left is not None:
            self._left = self._left - len(part) if part else None
        return part

    def _receive(self, sock: socket.socket, enough: int, most: int) -> bytes | memoryview:
        """Wait for `enough` bytes, but not long where fewer are here: the sender itself may wait for the rest."""
        if isinstance(sock, ssl.SSLSocket):
            return self._receive_records(sock, enough, most)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
        if enough > 1:
            sock.settimeout(self._settings.gather_max_s)
            try:
                return sock.recv(most)
            except TimeoutError:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            finally:
                sock.settimeout(self._settings.read_s)
        return sock.recv(most)

    def _receive_records(self, sock: ssl.SSLSocket, enough: int, most: int) -> memoryview:
        """The same for TLS: collect records until there are `enough` bytes, or the time is up.

        The socket does not block meanwhile, so that only a read that finds nothing costs more than its record.
        """
        most = min(most, enough + _RECORD_BYTES)
        if len(self._buffer) < most:
            self._buffer = memoryview(bytearray(most))
        content, count, settings = self._buffer[:most], 0, self._settings
        until = time.monotonic() + settings.gather_max_s
        sock.settimeout(0)
        try:
            while count < enough:
                try:
                    received = sock.recv_into(content[count:])
                except ssl.SSLWantReadError:
                    wait_s = max(0.0, until - time.monotonic()) if enough > 1 else settings.read_s
                    if _wait(sock, max(1, enough - count - _RECORD_BYTES), wait_s):
                        continue
                    if count:
                        break
                    if enough == 1:
                        raise TimeoutError("the member sent nothing for too long") from None
                    enough = 1
                    continue
                if not received:
                    break
                count += received
        finally:
            sock.settimeout(settings.read_s)
        return content[:count]

    def quiet_s(self) -> float:
        """For how long no byte has reached the kernel, s; infinite where there is no connection.

        Source: `tcpi_last_data_recv` in linux/tcp.h.
        """
        known = self._known()
        return _UINT32.unpack_from(known, _LAST_RECEIVED_AT)[0] / 1000 if known else math.inf

    def round_trip_s(self) -> float:
        """How long a packet takes there and back at most, as far as the kernel has seen, s; 0 if it has not.

        On links that are full it is many times what it is on idle ones: packets wait in queues.

        Source: RFC 6298, section 2; `tcpi_rtt` and `tcpi_rttvar` in linux/tcp.h.
        """
        known = self._known()
        smoothed, deviation = _TWO_UINT32.unpack_from(known, _ROUND_TRIP_AT) if known else (0, 0)
        return (smoothed + 4 * deviation) / 1e6 if smoothed else 0.0

    def _known(self) -> bytes:
        """What the kernel knows of the connection; nothing where there is none. Source: tcp(7), TCP_INFO."""
        sock = self._sock  # the thread may drop it meanwhile
        if sock is None:
            return b""
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP_AT + 8)
        except OSError:
            return b""

    @property
    def is_idle(self) -> bool:
        """Whether it can take another request."""
        return self._left == 0 and not self._aborted and self._sock is not None

    def abort(self) -> None:
        """End the download from outside: the thread that waits for bytes wakes up."""
        self._aborted = True
        sock = self._sock  # the thread may drop it meanwhile
        if sock is not None:
            with contextlib.suppress(OSError):
                if isinstance(sock, ssl.SSLSocket):  # its own method would also have the thread read on without TLS
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                else:
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._aborted = True
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _wait(sock: socket.socket, enough: int, wait_s: float) -> bool:
    """Wait until a socket has `enough` bytes, or has ended; return whether that came within the time."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(math.ceil(1000 * wait_s)))


def _request(target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request; raise ValueError where the target or a header would be more than one line of it."""
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(map(_FORBIDDEN.search, lines)):
        raise ValueError("a request with control characters in its head")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
