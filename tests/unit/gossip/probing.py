"""Members that a node under test probes: they introduce themselves, answer pings or stay silent while time passes."""

from collections.abc import Iterator
from typing import Any

from gossip.core.membership.member import PROTOCOL, Address, State
from gossip.core.messages import Ack, Alive, Message, Ping
from tests.unit.gossip.conftest import Peer


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


def answer(peer: Peer, within_s: float, but: tuple[str, ...] = ()) -> None:
    """Let time pass in which all members answer pings, but some."""
    for said in steps(peer, within_s):
        for address, message in said:
            if isinstance(message, Ping) and name_at(address) not in but:
                peer.hear(name_at(address), Ack(message.number))


def name_at(address: Address) -> str:
    """The name of the member that listens there."""
    return f"n{int(address.host.rpartition('.')[2]) - 1}"


def state(peer: Peer, name: str) -> State:
    """What the node believes of a member."""
    member = peer.node.view.member(name)
    assert member is not None
    return State(member.state)
