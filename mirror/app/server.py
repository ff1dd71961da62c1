"""One HTTP listener of the agent: uvicorn, with an address that is taken before anything else starts."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from ..config import Address
from ..errors import ConfigError
from ..settings import ServerSettings
from .zerocopy import ZeroCopyProtocol, with_stall_timeout

log = logging.getLogger(__name__)

Connect = Callable[[socket.socket, asyncio.Protocol], Awaitable[None]]
"""Makes a transport of an accepted socket, and gives it to the protocol (`connection_made`)."""


class EndpointServer(uvicorn.Server):
    """Serves one endpoint. Call `bind`, then `start`, then `stop`, then `unbind`.

    Args:
        app: the endpoint.
        setting: the operator's setting that names the address, for messages.
        address: where to listen.
        settings: bounds on connections and on the time that stopping takes.
        connect: hands an accepted connection to its protocol, where that takes more than to make a transport.
    """

    def __init__(
        self,
        app: ASGIApp,
        setting: str,
        address: Address,
        settings: ServerSettings | None = None,
        connect: Connect | None = None,
    ) -> None:
        settings = settings or ServerSettings()
        super().__init__(
            uvicorn.Config(
                app,
                http=with_stall_timeout(settings.stall_timeout_s),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=settings.connections_max,
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=settings.drain_s,
            )
        )
        self._setting = setting
        self._address = address
        self._backlog = settings.backlog
        self._connect = connect
        self._accepting: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the agent: it stops all its parts in order."""
        yield

    def bind(self) -> None:
        """Take the address. Clients that connect wait until `start`.

        Raises:
            ConfigError: the address is in use, or is none of this machine.
        """
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind((self._address.host, self._address.port))
            self._socket.listen(self._backlog)
        except OSError as error:
            self.unbind()
            raise ConfigError(
                f"{self._setting}: cannot listen on {self._address}: {error.strerror}; "
                f"stop what uses it, or choose another address with --{self._setting}"
            ) from None

    def unbind(self) -> None:
        """Give the address back."""
        if self._socket is not None:
            self._socket.close()

    def start(self) -> None:
        """Serve in the background."""
        assert self._socket is not None, "bind() comes first"
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]), name=f"serve {self._setting}")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; in uvicorn's own way, unless accepted connections need more."""
        await super().startup(sockets=sockets if self._connect is None else [])
        if self._connect is not None:
            self._accepting = asyncio.create_task(self._accept(self._connect), name=f"accept {self._setting}")

    async def _accept(self, connect: Connect) -> None:
        assert self._socket is not None
        self._socket.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                sock, _ = await loop.sock_accept(self._socket)
                tasks.create_task(self._take_in(sock, connect))

    async def _take_in(self, sock: socket.socket, connect: Connect) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = ZeroCopyProtocol(config=self.config, server_state=self.server_state, app_state={})
        try:
            await connect(sock, protocol)
        except OSError as error:
            log.debug("a connection that did not come about: %s", error)
            sock.close()

    async def stop(self) -> None:
        """Take no new connection, and wait until transfers have ended, at most `drain_s` seconds."""
        self.should_exit = True
        if self._accepting is not None:
            self._accepting.cancel()
        if self._task is not None:
            await self._task
