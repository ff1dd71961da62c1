"""Joining: names and addresses to try, resolved again and again, for they may come to mean others.

A name may stand for all nodes of a cluster, this one among them, as that of a headless service of Kubernetes does. So
what is tried is what no live member is at: a node that finds itself alone there has nothing to try, and is the first of
its cluster.

A name server that does not answer holds up nobody: the other seeds are tried meanwhile, and a name means what it meant
before.
"""

import asyncio
import contextlib
import ipaddress
import logging
import random
import socket
import threading
from collections.abc import Sequence
from typing import Any, Final

from ..core.config import GossipConfig
from ..core.membership.member import Address
from .attempts import Attempts
from .driver import Driver
from .sockets import source_address

log = logging.getLogger(__name__)

PATIENCE_S: Final = 2.0
"""Seconds for which one round waits for names; what comes later counts in the next."""
TRIED_MAX: Final = 16
"""Addresses of seeds that are tried in one round, taken at random. Any one that answers names all others; nodes of a
large cluster that start together must not all dial all."""


class Seeds:
    """Where one node looks for its cluster.

    Args:
        driver: of the node.
        attempts: told of names that cannot be resolved.
        names: hosts, by name or address, and ports.
        remembered: addresses of members that the run before knew, tried while no live member is known.
        config: how often names are resolved.
        rng: chooses among many addresses.
    """

    def __init__(
        self,
        driver: Driver,
        attempts: Attempts,
        names: Sequence[tuple[str, int]],
        remembered: Sequence[Address],
        config: GossipConfig,
        rng: random.Random | None = None,
    ) -> None:
        self._driver = driver
        self._attempts = attempts
        self._names = names
        self._remembered = remembered
        self._config = config
        self._rng = rng or random.Random()
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._unresolved: set[tuple[str, int]] = set()
        self._found: dict[tuple[str, int], list[Address]] = {}
        self.exhausted = not names and not remembered
        """Whether there is nothing to try."""

    async def keep_joining(self) -> None:
        """Resolve the seeds and hand them to the node, which tries them until they are reached; for ever."""
        try:
            while True:
                await self._look_up()
                addresses = self._unreached()
                self.exhausted = not addresses
                self._driver.node.join(addresses, self._driver.now())
                self._driver.pump()
                await asyncio.sleep(self._config.resolve_alone_s if self._alone() else self._config.resolve_s)
        finally:
            for lookup in self._lookups.values():
                lookup.cancel()

    def _unreached(self) -> list[Address]:
        """What is worth a try now: no live member is there, nor this node itself, and its socket sends there."""
        view = self._driver.node.view
        reached = {view.me.address, *(member.address for member in view.members() if member.live)}
        found = {address: None for name in self._names for address in self._found.get(name, ())}
        seeds = [it for it in found if it not in reached and self._driver.sends_to(it)]
        if len(seeds) > TRIED_MAX:
            seeds = self._rng.sample(seeds, TRIED_MAX)
        return [*seeds, *self._remembered] if self._alone() else seeds

    def _alone(self) -> bool:
        return not any(member.live for member in self._driver.node.view.members())

    async def _look_up(self) -> None:
        """Look all names up at once, and wait for a moment."""
        for name in self._names:
            if name not in self._lookups:
                self._lookups[name] = asyncio.create_task(self._resolve(*name))
        if self._lookups:
            await asyncio.wait(self._lookups.values(), timeout=PATIENCE_S)
        for name, lookup in list(self._lookups.items()):
            if not lookup.done():
                self._note_unresolved(name, "no name server has answered")
                continue
            del self._lookups[name]
            if found := lookup.result():
                self._found[name] = found
                if not any(map(self._driver.sends_to, found)):
                    self._note_unresolved(name, "it has addresses of IPv4 or IPv6 alone, and this node of the other")
                elif name in self._unresolved:
                    self._unresolved.remove(name)
                    self._attempts.drop("{}:{}".format(*name))

    def _note_unresolved(self, name: tuple[str, int], problem: str) -> None:
        self._unresolved.add(name)
        self._attempts.note("{}:{}".format(*name), problem)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            return [Address(str(ipaddress.ip_address(host)), port)]
        except ValueError:
            pass  # a name, or an address with a zone
        try:
            found = await _addresses(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver can be asked for
            log.warning("gossip seed not resolved host=%s error=%s", host, error)
            self._note_unresolved((host, port), "its name is not resolved")
            return []
        return [source_address(name) for *_, name in found]


async def _addresses(host: str, port: int) -> list[Any]:
    """What `getaddrinfo` says of a name; raises what it raises.

    A lookup has a thread of its own, which dies with the process. A loop's own lookups share a few threads, so that two
    name servers that do not answer would hold up all other names, and the end of the process.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()

    def end(outcome: list[Any] | Exception) -> None:
        if found.done():  # nobody waits any more
            return
        if isinstance(outcome, Exception):
            found.set_exception(outcome)
        else:
            found.set_result(outcome)

    def look_up() -> None:
        outcome: list[Any] | Exception = socket.gaierror(socket.EAI_FAIL, "the lookup failed")
        try:
            outcome = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            outcome = error
        finally:  # whatever happens, the waiting task hears of it
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                loop.call_soon_threadsafe(end, outcome)

    try:
        threading.Thread(target=look_up, name="look up seed", daemon=True).start()
    except RuntimeError as error:
        raise OSError("no thread can be started for the lookup") from error
    return await found
