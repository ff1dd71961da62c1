"""A router over a fixed list of peers, for tests of what stands on a router.

It knows nothing of who holds what, so every peer may hold everything. The contract suite runs over it as over all
routers: a test that passes with it does not lean on gossip.
"""

import random
from collections.abc import Collection, Sequence

from mirror.routers import MemberStatus, Peer, RingSeat, Serves


class StaticRouter:
    """Implements `Discovery` over peers that were named beforehand.

    Args:
        me: this node.
        peers: the others.
        rng: spreads the load: peers are equal, so each lookup has its own order.
    """

    def __init__(self, me: Peer, peers: Sequence[Peer] = (), rng: random.Random | None = None) -> None:
        self._me = me
        self.peers = tuple(peer for peer in peers if peer.name != me.name)
        self._rng = rng or random.Random()
        self._keys: set[bytes] = set()
        self._willing = True

    def ready(self) -> bool:
        """Always: there is nothing to wait for."""
        return True

    def look_up(self, key: bytes) -> None:
        """Nothing: it knows no more."""

    def locate(self, key: bytes) -> Sequence[Peer]:
        """All peers, in random order."""
        return self._rng.sample(self.peers, len(self.peers))

    def advertise(self, keys: Collection[bytes]) -> None:
        """Count the keys; nobody is told."""
        self._keys.update(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Count the keys no longer."""
        self._keys.difference_update(keys)

    def members(self) -> Sequence[Peer]:
        """All peers."""
        return self.peers

    def seats(self) -> Sequence[RingSeat]:
        """This node and all peers."""
        others = [RingSeat(peer) for peer in self.peers]
        return [RingSeat(self._me, Serves.YES if self._willing else Serves.NO), *others]

    def set_serving(self, willing: bool) -> None:
        """Keep it in mind; nobody is told."""
        self._willing = willing

    def alone(self) -> str:
        """It looks for nobody."""
        return ""

    def statuses(self) -> Sequence[MemberStatus]:
        """This node, and the peers, which are taken for alive."""
        others = [MemberStatus(peer, "alive", 0, itself=False) for peer in self.peers]
        return [MemberStatus(self._me, "alive", len(self._keys), itself=True), *others]
