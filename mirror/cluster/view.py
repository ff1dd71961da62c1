"""The view of the cluster that fetches decide by: who is up, who holds, who is home of what."""

import time
from collections.abc import Awaitable, Collection, Mapping, Set
from dataclasses import dataclass

from ..routers import Peer, Rings, Router, Serves
from ..settings import ClusterSettings
from .health import PeerHealth
from .homes import Ring


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What was seen at one moment.

    Args:
        at: monotonic seconds.
        health: the version of `PeerHealth` then.
        peers: members that the router believes to be up, by name.
        up: names of those that are usable, and this node's.
        serving: those of them that do not decline to serve as homes.
    """

    at: float
    health: int
    peers: Mapping[str, Peer]
    up: Set[str]
    serving: Set[str]


class ClusterView:
    """Who may be asked, as of now or a moment ago.

    Args:
        me: this node's name.
        router: knows the members, and who may hold what.
        rings: knows who serves as a home.
        health: knows which members to leave alone.
        settings: for how long an answer is used again.
    """

    def __init__(
        self, me: str, router: Router, rings: Rings, health: PeerHealth, settings: ClusterSettings | None = None
    ) -> None:
        self.me = me
        self._router = router
        self._rings = rings
        self._health = health
        self._settings = settings or ClusterSettings()
        self._seen: _Snapshot | None = None

    def up(self) -> Set[str]:
        """Names of members that are believed to be up and usable, this node included."""
        return self._now().up

    def serving(self) -> Set[str]:
        """Those of them that do not decline to serve as homes."""
        return self._now().serving

    def peer(self, name: str) -> Peer | None:
        """The member of a name, at its present address; None if the router knows none that is up."""
        return self._now().peers.get(name)

    def is_alone(self) -> bool:
        """Whether no other member is in reach, though gossip knows some that were a moment ago."""
        peers = self._now().peers
        return bool(peers) and all(self._health.awaits([name]) for name in peers)

    def look_up(self, key: bytes) -> Awaitable[None] | None:
        """Have the others asked who may hold what has this key, where that is not known here; see `Router.look_up`."""
        return self._router.look_up(key)

    async def find_holders(self, key: bytes) -> list[Peer]:
        """`holders`, as soon as they can be known; at once where the router knows them."""
        if (asking := self._router.look_up(key)) is not None:
            await asking
        return self.holders(key)

    def holders(self, key: bytes) -> list[Peer]:
        """Usable members that may hold what has this key, best first; without any, those that rest.

        What is on nobody else must not be out of reach for a client because its only holder failed a moment ago.
        """
        unusable = self._health.unusable()
        found = [peer for peer in self._router.locate(key) if peer.name not in unusable]
        if not found:
            resting = self.resting()
            found = [peer for peer in self.last_holders(key) if peer.name in resting]
        seen = self._now()
        if any(peer.name not in seen.up or seen.peers.get(peer.name) != peer for peer in found):
            self._seen = None  # it has joined since, or is back, perhaps at another address
        return found

    def last_holders(self, key: bytes) -> list[Peer]:
        """Others that may hold it, for a fetch that finds nobody else: they rest, or are out of reach."""
        unusable = self._health.unusable()
        located = self._router.locate(key) if unusable else ()
        return [peer for peer in located if peer.name in unusable and not self._health.is_banned(peer.name)]

    def resting(self) -> Set[str]:
        """Names of members that failed lately, and may be asked by a fetch that finds nobody else."""
        return self._health.resting()

    def ring(self, key: bytes, without: Collection[str] = ()) -> Ring:
        """The homes of some content as of now, without its holders. Never empty."""
        names = {seat.peer.name for seat in self._rings.seats() if seat.serves is Serves.YES}
        return Ring.of(key, names.difference(without) or {self.me})

    def homes(self, key: bytes) -> list[Peer]:
        """The homes to ask for what comes in one piece, in order, up to this node; none if this node is the first."""
        return self._homes_around_me(key)[0]

    def later_homes(self, key: bytes) -> list[Peer]:
        """The homes that come after this node, in order; all of them if this node does not serve as a home."""
        return self._homes_around_me(key)[1]

    def _homes_around_me(self, key: bytes) -> tuple[list[Peer], list[Peer]]:
        serving = self.serving()
        peers = {seat.peer.name: seat.peer for seat in self._rings.seats()}
        order = [name for name in self.ring(key).homes(0) if name in serving]
        before, after = order, order
        if self.me in order:
            mine = order.index(self.me)
            before, after = order[:mine], order[mine + 1 :]
        return [peers[name] for name in before], [peers[name] for name in after]

    def known(self) -> set[str]:
        """Names of all members, those included that failed lately: their bytes may still be here."""
        return {*self.up(), *(seat.peer.name for seat in self._rings.seats())}

    def _now(self) -> _Snapshot:
        now, seen = time.monotonic(), self._seen
        if seen is None or seen.health != self._health.version or now - seen.at > self._settings.view_s:
            peers = {peer.name: peer for peer in self._router.members()}
            up = (peers.keys() - self._health.unusable()) | {self.me}
            declining = {seat.peer.name for seat in self._rings.seats() if seat.serves is Serves.NO}
            seen = self._seen = _Snapshot(now, self._health.version, peers, up, up - declining)
        return seen
