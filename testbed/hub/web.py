"""Sites: HTTP handlers that listen in a thread, perhaps inside a network namespace."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, cast
from weakref import WeakSet

from aiohttp import web

from ..errors import RunError
from ..network import Address, enter
from ..processes import WAIT_S

HTTPS_PORT: Final = 443

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Site:
    """One handler, and where it listens.

    Args:
        handler: answers requests.
        host: IP address.
        port: 0: any that is free.
        tls: it speaks TLS if this is given.
        name: that the certificate is for; empty: the address.
    """

    handler: Handler
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    name: str = ""

    @property
    def address(self) -> Address:
        """Where it listens, known when it runs."""
        return Address(self.host, self.port)

    @property
    def url(self) -> str:
        """How it is asked, known when it runs."""
        port = "" if self.tls and self.port == HTTPS_PORT else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{self.name or self.host}{port}"


class Sites:
    """Sites that run together.

    Args:
        sites: all of them; a port that is 0 is replaced by the one found.
        netns: network namespace in which they listen.
    """

    def __init__(self, sites: Sequence[Site], netns: str | None = None) -> None:
        self._sites = sites
        self._netns = netns
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._connections: WeakSet[asyncio.WriteTransport] = WeakSet()

    @contextmanager
    def running(self) -> Iterator[None]:
        """They listen inside of `with`.

        Raises:
            RunError: they do not, after some time.
        """
        thread = threading.Thread(target=self._run_inside, daemon=True)
        thread.start()
        try:
            if not self._ready.wait(WAIT_S):
                raise RunError(f"nobody listens on {', '.join(site.host for site in self._sites)}")
            yield
        finally:
            self.call(self._stopping.set)
            thread.join(WAIT_S)

    def call(self, work: Callable[[], object]) -> None:
        """Have something done by the thread in which the handlers run."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _run_inside(self) -> None:
        if self._netns is not None:
            enter(self._netns)
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for site in self._sites:
                runner = web.ServerRunner(web.Server(self._noting(site.handler)), shutdown_timeout=1)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, site.host, site.port, ssl_context=site.tls).start()
                site.port = runner.addresses[0][1]
            self._ready.set()
            await self._stopping.wait()
            for connection in self._connections:
                connection.abort()  # one with TLS would wait for the client's goodbye
            await asyncio.sleep(0)

    def _noting(self, handler: Handler) -> Handler:
        """The handler, which takes note of the connections that it serves."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if request.transport is not None:
                self._connections.add(cast("asyncio.WriteTransport", request.transport))
            return await handler(request)

        return answer
