"""Comparing views with other members until they are equal."""

import random
from collections.abc import Callable

import pytest

from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Alive, Buckets, Entries, Left, Message, Offer, Ops, Pull, Suspect
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.directory.sharing import introduce, keys, share


def exchange(one: Peer, other: Peer, name: str) -> int:
    """Let `one` see that `other`, which is called so, has another view, until neither has anything to say."""
    said = 0
    questions: list[Message] = [one.node.dissemination.reconciler.opening()]
    here, there = one, other
    while questions:
        answers: list[Message] = []
        for question in questions:
            there.hear(name, question)
            answers += [message for _, message in there.said() if isinstance(message, _COMPARING)]
        said += len(answers)
        assert said < 500
        here, there, questions = there, here, answers
    return said


_COMPARING = (Buckets, Entries, Pull, Alive, Ops, Suspect, Left, Offer)


@pytest.mark.parametrize("members", [5, 150])
@pytest.mark.parametrize("seed", range(3))
def test_comparisons_close_all_differences(peer: Callable[..., Peer], members: int, seed: int) -> None:
    """Two nodes under one name, so that their views can be equal, heard different things of the same members."""
    one, other, chance = peer(), peer(), random.Random(seed)
    for number in range(1, members):
        name = f"n{number}"
        for node in (one, other):
            node.hear("n200", Alive("n200", 1, 0, node.address("n200"), b"", PROTOCOL))
            if chance.random() < 0.9:
                introduce(node, name, incarnation=chance.randrange(3))
                share(node, name, keys(number, chance.randrange(4)))
    rounds = 0
    while one.node.view.fingerprint != other.node.view.fingerprint:
        rounds += 1
        assert rounds <= 40, "they do not come closer"
        exchange(one, other, "n200")
        exchange(other, one, "n200")
    views = [{member.name: member.precedence for member in node.node.view.members()} for node in (one, other)]
    assert views[0] == views[1]


def test_comparison_begins_once_the_news_have_settled_and_not_again_at_once(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1")
    node.said()

    def begins(after_s: float) -> bool:
        node.now += after_s
        node.hear("n1", fingerprint=b"somebody")
        return any(isinstance(message, Entries) for _, message in node.said())

    assert not begins(0.15), "the first packet of n1 began one"
    node.now += 0.1
    introduce(node, "n2")
    node.said()
    assert not begins(0.04), "who sent this may have been told meanwhile"
    assert begins(0.02)
    assert not begins(0.0)
    assert begins(0.25)


def test_equal_views_are_not_compared(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1")
    node.said()
    node.now += 5
    node.hear("n1")
    assert not any(isinstance(message, Entries | Buckets) for _, message in node.said())
