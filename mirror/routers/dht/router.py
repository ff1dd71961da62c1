"""The DHT as a router: what the agent's event loop sees of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...errors import StartFailed
from ...settings import DhtTiming
from .. import MemberStatus, NoNotes, Peer, RingSeat, Serves
from .boundary import NodeSettings
from .lookups import Lookups, Outcome
from .peers import Peers
from .thread import DhtThread, make_node


class KeysAreFixed(Exception):
    """A DHT carries no keys from member to member."""


class FixedKeys:
    """The keyrings of members that nobody can ask."""

    async def list(self) -> NoReturn:
        """Refuse; see `KeysAreFixed`."""
        raise _FIXED

    async def install(self, key: bytes) -> NoReturn:
        """Refuse; see `KeysAreFixed`."""
        raise _FIXED

    async def use(self, identity: bytes) -> NoReturn:
        """Refuse; see `KeysAreFixed`."""
        raise _FIXED

    async def remove(self, identity: bytes) -> NoReturn:
        """Refuse; see `KeysAreFixed`."""
        raise _FIXED


_FIXED = KeysAreFixed("a DHT carries no keys: change the key file of each node, and start its agent again")


@dataclass(frozen=True, slots=True, kw_only=True)
class DhtSettings:
    """How a node takes part.

    Args:
        me: this node's name and peer endpoint; its host is the address under which others reach the DHT, too.
        bind: IP address and TCP port of its DHT.
        bootstrap: `HOST:PORT` of the DHT of others.
        identity: the file with its libp2p key, which is made if it is missing.
        resolve_s: bounds the wait for a lookup, s.
        keys: the cluster's keys, for the peer endpoints alone.
    """

    me: Peer
    bind: tuple[str, int]
    bootstrap: Sequence[str]
    identity: Path
    resolve_s: float
    keys: tuple[bytes, ...] = ()

    def node(self) -> NodeSettings:
        """What the thread needs of them."""
        return NodeSettings(self.me, self.bind, tuple(self.bootstrap), self.identity)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the DHT counts, for metrics.

    Args:
        lookups: by how the wait for them ended.
        lookup_seconds: waits by the upper bound of their bucket, s, not cumulated; the last one is infinite.
        lookup_seconds_sum: of all waits, s.
        queries: questions to other nodes, by kind.
        told: keys that were told to those closest to them, by outcome.
        peers: in the routing table.
        records: provider records of others that are kept.
        waiting: keys that wait to be told.
    """

    lookups: Mapping[str, int]
    lookup_seconds: Mapping[float, int]
    lookup_seconds_sum: float
    queries: Mapping[str, int]
    told: Mapping[str, int]
    peers: int
    records: int
    waiting: int


class DhtRouter:
    """Implements `Discovery` on a node of libp2p's Kademlia.

    Args:
        settings: what the operator set.
        timing: Spegel's values, and bounds.

    Raises:
        ConfigError: the extra is not installed.
    """

    def __init__(self, settings: DhtSettings, timing: DhtTiming | None = None) -> None:
        self._settings = settings
        self.notes = NoNotes()
        timing = timing or DhtTiming()
        self._held: set[bytes] = set()
        self._willing = True
        self._peers = Peers(settings.me, timing.peers_max)
        self._thread = DhtThread(make_node(settings.node(), timing), timing)
        self._lookups = Lookups(self._thread.look_up, settings.resolve_s, timing)

    async def start(self) -> None:
        """Start the thread, and wait until it listens.

        Raises:
            StartFailed: the address of the DHT cannot be bound, or the thread did not start in time.
        """
        try:
            await self._thread.start(self._lookups, self._peers)
        except StartFailed:
            await self.close()
            raise

    async def leave(self, timeout: float = 2.0) -> None:
        """Tell keys no more. A DHT knows no goodbye: records of this node stay until they expire."""
        self._thread.withdraw(self._held)

    async def close(self) -> None:
        """Stop the thread; wait for its end within a bound."""
        await self._thread.close()

    def ready(self) -> bool:
        """Whether the first attempt to reach others is over, at once without any to begin with; not after a failure."""
        has_tried = self._peers.has_tried or not self._settings.bootstrap
        return has_tried and self._thread.runs

    def look_up(self, key: bytes) -> Awaitable[None] | None:
        """Ask the nodes closest to a key, unless they were asked a moment ago."""
        return self._lookups.begin(key) if self._thread.runs else None

    def locate(self, key: bytes) -> Sequence[Peer]:
        """Peers that the last lookups of a key have named, in the order in which their records came."""
        return self._peers.of(self._lookups.holders(key))

    def advertise(self, keys: Collection[bytes]) -> None:
        """Tell the nodes closest to each key, one key after the other, now and until it is withdrawn."""
        self._held.update(keys)
        self._thread.advertise(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Tell these keys no more. The records of other nodes stay until they expire."""
        self._held.difference_update(keys)
        self._thread.withdraw(keys)

    def members(self) -> Sequence[Peer]:
        """Peers of the routing table, and those that lookups have named lately: whom this node knows, not who is up."""
        return self._peers.among(self._peers.table | self._lookups.named())

    def seats(self) -> Sequence[RingSeat]:
        """This node alone: nobody knows all members, so they could not agree about homes."""
        return [RingSeat(self._settings.me, Serves.YES if self._willing else Serves.NO)]

    def set_serving(self, willing: bool) -> None:
        """Keep it in mind; nobody is told, and nobody would ask."""
        self._willing = willing

    def statuses(self) -> Sequence[MemberStatus]:
        """This node, and the peers of its routing table, which it takes for alive until a connection fails."""
        return [
            MemberStatus(self._settings.me, "alive", len(self._held), itself=True, home=self.seats()[0].serves),
            *(
                MemberStatus(peer, "alive", 0, itself=False, home=Serves.NO)
                for peer in self._peers.among(self._peers.table)
            ),
        ]

    def alone(self) -> str:
        """What was tried, while the routing table is empty although there are nodes to begin with; else nothing."""
        return "" if self._peers.table else self._peers.tried

    @property
    def keyrings(self) -> FixedKeys:
        """Refuses every change."""
        return FixedKeys()

    def keys(self) -> tuple[bytes, ...]:
        """The cluster's keys, which stay as they are."""
        return self._settings.keys

    async def follow_keys(self, use: Callable[[tuple[bytes, ...]], None]) -> None:
        """Call `use` with the keys once."""
        use(self.keys())

    async def superseded(self) -> str:
        """Wait until cancelled: nobody would notice that a name is taken twice."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def figures(self) -> Figures:
        """What the DHT counts."""
        counts, lookups = self._thread.counts, self._lookups
        return Figures(
            lookups={outcome.value: lookups.outcomes[outcome] for outcome in Outcome},
            lookup_seconds=lookups.histogram(),
            lookup_seconds_sum=lookups.seconds_sum,
            queries=counts.queries,
            told=counts.told,
            peers=len(self._peers.table),
            records=counts.records,
            waiting=counts.waiting,
        )
