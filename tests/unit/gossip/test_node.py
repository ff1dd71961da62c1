"""Whole nodes: what a pause means, and whatever else concerns all parts."""

from collections.abc import Callable

import pytest

from gossip.core.events import Paused
from gossip.core.membership.member import State
from gossip.core.messages import Ping
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.probing import introduce, name_at, state, wait_for


def test_nobody_is_judged_by_a_round_in_which_this_node_stood_still(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 2)
    ((address, _),) = wait_for(node, Ping)
    node.now += 7.0
    node.node.tick(node.now)
    assert any(isinstance(event, Paused) for event in node.node.events())
    assert state(node, name_at(address)) is State.ALIVE
    begun = node.now
    node.said()
    wait_for(node, Ping)
    assert node.now == pytest.approx(begun + 0.5), "what waited in the socket is read before the next round"
