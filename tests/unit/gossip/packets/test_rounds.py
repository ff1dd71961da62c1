"""Rounds of rumours: at once when there is something new, then at intervals, to the living and to those lately dead."""

from collections.abc import Callable

from gossip.core.messages import Broadcast, Dead
from tests.unit.gossip.conftest import Peer


def broadcasts(peer: Peer) -> set[str]:
    return {address.host for address, message in peer.said() if isinstance(message, Broadcast)}


def test_fresh_rumour_goes_out_within_ten_milliseconds_and_then_at_intervals(peer: Callable[..., Peer]) -> None:
    node = peer(gossip_fanout=4)
    node.hear("n1", node.alive("n1"))
    node.pass_time(node.now + 5)
    node.said()
    node.node.messaging.broadcast(b"news", node.now)
    node.pass_time(node.now + 0.011)
    assert broadcasts(node) == {"10.9.0.2"}
    node.pass_time(node.now + 0.05)
    assert broadcasts(node) == set()
    node.pass_time(node.now + 0.1)
    assert broadcasts(node) == {"10.9.0.2"}


def test_no_rumours_no_rounds(peer: Callable[..., Peer]) -> None:
    node = peer(probe_interval_s=60, sync_interval_s=600)
    node.hear("n1", node.alive("n1"))
    node.pass_time(node.now + 5)
    assert node.node.view.waiting == 0
    node.said()
    node.pass_time(node.now + 5)
    assert node.said() == []


def test_a_dead_member_still_hears_rumours_for_a_while(peer: Callable[..., Peer]) -> None:
    node = peer(gossip_to_dead_s=10, forget_after_s=600)
    node.hear("n1", node.alive("n1"), node.alive("n2"))
    node.hear("n2", Dead("n1", 1, 0, "n2"))
    node.said()
    node.node.messaging.broadcast(b"within its time", node.now)
    node.pass_time(node.now + 1)
    assert "10.9.0.2" in broadcasts(node)
    node.pass_time(node.now + 10)
    node.said()
    node.node.messaging.broadcast(b"too late", node.now)
    node.pass_time(node.now + 1)
    assert "10.9.0.2" not in broadcasts(node)
