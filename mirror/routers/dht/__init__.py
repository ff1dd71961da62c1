"""Discovery by a distributed hash table, to compare gossip with: libp2p's Kademlia, with the settings that Spegel uses.

What a node holds it tells the k nodes closest to each key, as provider records, again and again until they expire. Who
looks for a key asks those nodes. With k nodes or fewer, each of them has all records: a hit is found here, and a miss
asks everybody.

A DHT has no membership. So this node knows those whom it has met and those whom records name, not who is up; and it
has the only seat of its rings: there are no homes, and each node fetches from upstream itself what no other holds. Nor
does a DHT carry the cluster's keys or a warning that a name is taken twice.

A provider record names a libp2p peer and its addresses, none of them an HTTP endpoint. Spegel takes the address of the
record and a port that must be the same on all nodes. Here a node asks the peer itself, once for each connection, by a
small protocol beside Kademlia's: it answers with its name and the port of its peer endpoint. The host is the one from
which it answers, so no word of a peer aims the requests of others elsewhere.

    router ──> lookups, peers     on the agent's event loop
      └─────> thread ──> node     on trio, in a thread of its own; it needs the optional extra `skvaller[dht]`
                          └────> bootstrap, finder, sweep ──> network ──> messages, records

The library encrypts, answers the questions of others, and keeps the routing table. Ours is what Spegel's libp2p does
and py-libp2p does not: records that expire after minutes, one stream to a peer for all questions, lookups that say at
once whom they found, the sweep that tells all keys again; and bounds.
"""

from .router import DhtRouter, DhtSettings, KeysAreFixed

__all__ = ["DhtRouter", "DhtSettings", "KeysAreFixed"]
