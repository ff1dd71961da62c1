"""Leaving: who is told, until when, and what counts as a confirmation."""

from collections.abc import Callable
from typing import Any

import pytest

from gossip.core.errors import StateError
from gossip.core.messages import Ack, Left, Ping
from tests.unit.gossip.conftest import Peer


def leaving(peer: Callable[..., Peer], members: int, **settings: Any) -> tuple[Peer, dict[str, int]]:
    """A node that leaves, and the numbers of the pings beside its goodbyes, by the name of who got them."""
    node = peer(**settings)
    for number in range(1, members + 1):
        node.hear(f"n{number}", node.alive(f"n{number}"))
    node.pass_time(node.now + 0.05)
    node.said()
    node.node.leave(node.now)
    said = node.said()
    pings = {message.target: message.number for _, message in said if isinstance(message, Ping)}
    assert {node.address(name) for name in pings} == {
        address for address, message in said if isinstance(message, Left) and message.name == "n0"
    }
    return node, pings


def test_goodbye_is_confirmed_when_all_that_were_told_have_answered(peer: Callable[..., Peer]) -> None:
    node, pings = leaving(peer, 3)
    assert set(pings) == {"n1", "n2", "n3"}
    for name, number in pings.items():
        assert not node.node.view.farewell_confirmed
        node.hear(name, Ack(number))
    assert node.node.view.farewell_confirmed


def test_answer_of_another_confirms_nothing(peer: Callable[..., Peer]) -> None:
    node, pings = leaving(peer, 2)
    for name, other in (("n1", "n2"), ("n2", "n1")):
        node.hear(name, Ack(pings[other]))
    assert not node.node.view.farewell_confirmed


def test_those_that_have_not_confirmed_are_told_again_and_only_those(peer: Callable[..., Peer]) -> None:
    node, pings = leaving(peer, 2)
    node.hear("n1", Ack(pings["n1"]))
    node.said()
    node.pass_time(node.now + 0.6)
    assert [message.target for _, message in node.said() if isinstance(message, Ping)] == ["n2"]


def test_one_that_left_meanwhile_is_waited_for_no_longer(peer: Callable[..., Peer]) -> None:
    node, _ = leaving(peer, 1)
    node.hear("n1", Left("n1", 1, 0))
    node.pass_time(node.now + 0.6)
    assert node.node.view.farewell_confirmed


@pytest.mark.parametrize(("members", "direct", "told"), [(3, 0, 3), (20, 0, 8), (20, 16, 16), (12, 32, 12)])
def test_so_many_are_told_directly(peer: Callable[..., Peer], members: int, direct: int, told: int) -> None:
    _, pings = leaving(peer, members, direct_members_max=direct)
    assert len(pings) == told


def test_node_that_knows_nobody_has_left_at_once(peer: Callable[..., Peer]) -> None:
    node, _ = leaving(peer, 0)
    assert node.node.view.farewell_confirmed


def test_node_that_has_left_takes_no_intents_and_leaves_once(peer: Callable[..., Peer]) -> None:
    node, _ = leaving(peer, 1)
    intents: list[Callable[[], Any]] = [
        lambda: node.node.advertise([bytes(8)], node.now),
        lambda: node.node.withdraw([bytes(8)], node.now),
        lambda: node.node.update(b"", node.now),
        lambda: node.node.messaging.broadcast(b"", node.now),
        lambda: node.node.messaging.send("n1", b""),
        lambda: node.node.messaging.send_reliably("n1", b""),
    ]
    for intent in intents:
        with pytest.raises(StateError, match="has left"):
            intent()
    node.node.leave(node.now)
    assert node.said() == []
