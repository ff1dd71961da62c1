"""Members that speak TLS: certificates, a listener, and a client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from mirror.app.tls import Acceptance, HandshakeFailed
from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.channels import PeerTls
from mirror.channels.certificates import KeyIssuer
from mirror.channels.contexts import Channels
from mirror.settings import ChannelSettings

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
DAY_S = 86400.0


def channels(name: str, *keys: bytes, step: PeerTls = PeerTls.ON, denied: Sequence[str] = ()) -> Channels:
    """Those of a node that has keys of the cluster."""
    return Channels(step, KeyIssuer(name, "127.0.0.1", keys or (ONE,), 7 * DAY_S, DAY_S), denied)


@dataclass
class Door:
    """A listener that accepts as the peer endpoint does."""

    acceptance: Acceptance
    config: uvicorn.Config
    state: ServerState = field(default_factory=ServerState)
    failures: list[HandshakeFailed] = field(default_factory=list)
    """Why connections were not let in."""
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    open: list[ZeroCopyProtocol] = field(default_factory=list)
    port: int = 0

    async def run(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                sock, _ = await loop.sock_accept(listener)
                tasks.create_task(self._accept(sock))

    async def _accept(self, sock: socket.socket) -> None:
        protocol = ZeroCopyProtocol(config=self.config, server_state=self.state, app_state={})
        try:
            await self.acceptance(sock, protocol)
            self.open.append(protocol)
        except HandshakeFailed as error:
            self.failures.append(error)
            self.failed.set()


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, channels: Channels, handshake_s: float = 5.0) -> AsyncIterator[Door]:
    """Serve an application to members."""
    config = uvicorn.Config(app, http=ZeroCopyProtocol, ws="none", lifespan="off", interface="asgi3", log_config=None)
    config.load()
    door = Door(Acceptance(channels, ChannelSettings(handshake_s=handshake_s)), config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        door.port = listener.getsockname()[1]
        running = asyncio.create_task(door.run(listener))
        try:
            yield door
        finally:
            running.cancel()
            await asyncio.wait([running])
            for protocol in door.open:
                protocol.transport.abort()
            while door.state.connections or door.state.tasks:
                await asyncio.sleep(0)
