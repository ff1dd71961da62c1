"""Datagrams to single members, for whoever examines the ways between nodes."""

import contextlib
import time
from collections.abc import Callable
from typing import Final

import gossip
from gossip import Gossip

from .. import Place

_CLAIM_TOLD_S: Final = 600.0
"""Time for which another node's claim of this node's name is told, s. One that is started again and again claims it
again and again."""


class SwimDatagrams:
    """Implements `Datagrams` on a node of gossip, which may not have been started yet."""

    def __init__(self, node: Gossip) -> None:
        self._gossip = node
        self._namesake, self._claimed_at = "", 0.0

    def place(self, name: str) -> Place | None:
        """Where a member's gossip is; see `Datagrams.place`."""
        member = next((it for it in self._gossip.view.members() if it.name == name), None)
        return None if member is None else Place(member.address.host, member.address.port, member.state.name.lower())

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        """Send a few bytes to a member; see `Datagrams.send`."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.send(name, payload, fill=fill)

    async def follow(self, heard: Callable[[str, bytes], object]) -> None:
        """Call `heard` with what comes; see `Datagrams.follow`."""
        async for event in self._gossip.events():
            if isinstance(event, gossip.MessageReceived):
                heard(event.sender, event.payload)
            elif isinstance(event, gossip.NameConflict):
                self._namesake, self._claimed_at = str(event.address), time.monotonic()

    @property
    def heard(self) -> tuple[int, int]:
        """How many datagrams came, and how many nodes were heard of that have yet to answer one."""
        return self._gossip.counters.datagrams[gossip.Direction.RECEIVED], self._gossip.view.candidates

    @property
    def namesake(self) -> str:
        """The address of another node that claimed this node's name lately; empty if none did."""
        return self._namesake if time.monotonic() - self._claimed_at < _CLAIM_TOLD_S else ""
