"""A socket that listens: takes connections in where there is a place for them, and makes a protocol object of each."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ..settings import ServerSettings
from .places import Place, Places

log = logging.getLogger(__name__)

Connect = Callable[[socket.socket, asyncio.Protocol], Awaitable[None]]
"""Makes a transport of an accepted socket, and gives it to the protocol (`connection_made`)."""

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of accept(2) that say that the machine or the process has too much open."""


async def plainly(sock: socket.socket, protocol: asyncio.Protocol) -> None:
    """Carry the bytes as they are."""
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)


class Listener:
    """Accepts connections until it is closed. It is what uvicorn takes for one of its servers.

    Args:
        sock: listens, and does not block. Whoever made it closes it.
        protocol: makes the protocol object for a connection that has a place.
        connect: makes the transport. It is cancelled when its time is over, or the connection's place is needed, and
            closes then what it has opened; before that the socket may be shut down.
        places: says who is let in.
        settings: the bounds.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[Place], asyncio.Protocol],
        connect: Connect,
        places: Places,
        settings: ServerSettings,
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self._connect_as = connect
        self._places = places
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._connecting: dict[asyncio.Task[None], socket.socket] = {}
        self._is_unix = sock.family == socket.AF_UNIX
        self._is_open = True
        self._quiet_until = -1.0
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Take no more connections, and end those that are being made; those that are open live on."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._sock.fileno())
            for task, sock in self._connecting.items():
                _hang_up(sock, task)

    async def wait_closed(self) -> None:
        """Wait until no connection is being made any more."""
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def relieve(self) -> None:
        """Close idle connections if descriptors are scarce."""
        descriptor = None
        try:
            descriptor = os.dup(self._sock.fileno())
            os.close(descriptor)
        except OSError as error:
            if error.errno not in _FULL:  # the socket is closed
                return
        self._places.relieve(descriptor, time.monotonic(), self._settings.shed_max)

    def _accept(self) -> None:
        """Take in those that wait."""
        for _ in range(self._settings.accepts_max):
            try:
                sock, address = self._sock.accept()
            except OSError as error:  # no one is left, the client has gone, or descriptors are lacking
                if error.errno in _FULL:
                    self._pause(error)
                return
            host, own = "", ""
            if not self._is_unix:
                host, own = address[0], sock.getsockname()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._arrive(sock, host, own)

    def _arrive(self, sock: socket.socket, host: str, own: str) -> None:
        """Make a connection of an accepted socket, if there is a place for it."""
        now = time.monotonic()
        place = None
        if self._places.relieve(sock.fileno(), now, 1):
            place = self._places.take(self._places.kind(host, own, now), host, sock.close, now)
        if place is None:
            sock.close()
            return
        sock.setblocking(False)
        task = self._loop.create_task(self._connect(sock, place))
        place.close = partial(_hang_up, sock, task)
        self._connecting[task] = sock
        task.add_done_callback(self._connecting.pop)

    async def _connect(self, sock: socket.socket, place: Place) -> None:
        """Give a socket a transport and a protocol object. With TLS this is where the handshake happens."""
        try:
            async with asyncio.timeout(self._settings.head_s):
                await self._connect_as(sock, self._protocol(place))
        except (OSError, TimeoutError) as error:
            log.debug("a connection that did not come about: %s", error)
            self._places.leave(place)
            sock.close()

    def _pause(self, error: OSError) -> None:
        """Leave those that wait where they are for a moment: accept(2) would fail again at once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + self._settings.complaint_s
            log.warning("no connection can be accepted for a moment: %s", error.strerror)
        self._places.relieve(None, now, self._settings.shed_max)
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(self._settings.look_s, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._sock.fileno(), self._accept)


def _hang_up(sock: socket.socket, connecting: asyncio.Task[None]) -> None:
    """End a connection whose transport is being made.

    Who reads from the socket meets its end, and closes it. If a handshake has taken the descriptor over, that is
    cancelled, and closes it. (A task that is cancelled before its first step would close nothing.)
    """
    if sock.fileno() < 0:
        connecting.cancel()
    else:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
