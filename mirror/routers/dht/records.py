"""Provider records, which expire after minutes, as Spegel's do. libp2p keeps them for two days, in any number."""

import time
from collections.abc import Callable

from libp2p.abc import IHost
from libp2p.kad_dht.provider_store import ProviderRecord, ProviderStore
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

SHA2_256 = b"\x12\x20"
"""The start of a multihash of 32 bytes of sha2-256. Source: multiformats, "multihash"."""
PROVIDERS_MAX = 20
"""Bounds the records of one key: k. Source: libp2p specification, "kad-dht"."""


def multihash(key: bytes) -> bytes:
    """Under what a key of the mirror's directory stands in the DHT.

    For a digest, that is the multihash of the content itself, which IPFS's CIDv1 of it has, too. Spegel hashes the
    text of a digest once more; the record is as long.
    """
    return SHA2_256 + key


class Records(ProviderStore):
    """The provider records of a node: its own, which others ask it for, and those that others have told it.

    Args:
        host: of libp2p.
        record_s: time after which a record expires, s.
        most: bounds the records; beyond it new ones are not taken.
        clock: seconds.
    """

    def __init__(self, host: IHost, record_s: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(host)
        self._record_s = record_s
        self._most = most
        self._clock = clock
        self._count = 0

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Keep a record, or begin its time anew."""
        known = self.providers.get(key, {})
        name = str(provider.peer_id)
        if name not in known:
            if self._count >= self._most or len(known) >= PROVIDERS_MAX:
                return
            self._count += 1
        self.providers.setdefault(key, {})[name] = ProviderRecord(provider, self._clock())

    def get_providers(self, key: bytes) -> list[PeerInfo]:
        """Those that have not expired."""
        now = self._clock()
        records = self.providers.get(key, {}).values()
        return [record.provider_info for record in records if now - record.timestamp < self._record_s]

    def drop(self, key: bytes, provider: ID) -> None:
        """Forget one record."""
        known = self.providers.get(key, {})
        if known.pop(str(provider), None) is not None:
            self._count -= 1
        if not known:
            self.providers.pop(key, None)

    def cleanup_expired(self) -> None:
        """Drop what has expired."""
        now = self._clock()
        for key in list(self.providers):
            for record in list(self.providers[key].values()):
                if now - record.timestamp >= self._record_s:
                    self.drop(key, record.peer_id)

    def size(self) -> int:
        """How many records there are."""
        return self._count

    async def _republish_provider_records(self) -> None:
        """Nothing: `sweep` tells keys again, after minutes instead of hours."""
