"""Whom a node knows of the DHT."""

from mirror.routers import Peer
from mirror.routers.dht.peers import Peers

ME, A, B = Peer("me", "10.0.0.1", 5001), Peer("a", "10.0.0.2", 5001), Peer("b", "10.0.0.3", 5001)


def test_peers_are_those_that_have_said_who_they_are() -> None:
    peers = Peers(ME, 10)
    peers.met("1", A)
    peers.changed(["1", "2"])
    assert list(peers.of(["2", "1"])) == [A]
    assert list(peers.among(peers.table)) == [A]


def test_a_name_has_one_peer_and_this_node_s_own_is_nobody_else_s() -> None:
    peers = Peers(ME, 10)
    peers.met("1", A)
    moved = Peer("a", "10.0.0.9", 5001)
    peers.met("2", moved)
    peers.met("3", Peer("me", "10.0.0.66", 1))
    assert list(peers.of(["1", "2", "3"])) == [moved]


def test_those_who_said_so_longest_ago_are_forgotten_first() -> None:
    peers = Peers(ME, 1)
    peers.met("1", A)
    peers.met("2", B)
    assert list(peers.of(["1", "2"])) == [B]
