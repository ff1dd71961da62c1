"""One HTTP listener of the agent: uvicorn, with an address that is taken before anything else starts."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from ..addresses import ListenAddress
from ..settings import ServerSettings
from .binding import Bound
from .listener import Connect, Listener, plainly
from .places import Place, Places
from .protocol import Streams
from .zerocopy import ZeroCopyProtocol


class EndpointServer(uvicorn.Server):
    """Serves one endpoint. Call `bind`, then `start`, then `stop`, then `unbind`.

    Args:
        app: the endpoint.
        setting: the operator's setting that names the address, for messages.
        address: where to listen.
        places: who is let in; all servers of a node share them.
        settings: the bounds.
        connect: makes the transport of an accepted socket.
        streams: tells which bodies the endpoint takes as they come.
    """

    def __init__(  # noqa: PLR0913 - what one listener of a node differs by
        self,
        app: ASGIApp,
        setting: str,
        address: ListenAddress,
        places: Places,
        settings: ServerSettings | None = None,
        connect: Connect = plainly,
        *,
        streams: Streams | None = None,
    ) -> None:
        self._settings = settings = settings or ServerSettings()
        super().__init__(
            uvicorn.Config(
                app,
                http=ZeroCopyProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=settings.drain_s,
            )
        )
        self.setting = setting
        self.address = address
        self._places = places
        self._connect = connect
        self._streams = streams
        self._bound: Bound | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the agent: it stops all its parts in order."""
        yield

    def bind(self) -> None:
        """Take the address. Clients that connect wait until `start`.

        Raises:
            StartFailed: the address is in use, or is none of this machine.
        """
        self._bound = Bound(self.address, self.setting, self._settings.backlog)

    def unbind(self) -> None:
        """Give the address back."""
        if self._bound is not None:
            self._bound.close()

    def start(self) -> None:
        """Serve in the background."""
        assert self._bound is not None, "bind() comes first"
        self._task = asyncio.create_task(self.serve(sockets=[self._bound.socket]), name=f"serve {self.setting}")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn's own way would let in all who come."""
        await super().startup(sockets=[])
        assert self._bound is not None
        self._listener = Listener(self._bound.socket, self._protocol, self._connect, self._places, self._settings)
        self.servers = [cast("asyncio.Server", self._listener)]

    def _protocol(self, place: Place) -> asyncio.Protocol:
        """The protocol object of a connection."""
        return ZeroCopyProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state={},
            settings=self._settings,
            places=self._places,
            place=place,
            streams=self._streams,
        )

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections; uvicorn calls this ten times a second."""
        if counter % max(1, round(10 * self._settings.look_s)) == 0:
            for connection in list(self.server_state.connections):
                cast("ZeroCopyProtocol", connection).look()
            self._listener.relieve()
        return await super().on_tick(counter)

    async def stop(self) -> None:
        """Take no new connection, and wait until transfers have ended, at most `drain_s` seconds."""
        self.should_exit = True
        if self._task is not None:
            await self._task
