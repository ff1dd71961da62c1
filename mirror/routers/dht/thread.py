"""The thread in which libp2p runs, on trio: commands go in, reports come out on the agent's event loop."""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError, StartFailed
from ...settings import DhtTiming
from .boundary import Call, Counts, LookupReports, Node, NodeSettings, PeerReports, Reports

log = logging.getLogger(__name__)


class DhtThread:
    """Runs a node of the DHT.

    Args:
        node: of the DHT.
        timing: bounds.
    """

    def __init__(self, node: Node, timing: DhtTiming) -> None:
        self._timing = timing
        self._node = node
        self.counts: Counts = node.counts
        self._phase = _Phase()

    @property
    def runs(self) -> bool:
        """Whether the node answers and can be asked."""
        return self._phase.listens and not self._phase.is_over

    async def start(self, lookups: LookupReports, peers: PeerReports) -> None:
        """Start the thread, and wait until the node listens.

        Raises:
            StartFailed: it does not listen, within a bound.
        """
        loop = asyncio.get_running_loop()
        phase, changed = self._phase, asyncio.Event()
        self._reports = reports = Reports(loop, lookups, peers)

        def listens() -> None:
            phase.listens = True
            changed.set()

        def ended(error: BaseException | None) -> None:
            phase.is_over = True
            phase.error = error
            if phase.listens and error is not None:
                log.error("the DHT ended for an error; nothing is found any more: %s", _text(error), exc_info=error)
            changed.set()
            phase.over.set()

        threading.Thread(target=self._run, args=(reports, listens, ended), name="dht", daemon=True).start()
        phase.has_begun = True
        try:
            async with asyncio.timeout(self._timing.start_s):
                await changed.wait()
        except TimeoutError:
            raise StartFailed(f"dht: it does not listen within {self._timing.start_s:g} s") from None
        if phase.error is not None or phase.is_over:
            if isinstance(phase.error, ConfigError):
                raise phase.error
            raise StartFailed(f"dht: cannot listen on {self._node.address}: {_text(phase.error)}")

    def _run(self, reports: Reports, listens: Call, ended: Callable[[BaseException | None], None]) -> None:
        """The thread."""
        error: BaseException | None = None
        try:
            self._node.run(reports, lambda: reports.call(listens))
        except BaseException as raised:  # noqa: BLE001 - the root of a thread: the loop says what happened
            error = raised
        reports.call(lambda: ended(error))

    async def close(self) -> None:
        """Stop the node, and wait for the thread's end, within a bound."""
        if not self._phase.has_begun or self._phase.is_over:
            return
        self._node.stop()
        try:
            async with asyncio.timeout(self._timing.stop_s):
                await self._phase.over.wait()
        except TimeoutError:
            log.warning("the DHT did not stop within %g s; its thread ends with the process", self._timing.stop_s)

    def look_up(self, key: bytes) -> None:
        """Have a key looked up; reports follow, the last of which is `ended`."""
        self._node.look_up(key)

    def advertise(self, keys: Collection[bytes]) -> None:
        """Have keys told to the nodes closest to them, now and again."""
        if not self._phase.is_over:
            self._node.advertise(tuple(keys))

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Have keys told no more."""
        if not self._phase.is_over:
            self._node.withdraw(tuple(keys))


@dataclass(slots=True)
class _Phase:
    """What the loop knows of the thread.

    Args:
        has_begun: whether it was started.
        listens: whether the node has begun to answer.
        is_over: whether it has ended.
        error: why, if that was not expected.
        over: is set when it has ended.
    """

    has_begun: bool = False
    listens: bool = False
    is_over: bool = False
    error: BaseException | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


def make_node(settings: NodeSettings, timing: DhtTiming) -> Node:
    """A node of libp2p, which is an extra, and takes a second and 40 MiB to import.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from .node import KademliaNode
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("mirror"):
            raise
        raise ConfigError(
            f"router: dht needs the Python package {missing.name}: install skvaller with its extra, "
            "pip install 'skvaller[dht]', or leave --router out"
        ) from None
    return KademliaNode(settings, timing)


def _text(error: Any) -> str:
    """What an error says, or of a group of errors the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
