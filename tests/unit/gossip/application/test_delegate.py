"""What a node asks its application."""

from collections.abc import Callable, Sequence

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Member, State
from gossip.core.messages import Ack, Ping, Record
from tests.unit.gossip.conftest import Peer


class Application(Delegate):
    """Answers as the test wants."""

    def __init__(self, *, merge: Callable[[Sequence[Member]], bool] = lambda _: True, acknowledge: bytes = b"") -> None:
        self._merge = merge
        self._acknowledge = acknowledge

    def merge(self, members: Sequence[Member]) -> bool:
        return self._merge(members)

    def acknowledge(self) -> bytes:
        return self._acknowledge


def test_answer_to_a_ping_carries_what_the_application_attaches(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(acknowledge=b"coordinates"))
    node.hear("n1", node.alive("n1"))
    node.hear("n1", Ping(7, "n0"))
    assert (peer().address("n1"), Ack(7, b"coordinates")) in node.said()


def test_application_refuses_a_whole_cluster_and_nothing_of_it_is_taken(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(merge=lambda members: len(members) < 3))
    records = [Record(f"n{i}", 1, 0, State.ALIVE, node.address(f"n{i}"), b"", PROTOCOL) for i in range(1, 5)]
    with pytest.raises(WireError, match="does not want"):
        node.node.full_state.merge(records, node.now, stranger=True)
    assert node.node.view.members() == []
    node.node.full_state.merge(records[:2], node.now, stranger=True)
    node.introduce_all()
    assert not node.node.full_state.is_stranger("n1")
    node.node.full_state.merge(records, node.now, stranger=False)
    node.introduce_all()
    assert len(node.node.view.members()) == 4
