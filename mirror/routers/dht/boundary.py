"""What crosses between the event loop and the thread: settings and commands go in, counts and reports come out."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .. import Peer

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the node on trio needs.

    Args:
        me: this node's name and peer endpoint; its host is the address under which others reach the DHT, too.
        bind: IP address and TCP port of its DHT.
        bootstrap: `HOST:PORT` of the DHT of others.
        identity: the file with its libp2p key, which is made if it is missing.
    """

    me: Peer
    bind: tuple[str, int]
    bootstrap: tuple[str, ...]
    identity: Path


@dataclass(slots=True)
class Counts:
    """What the node counts. The thread writes, anybody reads.

    Args:
        queries: questions to other nodes, by kind.
        told: keys that were told, by whether somebody took them.
        records: provider records of others that are kept.
        waiting: keys that wait to be told.
    """

    queries: dict[str, int] = field(default_factory=lambda: {"get_providers": 0, "add_provider": 0})
    told: dict[str, int] = field(default_factory=lambda: {"taken": 0, "failed": 0, "over_bound": 0})
    records: int = 0
    waiting: int = 0


class LookupReports(Protocol):
    """Is told of lookups."""

    def found(self, key: bytes, peer: str, *, is_local: bool) -> None:
        """A record names a holder, who has said who it is: one of this node's records, or another's."""
        ...

    def ended(self, key: bytes, found: Sequence[str]) -> None:
        """A lookup has asked everybody, or found enough."""
        ...


class PeerReports(Protocol):
    """Is told of peers."""

    def met(self, identity: str, peer: Peer) -> None:
        """A peer has said who it is."""
        ...

    def changed(self, table: Collection[str]) -> None:
        """The routing table has these peers now."""
        ...

    def bootstrapped(self, problem: str) -> None:
        """An attempt to reach others is over; `problem` says why nobody was reached, or nothing."""
        ...


class Reports:
    """Has reports made on the event loop, in the order in which the thread gives them.

    Args:
        loop: of the agent. Once it is closed, nobody listens.
        lookups: is told of lookups.
        peers: is told of peers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lookups: LookupReports, peers: PeerReports) -> None:
        self._loop = loop
        self._lookups = lookups
        self._peers = peers

    def found(self, key: bytes, peer: str, *, is_local: bool) -> None:
        """See `LookupReports.found`."""
        self.call(lambda: self._lookups.found(key, peer, is_local=is_local))

    def ended(self, key: bytes, found: Sequence[str]) -> None:
        """See `LookupReports.ended`."""
        self.call(lambda: self._lookups.ended(key, found))

    def met(self, identity: str, peer: Peer) -> None:
        """See `PeerReports.met`."""
        self.call(lambda: self._peers.met(identity, peer))

    def changed(self, table: Collection[str]) -> None:
        """See `PeerReports.changed`."""
        self.call(lambda: self._peers.changed(table))

    def bootstrapped(self, problem: str) -> None:
        """See `PeerReports.bootstrapped`."""
        self.call(lambda: self._peers.bootstrapped(problem))

    def call(self, report: Call) -> None:
        """Have something called on the event loop soon."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(report)


class Node(Protocol):
    """A node on trio. All but `run` may be called from any thread, before it runs, too."""

    @property
    def counts(self) -> Counts:
        """What it counts."""
        ...

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        ...

    def run(self, reports: Reports, listens: Call) -> None:
        """Run until stopped; `listens` is called once."""
        ...

    def stop(self) -> None:
        """Have it end."""
        ...

    def look_up(self, key: bytes) -> None:
        """Begin a lookup."""
        ...

    def advertise(self, keys: Sequence[bytes]) -> None:
        """Tell keys."""
        ...

    def withdraw(self, keys: Sequence[bytes]) -> None:
        """Tell keys no more."""
        ...
