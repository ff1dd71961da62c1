"""Joining: names and addresses to try, resolved again and again, for they may come to mean others."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Final

from ..core.membership.member import Address
from .attempts import Attempts
from .driver import Driver
from .sockets import source_address

log = logging.getLogger(__name__)

_RESOLVE_ALONE_S: Final = 5.0
"""Seconds between two resolutions of the seeds while no other member is known."""
_RESOLVE_S: Final = 60.0
"""The same while there are others: then the seeds only help to heal a partition."""


class Seeds:
    """Where one node looks for its cluster.

    Args:
        driver: of the node.
        attempts: told of names that cannot be resolved.
        names: hosts, by name or address, and ports.
        remembered: addresses of members that the run before knew, tried while no live member is known.
    """

    def __init__(
        self, driver: Driver, attempts: Attempts, names: Sequence[tuple[str, int]], remembered: Sequence[Address]
    ) -> None:
        self._driver = driver
        self._attempts = attempts
        self._names = names
        self._remembered = remembered
        self.exhausted = not names and not remembered
        """Whether there is nothing to try."""

    async def keep_joining(self) -> None:
        """Resolve the seeds and hand them to the node, which tries them until they are reached; for ever."""
        while True:
            addresses = [address for host, port in self._names for address in await self._resolve(host, port)]
            if self._alone():
                addresses += self._remembered
            if addresses:
                self._driver.node.join(addresses, self._driver.now())
            else:
                self.exhausted = True
            self._driver.pump()
            await asyncio.sleep(_RESOLVE_ALONE_S if self._alone() else _RESOLVE_S)

    def _alone(self) -> bool:
        return not any(member.live for member in self._driver.node.view.members())

    async def _resolve(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver can be asked for
            log.warning("gossip seed not resolved host=%s error=%s", host, error)
            self._attempts.note(f"{host}:{port}", "its name is not resolved")
            return []
        return [source_address(name) for *_, name in found]
