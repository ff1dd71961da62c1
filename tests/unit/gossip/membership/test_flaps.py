"""Members that come and go are left out of lookups."""

from collections.abc import Callable
from typing import Any

from gossip.core.events import MemberFlapping, MemberSteady
from gossip.core.messages import Dead, Ops
from tests.unit.gossip.conftest import Peer


def test_member_that_died_three_times_is_left_out_of_lookups_until_it_was_steady(peer: Callable[..., Peer]) -> None:
    node = peer(flap_window_s=600, flap_within_s=60)
    key = bytes(8)
    for epoch in range(1, 5):
        node.hear("n1", node.alive("n1", epoch=epoch), epoch=epoch)
        assert node.node.view.is_left_out("n1", node.now) is (epoch == 4)
        if epoch < 4:
            node.hear("n1", Dead("n1", epoch, 0, "n2"), epoch=epoch)
            node.now += 10
    (flapping,) = node.events(MemberFlapping)
    node.node.dissemination.directory.apply(Ops("n1", 4, 0, 14, 0, key))
    assert node.node.view.holders(key) == []
    node.hear("n1", node.alive("n1", 1, epoch=4), epoch=4)
    assert node.node.view.holders(key) == [], "news of it do not end that"
    steady: list[Any] = []
    while not steady and node.now < flapping.counts_again_at + 1:
        node.hear("n1", node.alive("n1", 2, epoch=4), epoch=4)
        node.now = flapping.counts_again_at
        node.node.tick(node.now)
        steady = node.events(MemberSteady)
    assert [member.name for member in node.node.view.holders(key)] == ["n1"]


def test_restart_long_after_the_failure_is_no_flap(peer: Callable[..., Peer]) -> None:
    node = peer(flap_within_s=5)
    for epoch in range(1, 6):
        node.hear("n1", node.alive("n1", epoch=epoch), epoch=epoch)
        node.hear("n1", Dead("n1", epoch, 0, "n2"), epoch=epoch)
        node.now += 6
    assert not node.node.view.is_left_out("n1", node.now)
