"""The agent: one node, whose parts are started in order, and stopped in the opposite order."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from . import __version__
from .app.keys import is_key_file_replaceable
from .channels import PeerTls
from .config import AgentConfig, Routing
from .errors import ConfigError
from .events import Started
from .node import Node
from .settings import Settings
from .stores.folder_lock import locked
from .systemd import READY, STOPPING, tell_systemd

if TYPE_CHECKING:
    from .runtimes.repair import Repair

log = logging.getLogger(__name__)


class Agent:
    """A node that runs.

    Args:
        config: what the operator sets.
        settings: timings and bounds that no operator has to touch.

    Raises:
        ConfigError: the key file is not in order, or an extra is missing that the settings need.
    """

    def __init__(self, config: AgentConfig, settings: Settings | None = None) -> None:
        self._config = config
        self._settings = settings or Settings()
        self._is_serving = False
        self._node = Node(config, self._settings, lambda: self._is_serving)
        self._repairs = _repairs(config, self._settings)

    @property
    def summary(self) -> str:
        """Who this node is, and where it serves whom."""
        config = self._config
        alone = (f"{listener.address} (of {listener.registry})" for listener in config.listen_for)
        clients = " and ".join([*map(str, config.listen), *alone])
        return (
            f"agent {config.name} serves clients on {clients}, members on {config.peer}, "
            f"{'has its DHT' if config.router is Routing.DHT else 'gossips'} on {config.discovery[1]}, "
            f"is reached by others at {self._node.address}"
        )

    @property
    def warnings(self) -> list[str]:
        """What the operator should know about these settings."""
        return list(_warnings(self._config))

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then leave the cluster and stop cleanly.

        Raises:
            StartFailed: an address or the data folder is in use, or the folder cannot be written to.
            ConfigError: another node has the same name, and more right to it.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            log.info("%s", self.summary)
            if (page := self._config.page_url) is not None:
                log.info("the status page is served url=%s", page)
            self._node.events.tell(Started(self._config.name, __version__))
            for warning in self.warnings:
                log.warning("%s", warning)
            for task in self._tasks():
                stack.callback(asyncio.create_task(task).cancel)
            gc.collect()
            gc.freeze()  # what is alive now lives until the end: later collections need not look at it
            tell_systemd(READY)
            await self._wait_for_the_end(stop)
            tell_systemd(STOPPING)
            drain_s = self._settings.server.drain_s
            log.info("stopping: leaving the cluster, then waiting at most %d s for transfers to end", drain_s)
            self._is_serving = False

    def _tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on as long as the node serves."""
        node = self._node
        return [
            node.router.follow_keys(node.use_keys),
            node.router.notes.follow(node.listeners()),
            node.pinning.stack.upkeep.run(),
            node.channels.keep_renewing(self._settings.channels.look_s),
            node.home_service.run(),
            *(part.run() for part in self._repairs),
            node.examination.run(),
        ]

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start the parts, and put what stops them on the stack.

        The lock and the addresses come first, because they may be refused; then gossip, because all others report to
        it. On the way out the node first says goodbye, so that members stop asking it, then lets transfers end.
        """
        node = self._node
        stack.enter_context(locked(self._config.data_dir))
        for server in node.servers:
            server.bind()
            stack.callback(server.unbind)
        await node.router.start()
        stack.push_async_callback(node.router.close)
        await node.peers.start()
        stack.push_async_callback(node.peers.close)
        await node.upstream.start()
        stack.push_async_callback(node.upstream.close)
        stack.push_async_callback(node.watched.close)
        await node.private.start()
        stack.push_async_callback(node.private.close)
        stack.push_async_callback(node.holdings.close)
        stack.callback(node.push.uploads.close)
        await node.holdings.start()
        stack.push_async_callback(node.index.close)
        node.index.start()
        stack.push_async_callback(node.fetching.close)
        stack.push_async_callback(node.tags.close)
        stack.push_async_callback(node.pinning.close)
        for server in node.servers:
            server.start()
        stack.callback(node.pulls.close)
        stack.push_async_callback(self._drain)
        stack.callback(node.events.close)  # who follows what happens would be waited for
        stack.push_async_callback(node.router.leave)
        self._is_serving = True

    async def _drain(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._node.servers))

    async def _wait_for_the_end(self, stop: asyncio.Event) -> None:
        """Wait until somebody stops the agent, or another node has the same name and more right to it."""
        stopped = asyncio.create_task(stop.wait())
        superseded = asyncio.create_task(self._node.router.superseded())
        try:
            await asyncio.wait((stopped, superseded), return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                raise ConfigError(
                    f"name: {self._config.name} is also the name of the node at {superseded.result()}, which was "
                    "there before; give each node a name of its own with --name"
                )
        finally:
            stopped.cancel()
            superseded.cancel()


def _repairs(config: AgentConfig, settings: Settings) -> "list[Repair]":
    """The look after files of runtimes, if the operator wants it."""
    if config.repair is None:
        return []
    # Not at the top: most nodes do without. What reads the files of a runtime is loaded by the thread that looks.
    from .runtimes.known import named
    from .runtimes.repair import Repair

    return [Repair(named, config.repair, config.data_dir, settings.runtimes.look_s)]


def _warnings(config: AgentConfig) -> Iterator[str]:
    """What the operator should know about who can take part, now and later, and about secrets."""
    yield from config.warnings
    if config.router is Routing.DHT:
        yield (
            "router is dht, which is for comparison with gossip: this node knows no members, so it has no homes and "
            "fetches itself from upstream what no other node has yet; whoever reaches the DHT may take part in it"
        )
    if config.router is Routing.EXACT:
        yield "router is exact, which is for comparison with swim: members that have another are not let in"
    if config.key_file is None:
        yield f"no cluster key: {_exposure(config)}"
        return
    if config.sealing != "require" and config.router is not Routing.DHT:
        yield f"sealing is {config.sealing}: anybody who reaches peer and gossip is taken for a member"
    elif config.peer_tls is PeerTls.PREFER:
        yield "peer-tls is prefer: members may speak clear text here, signed; set it to on once it is prefer everywhere"
    if not is_key_file_replaceable(config.key_file):
        yield (
            f"{config.key_file} cannot be replaced, for its folder is read-only: when the cluster's keys have changed, "
            "change them there by hand before the agent is started again"
        )


def _exposure(config: AgentConfig) -> str:
    """Who can take part where there is no key."""
    if config.exposed:
        return f"anybody who reaches {' and '.join(config.exposed)} is taken for a member"
    return "only this machine can reach it; give --key-file, or --peer and --gossip addresses, to share with others"
