"""Reaching a cluster, and reaching it again."""

from collections.abc import Callable

from gossip.core.membership.member import Address
from gossip.core.messages import Dead
from gossip.core.streams.purpose import Purpose
from tests.unit.gossip.conftest import Peer

PATIENT = {"probe_interval_s": 60, "probe_timeout_s": 30}  # so that members that never answer live through a test
SEED, OTHER = Address("10.9.1.1", 7946), Address("10.9.1.2", 7946)


def dialled(peer: Peer, until: float) -> list[tuple[float, Address]]:
    """What is dialled for full exchanges up to a time, each of which fails at once."""
    found = []
    while (deadline := peer.node.next_deadline()) is not None and deadline <= until:
        peer.now = max(peer.now, deadline)
        peer.node.tick(peer.now)
        for exchange in peer.node.dials():
            if exchange.purpose is Purpose.SYNC:
                found.append((peer.now, exchange.remote))
            peer.node.hang_up(exchange, peer.now)
    peer.now = until
    return found


def hang_up(peer: Peer) -> list[Address]:
    exchanges = peer.node.dials()
    for exchange in exchanges:
        peer.node.hang_up(exchange, peer.now)
    return [exchange.remote for exchange in exchanges]


def test_all_seeds_are_dialled_at_once_but_oneself(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.node.join([SEED, node.node.view.me.address, OTHER, SEED], node.now)
    assert hang_up(node) == [SEED, OTHER]


def test_seed_is_tried_again_until_a_member_is_known(peer: Callable[..., Peer]) -> None:
    node = peer(join_retry_s=1, heal_interval_s=10, **PATIENT)
    node.node.join([SEED], node.now)
    hang_up(node)
    tries = dialled(node, node.now + 10)
    assert {address for _, address in tries} == {SEED}
    assert 8 <= len(tries) <= 13
    node.hear("n1", node.alive("n1"))
    assert len([address for _, address in dialled(node, node.now + 20) if address == SEED]) <= 4


def test_seed_at_which_a_member_is_known_is_not_dialled(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.node.join([node.address("n1")], node.now)
    assert hang_up(node) == []


def test_address_of_a_dead_member_is_tried_for_as_long_as_it_is_kept(peer: Callable[..., Peer]) -> None:
    node = peer(heal_interval_s=10, forget_after_s=100, sync_interval_s=600, **PATIENT)
    node.hear("n2", node.alive("n1"), node.alive("n2"))
    node.hear("n2", Dead("n1", 1, 0, "n2"))
    tried = [at for at, address in dialled(node, node.now + 95) if address == node.address("n1")]
    assert 7 <= len(tried) <= 13
    assert node.now - 95 + 9.9 <= tried[0] <= node.now - 95 + 10.1
    dialled(node, node.now + 20)
    assert [address for _, address in dialled(node, node.now + 60) if address == node.address("n1")] == []


def test_full_exchanges_are_rarer_in_large_clusters(peer: Callable[..., Peer]) -> None:
    counts = []
    for members in (3, 120):
        node = peer(sync_interval_s=10, **PATIENT)
        for number in range(1, members + 1):
            node.hear(f"n{number}", node.alive(f"n{number}"))
        counts.append(len(dialled(node, node.now + 300)))
    assert 28 <= counts[0] <= 31
    assert 9 <= counts[1] <= 11


def test_node_that_has_left_opens_no_streams(peer: Callable[..., Peer]) -> None:
    node = peer(sync_interval_s=1, join_retry_s=1)
    node.hear("n1", node.alive("n1"))
    node.node.join([SEED], node.now)
    hang_up(node)
    node.node.leave(node.now)
    assert dialled(node, node.now + 30) == []
