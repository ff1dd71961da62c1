"""Whole nodes: what a pause means, and whatever else concerns all parts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gossip.core.events import Paused
from gossip.core.membership.member import PROTOCOL, Address, State
from gossip.core.messages import Alive, Message, Ping

Peer = Any


def introduce(peer: Peer, count: int) -> list[str]:
    """Let members n1, n2, ... say that they are there."""
    names = [f"n{number}" for number in range(1, count + 1)]
    for name in names:
        peer.hear(name, Alive(name, 1, 0, peer.address(name), b"", PROTOCOL))
    peer.said()
    peer.node.events()
    return names


def steps(peer: Peer, within_s: float) -> Iterator[list[tuple[Address, Message]]]:
    """What the node says at each of its deadlines."""
    until = peer.now + within_s
    while (deadline := peer.node.next_deadline()) is not None and deadline <= until:
        peer.now = max(peer.now, deadline)
        peer.node.tick(peer.now)
        yield peer.said()
    peer.now = until


def wait_for(peer: Peer, kind: type[Message], within_s: float = 30.0) -> list[tuple[Address, Any]]:
    """Let time pass until the node says something of that kind. Returns all of that kind that it says then."""
    for said in steps(peer, within_s):
        found = [(address, message) for address, message in said if isinstance(message, kind)]
        if found:
            return found
    raise AssertionError(f"no {kind.__name__} within {within_s} s")


def name_at(address: Address) -> str:
    return f"n{int(address.host.rpartition('.')[2]) - 1}"


def state(peer: Peer, name: str) -> State:
    member = peer.node.view.member(name)
    assert member is not None
    return State(member.state)


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
