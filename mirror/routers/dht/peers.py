"""Whom this node knows of the DHT: peers that have said who they are, and the routing table. On the agent's loop."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from .. import Peer


class Peers:
    """Peers by their libp2p ids.

    Args:
        me: this node.
        most: bounds the peers that are remembered; those that said who they are longest ago are forgotten first.
    """

    def __init__(self, me: Peer, most: int) -> None:
        self._me = me
        self._most = most
        self._endpoints: OrderedDict[str, Peer] = OrderedDict()
        self.table: frozenset[str] = frozenset()
        """Ids of those in the routing table."""
        self.tried = ""
        """What was tried to reach the first other node, and what came back, until one is reached."""
        self.has_tried = False
        """Whether the first attempt to reach others is over."""

    def met(self, identity: str, peer: Peer) -> None:
        """A peer has said who it is. Whoever had its name before is gone: a node that lost its key has a new id."""
        if peer.name == self._me.name:
            return
        for other in [other for other, its in self._endpoints.items() if its.name == peer.name]:
            del self._endpoints[other]
        self._endpoints[identity] = peer
        if len(self._endpoints) > self._most:
            self._endpoints.popitem(last=False)

    def changed(self, table: Collection[str]) -> None:
        """The routing table has these peers now."""
        self.table = frozenset(table)

    def bootstrapped(self, problem: str) -> None:
        """An attempt to reach others is over; `problem` says why nobody was reached, or nothing."""
        self.has_tried = True
        self.tried = problem

    def of(self, identities: Iterable[str]) -> Sequence[Peer]:
        """The peers of some ids, as far as they have said who they are."""
        return [peer for identity in identities if (peer := self._endpoints.get(identity)) is not None]

    def among(self, identities: Collection[str]) -> Sequence[Peer]:
        """All peers whose ids are among some."""
        return [peer for identity, peer in self._endpoints.items() if identity in identities]
