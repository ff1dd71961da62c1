"""How a node finds the first others: it connects to addresses that the operator names, and asks these for more."""

import logging
from collections.abc import Callable, Sequence

import trio

from ...settings import DhtTiming
from .network import Network, tcp_address

log = logging.getLogger(__name__)

_ADDRESSES_MAX = 8
"""Bounds the addresses of one name that are tried: a name may stand for all nodes."""


class Bootstrap:
    """Connects to the nodes to begin with.

    Args:
        network: connects.
        nodes: `HOST:PORT` of their DHT.
        timing: how often.
        done: is called after each attempt, with what went wrong if nobody is known then.
    """

    def __init__(self, network: Network, nodes: Sequence[str], timing: DhtTiming, done: Callable[[str], None]) -> None:
        self._network = network
        self._nodes = nodes
        self._timing = timing
        self._done = done

    async def run(self) -> None:
        """Try until somebody is known, and again when nobody is any more, or after a while."""
        timing, wait_s = self._timing, self._timing.bootstrap_retry_s / 20
        while self._nodes:
            problems = await self._attempt()
            if self._network.size:
                await self._network.refresh()
                self._done("")
                wait_s = timing.bootstrap_retry_s / 20
                with trio.move_on_after(timing.bootstrap_again_s):
                    while self._network.size:  # noqa: ASYNC110 - the library tells nobody of changes
                        await trio.sleep(timing.look_s)
            else:
                self._done("; ".join(problems))
                await trio.sleep(wait_s)
                wait_s = min(2 * wait_s, timing.bootstrap_retry_s)

    async def _attempt(self) -> list[str]:
        problems: list[str] = []
        async with trio.open_nursery() as nursery:
            for node in self._nodes:
                nursery.start_soon(self._join, node, problems)
        return problems

    async def _join(self, node: str, problems: list[str]) -> None:
        host, _, port = node.rpartition(":")
        try:
            found = await trio.socket.getaddrinfo(host.strip("[]"), int(port), type=trio.socket.SOCK_STREAM)
        except OSError as error:
            problems.append(f"{node}: {error.strerror or error}")
            return
        for address in sorted({str(entry[4][0]) for entry in found})[:_ADDRESSES_MAX]:
            try:
                await self._network.join(tcp_address(address, int(port)))
            except Exception as error:  # noqa: BLE001 - the library's dials raise anything
                log.debug("the DHT of %s is not reached: %r", node, error)
                problems.append(f"{node}: {type(error).__name__} {error}".rstrip())
