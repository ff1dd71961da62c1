"""TLS at the peer listener: who speaks it, the handshake, and a transport that lets threads send files.

asyncio's own TLS takes every byte of a blob through the event loop, which gossip then waits for. Here the loop carries
heads and small bodies, and a thread takes the connection over while it sends a long part of a file (`LentSocket`).

A stranger costs a descriptor until its handshake is over or its time is up: the steps of a handshake run in threads,
which never wait for the other end. Where the kernel encrypts, files go by sendfile, as without TLS.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from ..channels import PeerTls, tls_problem
from ..channels.contexts import Channels
from ..fileio import ended_early, to_its_end
from ..settings import ChannelSettings

TLS_BYTE: Final = b"\x16"
"""The first byte of TLS, a handshake record; no request of HTTP begins with it. Source: RFC 8446 section 5.1."""
MEMBER_NAMES: Final = "member_names"
"""What `get_extra_info` calls the function that gives the names that the other end has proven."""
LEND: Final = "lend"
"""What `get_extra_info` calls the function that hands the connection to a thread."""

_READ_BYTES: Final = 64 * 1024
_READS_MAX: Final = 16
"""Records that are read in one turn of the loop, so that one member cannot keep others from running."""
_FILE_BYTES: Final = 64 * 1024
"""Bytes of a file that are read at a time, to be encrypted: four records. It is memory for each transfer under way, of
which there may be some hundred; with 256 KiB a thread is 3 % faster."""
_SLICE_BYTES: Final = 64 * 1024
"""Bytes that wait to be sent which the TLS library gets at a time, four records. It does not say how much of a longer
part has left until all has, and a connection on which nothing seems to leave is closed."""
_BUFFER_HIGH_BYTES: Final = 64 * 1024
"""Bytes that wait to be sent, from which on the protocol is told to pause: as asyncio's own transports."""

_CLEAR_TEXT_REFUSED: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\n"
    b"members of a cluster speak TLS"
)
"""For whoever tries it with an ordinary client."""

_SOL_TLS: Final = 282
_TLS_TX: Final = 1
"""The option that tells whether the kernel encrypts. Source: linux/socket.h, linux/tls.h."""

_handshakes = ThreadPoolExecutor(2, thread_name_prefix="handshake")


class HandshakeFailed(ConnectionError):
    """The other end is none that may speak here; the message says why."""


class Acceptance:
    """Makes a transport of an accepted connection: over TLS if the other end speaks it.

    Args:
        channels: say what is accepted, and how.
        settings: bound the time until the protocol has the connection.
    """

    def __init__(self, channels: Channels, settings: ChannelSettings | None = None) -> None:
        self._channels = channels
        self._settings = settings or ChannelSettings()

    async def __call__(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        """Hand a connection to a protocol.

        Args:
            sock: of the connection, not blocking. It belongs to the protocol's transport, or is closed.
            protocol: takes what is sent, decrypted.

        Raises:
            HandshakeFailed: the other end is none that may speak here.
            OSError: the connection is gone.
        """
        context = self._channels.server
        if context is not None:
            limit_s = self._settings.handshake_s
            opened = sock
            try:
                async with asyncio.timeout(limit_s):
                    first = await _first_byte(sock)
                    if first == TLS_BYTE:
                        opened = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                        await _shake_hands(opened)
                        TlsTransport(opened, protocol, partial(self._channels.proven, opened.getpeercert()))
                        return
                    if self._channels.step is PeerTls.ON:
                        with contextlib.suppress(OSError):
                            sock.recv(_READ_BYTES)  # closing with bytes unread would take the answer back
                            sock.send(_CLEAR_TEXT_REFUSED if first else b"")
                        raise HandshakeFailed("it speaks clear text; --peer-tls prefer accepts that")
            except TimeoutError:
                opened.close()
                raise HandshakeFailed(f"it did not say within {limit_s:g} s who it is") from None
            except BaseException:
                opened.close()
                raise
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)


async def _first_byte(sock: socket.socket) -> bytes:
    """The first byte that a connection sends, which stays to be read; none if it is closed instead."""
    while True:
        try:
            return sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _ready(sock, to_write=False)


async def _shake_hands(encrypted: ssl.SSLSocket) -> None:
    """Carry out the server's half of a handshake."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            # To its end, also when the time is up: else the descriptor would be closed under the thread.
            waits_to_write = await to_its_end(loop.run_in_executor(_handshakes, _step, encrypted))
        except ssl.SSLError as error:
            raise HandshakeFailed(tls_problem(error)) from error
        if waits_to_write is None:
            return
        await _ready(encrypted, to_write=waits_to_write)


def _step(encrypted: ssl.SSLSocket) -> bool | None:
    """Go on with a handshake until the other end is to send, or to take something; None: it is complete."""
    try:
        encrypted.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLWantWriteError:
        return True
    return None


async def _ready(sock: socket.socket, *, to_write: bool) -> None:
    """Wait until a socket can be read, or written to."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    add(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(sock.fileno())


class TlsTransport(asyncio.Transport):
    """An encrypted connection, for a protocol of asyncio.

    Args:
        encrypted: the connection after its handshake, not blocking; the transport closes it.
        protocol: told of it at once.
        proven: gives the names that the other end has proven, in lower case.
    """

    def __init__(
        self, encrypted: ssl.SSLSocket, protocol: asyncio.Protocol, proven: Callable[[], frozenset[str]]
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._sock = encrypted
        self._protocol = protocol
        self._extra = {
            "socket": encrypted,
            "peername": encrypted.getpeername(),
            "sockname": encrypted.getsockname(),
            "sslcontext": encrypted.context,
            "cipher": encrypted.cipher(),
            MEMBER_NAMES: proven,
            LEND: self._lend,
        }
        self._fd = encrypted.fileno()
        self._waiting = bytearray()
        """Bytes that wait until the socket takes them."""
        self._high = _BUFFER_HIGH_BYTES
        self._has_paused_protocol = False
        self._reads, self._wants_reads = False, True
        """Whether the loop watches for bytes, and whether the protocol wants them."""
        self._is_lent = self._closing = self._has_ended = False
        protocol.connection_made(self)
        self._watch()

    # What a protocol asks for

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._extra.get(name, default)

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._closing

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._wants_reads = False
        self._watch()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._wants_reads = True
        self._watch()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`; the protocol goes on once all is sent, so `low` means nothing."""
        self._high = _BUFFER_HIGH_BYTES if high is None else high
        self._tell_protocol()

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        return len(self._waiting)

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Send some bytes, or keep them until the socket takes them."""
        if self._closing or not content:
            return
        self._waiting += content
        if len(self._waiting) == len(content) and not self._is_lent:
            self._send()

    def close(self) -> None:
        """Send what waits, then close."""
        if self._closing:
            return
        self._closing = True
        self._watch()
        if not self._waiting and not self._is_lent:
            self._end(None)

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._waiting.clear()
        if self._is_lent:  # the thread that has it finds out, and gives it back
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        else:
            self._end(None)

    # The socket

    def _watch(self) -> None:
        """Watch for bytes if the protocol wants them, and the socket is ours."""
        reads = self._wants_reads and not (self._is_lent or self._closing)
        if reads and not self._reads:
            self._loop.add_reader(self._fd, self._on_readable)
            self._loop.call_soon(self._on_readable)  # what is decrypted already makes no socket readable
        elif self._reads and not reads:
            self._loop.remove_reader(self._fd)
        self._reads = reads

    def _on_readable(self) -> None:
        for _ in range(_READS_MAX):
            if not self._reads:
                return
            try:
                received = self._sock.recv(_READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._end(error)
                return
            if not received:
                self._protocol.eof_received()
                self.close()
                return
            self._protocol.data_received(received)
        self._loop.call_soon(self._on_readable)

    def _send(self) -> None:
        """Send what waits, as far as the socket takes it; then close, if that was asked for."""
        try:
            while self._waiting:
                sent = self._sock.send(self._waiting[:_SLICE_BYTES])
                del self._waiting[:sent]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._loop.add_writer(self._fd, self._on_writable)
        except OSError as error:
            self._end(error)
            return
        if self._closing and not self._waiting:
            self._end(None)
        else:
            self._tell_protocol()

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._fd)
        self._send()

    def _tell_protocol(self) -> None:
        """Have the protocol pause while too much waits."""
        waits = len(self._waiting)
        if waits > self._high and not self._has_paused_protocol:
            self._has_paused_protocol = True
            self._protocol.pause_writing()
        elif not waits and self._has_paused_protocol:
            self._has_paused_protocol = False
            self._protocol.resume_writing()

    def _end(self, error: Exception | None) -> None:
        if self._has_ended:
            return
        self._has_ended = self._closing = True
        self._waiting.clear()
        self._watch()
        self._loop.remove_writer(self._fd)
        if error is None:
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()  # says goodbye, and does not wait for the answer
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()

    # Lending

    def _lend(self) -> "LentSocket | None":
        """Hand the connection to whoever sends a file; None if the kernel encrypts, so that sendfile can send it."""
        if kernel_encrypts(self._sock):
            return None
        self._is_lent = True
        self._watch()
        return LentSocket(self._sock, self._take_back)

    def _take_back(self, in_order: bool) -> None:
        """Go on with the connection; one whose last record is not complete cannot be used any more."""
        self._is_lent = False
        if in_order:
            self._watch()
            self._send()
        else:
            self._end(ConnectionAbortedError("a file was not sent to its end"))


class LentSocket:
    """An encrypted connection in the hands of one thread at a time, which sends a file.

    Args:
        encrypted: the connection; not blocking.
        give_back: called in the loop at the end, with whether the connection is in order.
    """

    def __init__(self, encrypted: ssl.SSLSocket, give_back: Callable[[bool], None]) -> None:
        self._sock = encrypted
        self._give_back = give_back
        self._buffer = self._unsent = memoryview(b"")
        """What was read, and not sent: the TLS library has begun to, and wants the same bytes again."""

    def fileno(self) -> int:
        """The descriptor, to wait with."""
        return self._sock.fileno()

    def push(self, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send a part of a file until the socket is full; return how many bytes were sent, and whether it is full.

        Raises:
            OSError: the file ends early, or the connection is gone.
        """
        sent = 0
        while sent < count:
            if not self._unsent:
                self._unsent = self._read(fd, offset + sent, count - sent)
            try:
                taken = self._sock.send(self._unsent)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return sent, True
            except ssl.SSLError as error:
                raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
            self._unsent = self._unsent[taken:]
            sent += taken
        return sent, False

    def _read(self, fd: int, offset: int, count: int) -> memoryview:
        if len(self._buffer) < min(count, _FILE_BYTES):
            self._buffer = memoryview(bytearray(min(count, _FILE_BYTES)))
        got = os.preadv(fd, [self._buffer[:count]], offset)
        if not got:
            raise ended_early(offset, offset + count)
        return self._buffer[:got]

    def close(self) -> None:
        """Give the connection back; called in the loop, when no thread uses it."""
        self._give_back(not self._unsent)


def kernel_encrypts(sock: socket.socket) -> bool:
    """Whether the kernel encrypts what is sent: then sendfile may be used as on any connection."""
    try:
        return bool(sock.getsockopt(_SOL_TLS, _TLS_TX, 4))
    except OSError:
        return False
