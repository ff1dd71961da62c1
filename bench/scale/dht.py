"""What a Kademlia costs a node, by formula: its published rules with Spegel's settings, and figures that were measured.

Bytes are those that a node sends, with all headers, unless it is said otherwise. On average each node also receives as
many. Every figure carries its formula, so that a reader can check it.
"""

import math
from typing import Final

from .figure import Figure
from .kademlia import ALPHA, K, Walked

REPROVIDE_S: Final = 15 * 60.0
"""Time after which Spegel provides a key again, seconds (v0.7.4)."""

VALID_S: Final = 19 * 60.0
"""Time for which others keep a record, seconds: Spegel sets REPROVIDE_S and four minutes."""

REFRESH_S: Final = 10 * 60.0
"""Time between two refreshes of a routing table, seconds: go-libp2p-kad-dht's."""

RECORD_WIRE_BYTES: Final = 984.0
"""What one record costs that one peer is sent, bytes with all headers, both ends together. Measured beside Spegel
0.7.4: 8 nodes with 305 keys each sent 2.1 MB each within 15 minutes, 2.1 MB / (305 x 7). The message itself has some
95; the rest opens and closes a stream, agrees on its protocol, encrypts, and acknowledges."""

_ANSWER_PEER_BYTES: Final = 70.0
"""One of the k peers in an answer: an id of 38 bytes, two addresses of 8 to 12, and their tags and lengths."""

ANSWER_WIRE_BYTES: Final = RECORD_WIRE_BYTES + K * _ANSWER_PEER_BYTES
"""What one request of a lookup costs with its answer, bytes, both ends together: as a record, and k peers."""

KEEPALIVE: Final = 17.5
"""What an idle node sends for each peer, bytes per second. Measured beside Spegel 0.7.4: 14, 124 and 259 with 1, 7 and
15 peers."""

RECORD_MEMORY_BYTES: Final = 250.0
"""What a record takes in memory, bytes: an estimate. Its key, as text, has some 130 characters; it has a time, and a
place in a map."""


_RECORD: Final = f"{RECORD_WIRE_BYTES:.0f} B"
_ANSWER: Final = f"{ANSWER_WIRE_BYTES:.0f} B"
_PAUSE: Final = f"{REPROVIDE_S:.0f} s"


def table_size(nodes: int, k: int = K) -> float:
    """Nodes in a routing table: each bucket has k, or all of its range, which is half as large as the one before."""
    found, left = 0.0, float(nodes)
    while left > 1:
        left /= 2
        found += min(k, left)
    return min(found, nodes - 1.0)


def hops(nodes: int, k: int = K) -> float:
    """Steps until a lookup knows the closest nodes: the best of k at each step shares 1 + log2(k) bits more."""
    return max(0.0, math.log2(nodes / k)) / (1 + math.log2(k))


def rounds(nodes: int, k: int = K, alpha: int = ALPHA) -> float:
    """Rounds of requests of a lookup: the steps, and then the k closest are asked, alpha at a time."""
    return math.ceil(min(k, nodes - 1) / alpha) + hops(nodes, k)


def requests(nodes: int, k: int = K, alpha: int = ALPHA) -> float:
    """Requests of a lookup: the k closest, and alpha at each step."""
    return min(k, nodes - 1) + alpha * hops(nodes, k)


def costs(walked: Walked, keys: int, pulled_per_s: float) -> list[Figure]:
    """All figures of a cluster.

    Args:
        walked: what lookups in it gave.
        keys: that each node provides.
        pulled_per_s: blobs that each node completes in a wave of pulls, per second.
    """
    nodes = walked.nodes
    kept, sent = min(K, nodes), min(K, nodes - 1)
    regions = min(keys, max(1.0, nodes / K))
    asked = walked.requests
    rows: list[tuple[str, str, str, float, str, str]] = [
        ("table", "nodes in a routing table", "nodes", walked.table, "sum over i of min(k, N / 2^i)",
         f"simulated; the formula gives {table_size(nodes):.0f}"),
        ("requests", "requests of a lookup", "requests", asked, "min(k, N - 1) + alpha log2(N / k) / (1 + log2 k)",
         f"simulated; the formula gives {requests(nodes):.1f}"),
        ("rounds", "rounds of a lookup", "round trips", walked.rounds,
         "min(k, N - 1) / alpha, rounded up, + log2(N / k) / (1 + log2 k)",
         f"simulated; the formula gives {rounds(nodes):.1f}"),
        ("local", "lookups of what somebody has that need no request", "share", walked.local, "min(1, k / N)",
         f"simulated; the formula gives {min(1.0, K / nodes):.3f}"),
        ("records", "records that a node keeps", "records", keys * kept, "keys x min(k, N)", f"{keys} x {kept}"),
        ("memory", "memory of these", "bytes", keys * kept * RECORD_MEMORY_BYTES,
         f"records x {RECORD_MEMORY_BYTES:.0f} B", f"{keys * kept} x {RECORD_MEMORY_BYTES:.0f}"),
        ("reprovide", "re-providing", "B/s", keys * sent * RECORD_WIRE_BYTES / REPROVIDE_S,
         f"keys x min(k, N - 1) x {_RECORD} / {_PAUSE}",
         f"{keys} x {sent} x {RECORD_WIRE_BYTES:.0f} / {REPROVIDE_S:.0f}"),
        ("regions", "lookups for that, one for all keys of a region", "B/s",
         regions * asked * ANSWER_WIRE_BYTES / REPROVIDE_S, f"min(keys, N / k) x requests x {_ANSWER} / {_PAUSE}",
         f"{regions:.0f} x {asked:.1f} x {ANSWER_WIRE_BYTES:.0f} / {REPROVIDE_S:.0f}"),
        ("refresh", "refreshing the table, a lookup for each bucket", "B/s",
         walked.buckets * asked * ANSWER_WIRE_BYTES / REFRESH_S, f"buckets x requests x {_ANSWER} / {REFRESH_S:.0f} s",
         f"{walked.buckets:.1f} x {asked:.1f} x {ANSWER_WIRE_BYTES:.0f} / {REFRESH_S:.0f}"),
        ("keepalive", "keeping connections", "B/s", KEEPALIVE * walked.table, f"table x {KEEPALIVE} B/s",
         f"{walked.table:.0f} x {KEEPALIVE}"),
        ("wave", "providing new keys in a wave of pulls", "B/s",
         pulled_per_s * (asked * ANSWER_WIRE_BYTES + sent * RECORD_WIRE_BYTES),
         f"blobs / s x (requests x {_ANSWER} + min(k, N - 1) x {_RECORD})",
         f"{pulled_per_s:.2f} x ({asked:.1f} x {ANSWER_WIRE_BYTES:.0f} + {sent} x {RECORD_WIRE_BYTES:.0f})"),
        ("bootstrap", "requests to join: a lookup of itself and one for each bucket", "requests",
         (1 + walked.buckets) * asked, "(1 + buckets) x requests", f"(1 + {walked.buckets:.1f}) x {asked:.1f}"),
        ("stale", "until a dead holder is offered no more, mean", "s", VALID_S - REPROVIDE_S / 2,
         "time that it is valid - time between two / 2: a node dies at any time between two",
         f"{VALID_S:.0f} - {REPROVIDE_S:.0f} / 2"),
    ]  # fmt: skip
    return [Figure("DHT", nodes, *row) for row in rows]
