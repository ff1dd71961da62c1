"""Accepting streams: in clear text, or by TLS where the application wants that.

The packets on a stream are sealed in both cases, where the cluster has a key. TLS has a key of its own for each stream,
and lets the application decide by certificate whom it speaks to. A running cluster can change from one to the other:
who opens a stream speaks first if it speaks TLS, and else waits for the other end.
"""

import asyncio
import contextlib
import errno
import logging
import math
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from .places import Places
from .sockets import source_address

log = logging.getLogger(__name__)

_TLS_BYTE: Final = b"\x16"
"""The first byte of TLS, a handshake record. Source: RFC 8446 section 5.1."""
_TLS_SPEAKS_S: Final = 0.5
"""Seconds within which an opener that speaks TLS has begun to; one that speaks clear text waits to hear something."""
_ACCEPTS_MAX: Final = 16
"""Streams that are accepted in one turn of the loop."""
_OPENING_MAX: Final = 256
"""Streams at once that have been accepted, and are not served yet. A quarter of them is kept for members."""
_OPENING_FROM_MAX: Final = 8
"""The same of one stranger: so no single one keeps others out. What is beyond it is closed."""
_HANDSHAKES_MAX: Final = 12
"""Handshakes of TLS with strangers at once: each costs the loop half a millisecond twice, and they may all go on in one
turn of it. So a stranger that does not go on with its own holds up other strangers only."""
_HANDSHAKES_KEPT: Final = 4
"""The same with members and this machine."""
_RECORD_HEAD_BYTES: Final = 5
_RECORD_MAX_BYTES: Final = 1 << 14
"""Bytes of a record of TLS behind its head. Source: RFC 8446 section 5.1."""
OPENING_S: Final = 3.0
"""Seconds from the acceptance of a stream to the end of its handshake, at most: a lost packet's retransmission once."""
_PAUSE_S: Final = 0.5
"""Seconds without accepting when descriptors are lacking."""
_WARN_S: Final = 60.0
"""Seconds between two warnings of that."""
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


@dataclass(frozen=True, slots=True)
class StreamTls:
    """How streams are encrypted. The contexts are asked for at each stream, for certificates are renewed.

    Args:
        server: gives the context for streams that others open.
        client: gives the one for streams to others. It is not to check the name, which is not known of a seed.
        believes: whether the other end may take part, by its certificate as `SSLSocket.getpeercert` gives it.
        required: whether there are no streams in clear text.
    """

    server: Callable[[], ssl.SSLContext]
    client: Callable[[], ssl.SSLContext]
    believes: Callable[[Mapping[str, Any]], bool]
    required: bool


def drop(writer: asyncio.StreamWriter) -> None:
    """Close a stream at once, whatever it has not sent."""
    with contextlib.suppress(AttributeError):  # of asyncio's TLS before Python 3.11.4, if it was closed twice
        writer.transport.abort()


class StreamListener:
    """Accepts streams until it is closed.

    Args:
        sock: listens, and does not block; closed with the listener.
        serve: has what was accepted carried out. Not a coroutine: of that asyncio would make a task of its own, and
            report it as an error, in some versions, when it is cancelled.
        refuse: called for each stream that did not come about.
        is_member: whether a live member has that IP address.
        tls: how streams are encrypted; None: they are not.
        read_bytes: bounds what is read at once.
    """

    def __init__(
        self,
        sock: socket.socket,
        serve: Serve,
        refuse: Callable[[], None],
        is_member: Callable[[str], bool],
        tls: StreamTls | None,
        *,
        read_bytes: int,
    ) -> None:
        self._sock = sock
        self._serve = serve
        self._refuse = refuse
        self._tls = tls
        self._read_bytes = read_bytes
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._places = Places(_OPENING_MAX, is_member, _OPENING_FROM_MAX)
        self._handshakes = asyncio.Semaphore(_HANDSHAKES_MAX)
        self._handshakes_kept = asyncio.Semaphore(_HANDSHAKES_KEPT)
        self._is_open = True
        self._pauses = False
        self._warned_at = -math.inf
        self._watches = False
        self._watch()

    def close(self) -> None:
        """Accept no more streams."""
        self._is_open = False
        self._watch()
        for task in list(self._opening):
            task.cancel()
        self._sock.close()

    def _watch(self) -> None:
        """Look out for streams as long as there is room for one more."""
        wants = self._is_open and not self._pauses and self._places.taken < _OPENING_MAX
        if wants and not self._watches:
            self._loop.add_reader(self._sock.fileno(), self._accept)
        elif self._watches and not wants:
            self._loop.remove_reader(self._sock.fileno())
        self._watches = wants

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_MAX):
            if not self._watches:
                return
            try:
                accepted, name = self._sock.accept()
            except OSError as error:
                if error.errno in _FULL:
                    self._pause(error)
                return
            host = source_address(name).host
            leave = self._places.take(host)
            if leave is None:
                accepted.close()
                self._refuse()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._open(accepted, host))
            self._opening.add(task)
            task.add_done_callback(partial(self._opened, leave))
            self._watch()

    def _opened(self, leave: Callable[[], None], task: asyncio.Task[None]) -> None:
        leave()
        self._opening.discard(task)
        if self._is_open:
            self._watch()

    def _pause(self, error: OSError) -> None:
        """Accept nothing for a while, whatever ends meanwhile."""
        now = self._loop.time()
        if now - self._warned_at >= _WARN_S:
            self._warned_at = now
            log.warning("gossip cannot accept streams for a moment: %s", error.strerror)
        self._pauses = True
        self._watch()
        self._loop.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pauses = False
        if self._is_open:
            self._watch()

    async def _open(self, accepted: socket.socket, host: str) -> None:
        """Make a stream of an accepted socket, and have it served."""
        handshakes = self._handshakes_kept if self._places.is_kept_for(host) else self._handshakes
        try:
            async with asyncio.timeout(OPENING_S):
                context = None if self._tls is None else await self._context(accepted, self._tls)
                reader = asyncio.StreamReader(limit=self._read_bytes)
                protocol = asyncio.StreamReaderProtocol(reader, self._begin)
                async with contextlib.nullcontext() if context is None else handshakes:
                    await self._loop.connect_accepted_socket(lambda: protocol, accepted, ssl=context)
        except (OSError, TimeoutError) as error:
            log.debug("gossip stream not accepted error=%s", error)
            accepted.close()
            self._refuse()
        except asyncio.CancelledError:
            accepted.close()
            raise

    async def _context(self, accepted: socket.socket, tls: StreamTls) -> ssl.SSLContext | None:
        """The context for a stream; None if the other end speaks clear text, and may."""
        try:
            async with asyncio.timeout(None if tls.required else _TLS_SPEAKS_S):
                speaks_tls = await self._peek(accepted, 1) == _TLS_BYTE
        except TimeoutError:
            return None
        if not speaks_tls:
            if tls.required:
                raise ConnectionAbortedError("it speaks clear text")
            return None
        head = await self._peek(accepted, _RECORD_HEAD_BYTES)
        record_bytes = int.from_bytes(head[-2:])
        if record_bytes > _RECORD_MAX_BYTES:
            raise ConnectionAbortedError("it does not speak TLS")
        await self._peek(accepted, _RECORD_HEAD_BYTES + record_bytes)  # who begins a handshake has said what it wants
        return tls.server()

    async def _peek(self, accepted: socket.socket, count: int) -> bytes:
        """The first bytes of a stream, when they are here; they stay there."""
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        try:
            with contextlib.suppress(BlockingIOError):
                if len(seen := accepted.recv(count, socket.MSG_PEEK)) == count:
                    return seen
            await self._readable(accepted)
            if len(seen := accepted.recv(count, socket.MSG_PEEK)) < count:
                raise ConnectionAbortedError("it ended before it began")
            return seen
        finally:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    async def _readable(self, accepted: socket.socket) -> None:
        ready = asyncio.Event()
        self._loop.add_reader(accepted.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(accepted.fileno())

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            certificate = writer.get_extra_info("peercert")
        except AttributeError:  # of asyncio's TLS before Python 3.11.4, for a stream that has gone already
            self._refuse()
            return
        if self._tls is not None and certificate is not None and not self._tls.believes(certificate):
            drop(writer)
            self._refuse()
            return
        self._serve(reader, writer)
