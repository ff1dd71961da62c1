"""A Kademlia of random ids: its routing tables, and its lookups, by the published rules.

Nothing is sent: a lookup walks over the tables and counts its requests. Every table is in the state to which refreshes
bring it: each bucket is full, or has all nodes of its range.

Sources: Maymounkov and Mazières, "Kademlia: a peer-to-peer information system based on the XOR metric", IPTPS 2002;
libp2p's specification of kad-dht (github.com/libp2p/specs, r0, 2021-05-07): buckets of k, lookups that end when the k
closest nodes seen have answered, providers stored at the k closest nodes to a key.
"""

import bisect
import hashlib
import heapq
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

ID_BITS: Final = 256
K: Final = 20
"""Size of a bucket, nodes that keep a record, and nodes in an answer: libp2p's and Spegel's."""

ALPHA: Final = 10
"""Requests of a lookup at the same time: go-libp2p's, which Spegel uses; the specification says 3."""

PROVIDERS_WANTED: Final = 3
"""Providers after which Spegel's lookup ends."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """How a lookup went.

    Args:
        requests: that it made; 0 if the node itself has the answer.
        rounds: of requests, one after the other.
        closest: the closest nodes that it found, best first; those of all that answered.
        is_hit: whether a node that answered has records of the key.
    """

    requests: int
    rounds: int
    closest: Sequence[int]
    is_hit: bool


class Overlay:
    """The nodes of a Kademlia.

    Args:
        ids: of the nodes, different numbers below 2 ** 256.
        k: size of a bucket.
        seed: of the choice of nodes that a full bucket has.
    """

    def __init__(self, ids: Collection[int], k: int = K, seed: int = 1) -> None:
        self.ids = sorted(ids)
        self._k = k
        self._seed = seed
        self._tables: dict[int, list[list[int]]] = {}

    @classmethod
    def of(cls, size: int, k: int = K, seed: int = 1) -> "Overlay":
        """One of so many nodes with random ids."""
        return cls([number_of(f"{seed}/node/{number}") for number in range(size)], k, seed)

    def buckets(self, node: int) -> list[list[int]]:
        """The buckets of a node, from the farthest half of all ids to its own neighbours."""
        if node not in self._tables:
            self._tables[node] = self._fill(node)
        return self._tables[node]

    def _fill(self, node: int) -> list[list[int]]:
        rng, found = random.Random(node ^ self._seed), list[list[int]]()
        for depth in range(ID_BITS):
            shift = ID_BITS - 1 - depth
            first = (node >> shift ^ 1) << shift
            inside = range(bisect.bisect_left(self.ids, first), bisect.bisect_left(self.ids, first + (1 << shift)))
            places = inside if len(inside) <= self._k else rng.sample(inside, self._k)
            found.append([self.ids[place] for place in places])
            mine = (node >> shift) << shift
            low, high = bisect.bisect_left(self.ids, mine), bisect.bisect_left(self.ids, mine + (1 << shift))
            if high - low == 1:  # nobody else shares these bits
                return found
        return found

    def table(self, node: int) -> list[int]:
        """All nodes that a node knows."""
        return [other for bucket in self.buckets(node) for other in bucket]

    def closest(self, key: int) -> list[int]:
        """The k nodes of all that are closest to a key, best first."""
        return heapq.nsmallest(self._k, self.ids, key=key.__xor__)

    def lookup(self, node: int, key: int, *, records: Collection[int] = (), alpha: int = ALPHA) -> Lookup:
        """Look for the closest nodes to a key, or for the first that has records of it.

        Args:
            node: who looks.
            key: what for.
            records: nodes that have records of it; the lookup ends when one of them has answered.
            alpha: requests at the same time.
        """
        if node in records:
            return Lookup(0, 0, [], is_hit=True)
        answered: list[int] = []
        asked, seen = {node}, set(self.table(node))
        requests = rounds = 0
        while True:
            best = heapq.nsmallest(self._k, seen, key=key.__xor__)
            asking = [other for other in best if other not in asked][:alpha]
            if not asking:
                return Lookup(requests, rounds, self._best(key, [node, *answered]), is_hit=False)
            requests, rounds = requests + len(asking), rounds + 1
            asked.update(asking)
            answered += asking
            if any(other in records for other in asking):
                return Lookup(requests, rounds, self._best(key, answered), is_hit=True)
            for other in asking:
                seen.update(heapq.nsmallest(self._k, self.table(other), key=key.__xor__))
            seen.discard(node)

    def _best(self, key: int, nodes: Collection[int]) -> list[int]:
        return heapq.nsmallest(self._k, nodes, key=key.__xor__)


def number_of(name: str) -> int:
    """The id of a name: its sha256, as libp2p has it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")


@dataclass(frozen=True, slots=True)
class Walked:
    """What was counted over some nodes and keys: means.

    Args:
        nodes: of the overlay.
        table: nodes in a routing table.
        buckets: with anybody in them.
        requests: of a lookup of the closest nodes, which is that of a key that nobody has, and what precedes a record.
        rounds: of that.
        hit_requests: of a lookup of a key that somebody has.
        hit_rounds: of that.
        local: share of these that the node answered itself.
        found: share of the k closest nodes that the lookups found.
    """

    nodes: int
    table: float
    buckets: float
    requests: float
    rounds: float
    hit_requests: float
    hit_rounds: float
    local: float
    found: float


def walk(size: int, samples: int, seed: int = 1) -> Walked:
    """Look some keys up in an overlay of a size, each from another node."""
    overlay, rng = Overlay.of(size, seed=seed), random.Random(seed)
    misses, hits, found = list[Lookup](), list[Lookup](), 0.0
    nodes = [rng.choice(overlay.ids) for _ in range(samples)]
    for number, node in enumerate(nodes):
        key = number_of(f"{seed}/key/{number}")
        records = overlay.closest(key)
        misses.append(overlay.lookup(node, key))
        hits.append(overlay.lookup(node, key, records=records))
        found += len({*records} & {*misses[-1].closest}) / len(records)
    tables = [overlay.buckets(node) for node in nodes]
    return Walked(
        nodes=size,
        table=_mean([sum(map(len, buckets)) for buckets in tables]),
        buckets=_mean([sum(map(bool, buckets)) for buckets in tables]),
        requests=_mean([it.requests for it in misses]),
        rounds=_mean([it.rounds for it in misses]),
        hit_requests=_mean([it.requests for it in hits]),
        hit_rounds=_mean([it.rounds for it in hits]),
        local=_mean([it.requests == 0 for it in hits]),
        found=found / samples,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
