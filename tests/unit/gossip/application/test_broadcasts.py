"""Broadcasts of applications: delivered once, passed on, and bounded."""

from collections.abc import Callable

from gossip.core.events import BroadcastReceived
from gossip.core.messages import Broadcast
from tests.unit.gossip.conftest import Peer


def test_broadcast_is_delivered_once_and_passed_on(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"), node.alive("n2"))
    node.pass_time(node.now + 5)
    node.said()
    for sender in ("n1", "n2", "n1"):
        node.hear(sender, Broadcast("n1", 1, 0, b"hello"))
    assert node.events(BroadcastReceived) == [BroadcastReceived("n1", b"hello")]
    node.pass_time(node.now + 1)
    assert Broadcast("n1", 1, 0, b"hello") in [message for _, message in node.said()]


def test_broadcast_counts_anew_in_a_new_run_and_the_old_run_is_over(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    for epoch in (1, 2, 1, 2):
        node.hear("n1", Broadcast("n1", epoch, 0, str(epoch).encode()), epoch=epoch)
    assert [event.payload for event in node.events(BroadcastReceived)] == [b"1", b"2"]


def test_broadcast_of_somebody_unknown_is_not_believed(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", Broadcast("n9", 1, 0, b"hello"))
    assert node.events(BroadcastReceived) == []


def test_own_broadcast_does_not_come_back(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.node.messaging.broadcast(b"mine", node.now)
    node.hear("n1", Broadcast("n0", 1, 0, b"mine"))
    assert node.events(BroadcastReceived) == []
