"""Changing the keys of a whole cluster from one of its members.

    install the new key  ──▶  use it  ──▶  remove the old one          each on all alive members, over sealed streams

Each step says what became of it on each member, and can be repeated. No member may use a key that another one lacks: a
step that would lead to that is refused before it changes anything. A member that is away meanwhile keeps the old key
only, and needs the new one by hand.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..core.errors import DeliveryError, StateError
from ..core.membership.member import State
from ..core.messages import KeyAction, KeyReport
from ..core.packets.keyring import ID_BYTES
from .driver import Driver

_AT_ONCE: Final = 16
"""Members that are asked at a time: as many as a node serves streams by default."""


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """The keyring of one member after a step.

    Args:
        ids: 4 bytes each, the one that seals first; empty if the member did not answer.
        problem: why the step was not taken, as a line of text; empty if it was.
    """

    ids: tuple[bytes, ...]
    problem: str = ""


class ClusterKeys:
    """The keyrings of all alive members.

    Args:
        name: of this node.
        driver: of this node.
    """

    def __init__(self, name: str, driver: Driver) -> None:
        self._name = name
        self._driver = driver
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def list(self) -> Mapping[str, KeyOutcome]:
        """Which keys each member has, by the name of the member, this node included."""
        return await self._on_all(KeyAction.LIST, b"")

    async def install(self, key: bytes) -> Mapping[str, KeyOutcome]:
        """Add a key of 32 bytes, which opens, on all alive members.

        Raises:
            ConfigError: this node's own keyring refuses, or nothing is sealed here.
        """
        return await self._on_all(KeyAction.INSTALL, key)

    async def use(self, identity: bytes) -> Mapping[str, KeyOutcome]:
        """Seal with the installed key of that id, on all alive members.

        Raises:
            ConfigError: as for `install`.
            DeliveryError: a member lacks the key, or did not answer; nothing was changed.
        """
        rings = await self.list()
        lacking = [name for name, ring in rings.items() if identity not in ring.ids]
        if lacking:
            raise DeliveryError(
                f"key {identity.hex()} is not known to be on {', '.join(lacking)}; install it there first"
            )
        return await self._on_all(KeyAction.USE, identity)

    async def remove(self, identity: bytes) -> Mapping[str, KeyOutcome]:
        """Drop the key of that id, on all alive members.

        Raises:
            ConfigError: as for `install`.
            DeliveryError: a member seals with the key, or did not answer; nothing was changed.
        """
        rings = await self.list()
        behind = [name for name, ring in rings.items() if not ring.ids or ring.ids[0] == identity]
        if behind:
            raise DeliveryError(
                f"key {identity.hex()} may still seal on {', '.join(behind)}; use another one there first"
            )
        return await self._on_all(KeyAction.REMOVE, identity)

    async def _on_all(self, action: KeyAction, key: bytes) -> dict[str, KeyOutcome]:
        node = self._driver.node
        node.keys.change(action, key)
        self._driver.pump()
        own = KeyOutcome(node.view.keyring.ids)
        others = [member.name for member in node.view.members() if member.state is State.ALIVE]
        outcomes = await asyncio.gather(*(self._on(name, action, key) for name in others))
        return {self._name: own, **dict(zip(others, outcomes, strict=True))}

    async def _on(self, name: str, action: KeyAction, key: bytes) -> KeyOutcome:
        async with self._slots:
            try:
                exchange = self._driver.node.order_keys(name, action, key)
            except StateError as error:  # it was forgotten meanwhile
                return KeyOutcome((), str(error))
            problem = await self._driver.carry_out(exchange)
        for answer in exchange.answers:
            if isinstance(answer, KeyReport):
                ids = tuple(answer.ids[i : i + ID_BYTES] for i in range(0, len(answer.ids), ID_BYTES))
                return KeyOutcome(ids, answer.refusal)
        return KeyOutcome((), problem or "it did not answer")
