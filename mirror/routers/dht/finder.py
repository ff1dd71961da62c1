"""Lookups on trio: this node's records of a key, then those of the nodes closest to it, until that is enough."""

import logging

import trio
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from ...settings import DhtTiming
from .boundary import Reports
from .network import Network
from .records import Records, multihash

log = logging.getLogger(__name__)


class Finder:
    """Finds the holders of keys.

    Args:
        network: the peers.
        records: provider records of this node.
        reports: are told of each holder, and of the end of each lookup.
        timing: how many holders are enough, and bounds.
    """

    def __init__(self, network: Network, records: Records, reports: Reports, timing: DhtTiming) -> None:
        self._network = network
        self._records = records
        self._reports = reports
        self._timing = timing

    async def look_up(self, key: bytes) -> None:
        """Find the holders of a key, within a bound."""
        found: dict[str, None] = {}
        try:
            with trio.move_on_after(self._timing.lookup_s):
                async with trio.open_nursery() as nursery:
                    search = _Search(key, found, nursery, self._network, self._reports, self._timing)
                    await search.run(self._records.get_providers(multihash(key)))
        except Exception:  # the root of a task: it must not end all others
            log.exception("a lookup in the DHT failed in a way that it should not")
        finally:
            self._reports.ended(key, tuple(found))


class _Search:
    """One lookup.

    Args:
        key: of the mirror's directory.
        found: ids of the holders, in order; the search fills it.
        nursery: where its questions run; it is cancelled when enough is known.
        network: the peers.
        reports: are told of each holder.
        timing: how many holders are enough, and bounds.
    """

    def __init__(
        self,
        key: bytes,
        found: dict[str, None],
        nursery: trio.Nursery,
        network: Network,
        reports: Reports,
        timing: DhtTiming,
    ) -> None:
        self._key = key
        self._found = found
        self._nursery = nursery
        self._network = network
        self._reports = reports
        self._wanted = timing.providers_wanted
        self._limiter = trio.CapacityLimiter(timing.queries_max)

    async def run(self, local: list[PeerInfo]) -> None:
        """Take what this node's records say, and ask the nodes closest to the key."""
        for info in local:
            if self._network.is_known(info.peer_id):
                self._take(info, is_local=True)
            else:
                self._nursery.start_soon(self._meet, info, True)
        if len(self._found) < self._wanted:
            for peer in await self._network.closest(multihash(self._key)):
                self._nursery.start_soon(self._ask, peer)

    async def _ask(self, peer: ID) -> None:
        async with self._limiter:
            for info in await self._network.ask(peer, multihash(self._key)):
                self._nursery.start_soon(self._meet, info, False)

    async def _meet(self, info: PeerInfo, is_local: bool) -> None:
        if await self._network.meet(info):
            self._take(info, is_local=is_local)

    def _take(self, info: PeerInfo, *, is_local: bool) -> None:
        identity = str(info.peer_id)
        if identity not in self._found:
            self._found[identity] = None
            self._reports.found(self._key, identity, is_local=is_local)
        if len(self._found) >= self._wanted:
            self._nursery.cancel_scope.cancel()
