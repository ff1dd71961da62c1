"""One node: everything put together, started in order and stopped in order."""

import asyncio
import contextlib
import fcntl
import gc
import ipaddress
import logging
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from .app import Backend, ClientEndpoint, KeysEndpoint, PeerEndpoint, StatusEndpoint, client_app
from .app.keys import keeps_keys
from .app.zerocopy import ZeroCopyProtocol
from .cluster.throughput import SlowReports
from .config import Address, AgentConfig
from .errors import ConfigError
from .fetch import Fetcher
from .images.holdings import Holdings
from .images.manifests import Manifests
from .images.tags import Tags
from .metrics import Metrics
from .routers.swim import KeyRefusal, SwimRouter, SwimSettings, key_id
from .sources.peers.auth import PeerAuth
from .sources.peers.client import PeerClient
from .sources.upstream import Upstream
from .stores import Store
from .stores.cache.store import CacheStore

log = logging.getLogger(__name__)

DRAIN_S = 20
"""Running transfers have so long to end when the agent stops; then they are cut short, and clients go on elsewhere."""

SLOW_S = 300.0
"""A node that the others found slow serves as a home again after so long, to see whether it still is."""

_LOOK_S = 0.25
_CONNECTIONS_MAX = 4096


class Agent:
    """A node.

    Args:
        config: its settings.

    Raises:
        ConfigError: the key file or an extra that the settings need is not in order.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._metrics = Metrics()
        self._router = SwimRouter.of(_membership(config))
        self._metrics.watch_gossip(self._router.figures)
        self._auth = auth = PeerAuth(self._router.keys(), required=config.sealing == "require")
        cache = CacheStore(config.data_dir / "cache", config.cache_size)
        self._peers = PeerClient(config.name, auth)
        self._upstream = Upstream(config.upstream)
        self._fetcher = Fetcher(config.name, cache, self._router, self._peers, self._upstream, self._metrics)
        self._holdings = Holdings([cache, *_containerd(config)], self._router)
        self._tags = Tags(self._holdings, self._fetcher)
        manifests = Manifests(self._holdings, self._fetcher)
        backend = Backend(self._holdings, self._fetcher, manifests, self._tags, self._metrics)
        status = StatusEndpoint(
            config.name, self._holdings, self._fetcher, self._tags, self._metrics, lambda: self._serving
        )
        keys = KeysEndpoint(self._router.keyrings, auth, config.key_file, key_id, KeyRefusal)
        self._reports = SlowReports()
        peer = PeerEndpoint(backend, self._reports, auth)
        self._servers = [
            _Server(client_app(ClientEndpoint(backend), status, keys), "listen", config.listen),
            _Server(peer, "peer", config.peer),
        ]
        self._serving = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then leave the cluster and stop cleanly.

        Raises:
            ConfigError: an address is in use, or the data folder is, or cannot be written to.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            log.info(
                "agent %s serves clients on %s, members on %s, gossips on %s",
                self._config.name, self._config.listen, self._config.peer, self._config.gossip,
            )  # fmt: skip
            for warning in _warnings(self._config):
                log.warning("%s", warning)
            keys = asyncio.create_task(self._router.follow_keys(self._auth.use))
            stack.callback(keys.cancel)
            serving = asyncio.create_task(self._serve_as_home())
            stack.callback(serving.cancel)
            gc.collect()
            gc.freeze()  # what is alive now stays: later collections need not look at it
            await self._until(stop)
            log.info("stopping: leaving the cluster, then letting transfers end for %d s at most", DRAIN_S)
            self._serving = False

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start the parts, gossip only when all is well here; on the way out they stop in the opposite order."""
        stack.enter_context(_claimed(self._config.data_dir))
        for server in self._servers:
            server.bind()
            stack.callback(server.unbind)
        await self._router.start()
        stack.push_async_callback(self._router.close)
        await self._peers.start()
        stack.push_async_callback(self._peers.close)
        await self._upstream.start()
        stack.push_async_callback(self._upstream.close)
        stack.push_async_callback(self._holdings.close)
        await self._holdings.start()
        stack.push_async_callback(self._fetcher.close)
        stack.push_async_callback(self._tags.close)
        for server in self._servers:
            server.start()
        stack.push_async_callback(self._drain)
        stack.push_async_callback(self._router.leave)
        self._serving = True

    async def _serve_as_home(self) -> None:
        """Serve as a home as the operator wants it, or unless the others find this node slow; then try again later."""
        if self._config.home != "auto":
            self._router.set_serving(self._config.home == "always")
            return
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._reports.slow(len(self._router.members()), time.monotonic()):
                log.warning("others find this node slow: it is no home for %g s", SLOW_S)
                self._router.set_serving(False)
                await asyncio.sleep(SLOW_S)
                self._reports.clear()
                self._router.set_serving(True)

    async def _drain(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._servers))

    async def _until(self, stop: asyncio.Event) -> None:
        """Wait for the end: somebody wants it, or another node has this node's name and more right to it."""
        stopped = asyncio.create_task(stop.wait())
        superseded = asyncio.create_task(self._router.superseded())
        try:
            await asyncio.wait((stopped, superseded), return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                raise ConfigError(
                    f"name: {self._config.name} is also the name of the node at {superseded.result()}, which started "
                    "earlier; give each node a name of its own with --name"
                )
        finally:
            stopped.cancel()
            superseded.cancel()


class _Server(uvicorn.Server):
    """One listener.

    Args:
        app: what it serves.
        setting: the setting that names its address.
        address: where it listens.
    """

    def __init__(self, app: ASGIApp, setting: str, address: Address) -> None:
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
                limit_concurrency=_CONNECTIONS_MAX,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._setting = setting
        self._address = address
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the agent."""
        yield

    def bind(self) -> None:
        """Take the address; raise ConfigError where that is not possible."""
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind((self._address.host, self._address.port))
            self._socket.listen(1024)
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
        assert self._socket is not None
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]), name=f"serve {self._setting}")

    async def stop(self) -> None:
        """Take no new connection, let transfers end for a while, and stop."""
        self.should_exit = True
        if self._task is not None:
            await self._task


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Make the data folder where missing, and keep other agents out of it: they would drop what is arriving there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigError(f"data-dir: cannot write to {folder}: {error.strerror}; name a folder to write to") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"data-dir: another agent uses {folder}; give each agent a folder of its own") from None
        yield


def _warnings(config: AgentConfig) -> Iterator[str]:
    """What the operator should know about who can take part, now and later."""
    if config.key_file is None:
        yield f"no cluster key: {_reach(config)}"
        return
    if config.sealing != "require":
        yield f"sealing is {config.sealing}: anybody who reaches peer and gossip is taken for a member"
    if not keeps_keys(config.key_file):
        yield (
            f"{config.key_file} cannot be replaced, for its folder is read-only: when the cluster's keys have changed, "
            "change them there by hand before the agent is started again"
        )


def _reach(config: AgentConfig) -> str:
    """Who can take part where there is no key."""
    if config.exposed:
        return f"anybody who reaches {' and '.join(config.exposed)} is taken for a member"
    return "only this machine can reach it; give --key-file, or --peer and --gossip addresses, to share with others"


def _membership(config: AgentConfig) -> SwimSettings:
    """How the node takes part in the gossip."""
    return SwimSettings(
        name=config.name,
        bind=(config.gossip.host, config.gossip.port),
        advertise=_advertised(config),
        peer_port=config.peer.port,
        seeds=config.join,
        key_file=config.key_file,
        sealing=config.sealing,
        cluster=config.cluster,
        profile=config.gossip_profile,
        allow=config.gossip_allow,
        snapshot=config.data_dir / "members.json",
    )


def _advertised(config: AgentConfig) -> str:
    """The address under which the others reach this node."""
    if config.advertise:
        return config.advertise
    if not ipaddress.ip_address(config.peer.host).is_unspecified:
        return config.peer.host
    family, anywhere = (socket.AF_INET6, "2001:db8::1") if ":" in config.peer.host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # connecting a UDP socket sends nothing
        try:
            probe.connect((anywhere, 9))
        except OSError:
            raise ConfigError("advertise: this machine has no main address; name the one the others reach") from None
        return str(probe.getsockname()[0])


def _containerd(config: AgentConfig) -> list[Store]:
    """The containerd store, if the operator wants it; its libraries are an extra and cost 20 MiB."""
    if config.containerd is None:
        return []
    from .stores.containerd import ContainerdStore

    return [ContainerdStore(config.containerd, config.containerd_namespace)]
