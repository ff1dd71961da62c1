"""What a node says of itself, and to what is said of it."""

from collections.abc import Callable

import pytest

from gossip.core.errors import ConfigError, StateError
from gossip.core.events import Refuted
from gossip.core.membership.member import PROTOCOL, Address, State
from gossip.core.messages import Alive, Dead, Left, Message, Suspect
from gossip.core.packets.codec import U32_MAX
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.membership.outcome import HERE, happened, told

STEP = 1 << 16  # by which an epoch is raised at most


@pytest.mark.parametrize(
    ("heard", "after", "doubt"),
    [
        pytest.param(Suspect("n0", 1, 0, "n8"), (1, 1), 1, id="suspicion"),
        pytest.param(Dead("n0", 1, 6, "n8"), (1, 7), 1, id="death"),
        pytest.param(Suspect("n0", 0, 9, "n8"), (1, 0), 0, id="of an earlier run"),
        pytest.param(Left("n0", 1, 0), (2, 0), 0, id="a goodbye that it never said"),
        pytest.param(Suspect("n0", 4, 0, "n8"), (5, 0), 0, id="of a run that is newer than itself"),
        pytest.param(Alive("n0", 4, 2, HERE, b"", PROTOCOL), (5, 0), 0, id="a newer run of its own, elsewhere"),
        pytest.param(Alive("n0", 1, 0, Address("10.9.0.1", 7946), b"", PROTOCOL), (1, 0), 0, id="the truth"),
        pytest.param(Alive("n0", 1, 3, Address("10.9.0.1", 7946), b"x", PROTOCOL), (1, 4), 1, id="what it never said"),
        pytest.param(Suspect("n0", 1, U32_MAX, "n8"), (2, 0), 0, id="as far as can be counted"),
    ],
)
def test_node_refutes_what_is_said_of_itself(
    peer: Callable[..., Peer], heard: Message, after: tuple[int, int], doubt: int
) -> None:
    node = peer()
    node.hear("n8", Alive("n8", 1, 0, node.address("n8"), b"", PROTOCOL))
    node.hear("n8", heard)
    me = node.node.view.me
    assert me.incarnation == after[1]
    assert me.epoch == 1 if after[0] == 1 else after[0] <= me.epoch < after[0] + STEP
    assert me.state is State.ALIVE
    assert node.node.view.health == doubt
    assert (Refuted in happened(node)) is bool(doubt)
    refutations = [message for message in told(node) if isinstance(message, Alive) and message.name == "n0"]
    assert [(message.epoch, message.incarnation) for message in refutations] == (
        [] if after == (1, 0) else [(me.epoch, me.incarnation)]
    )


def test_second_accusation_of_the_same_is_no_second_doubt(peer: Callable[..., Peer]) -> None:
    node = peer()
    for accuser in ("n2", "n3"):
        node.hear(accuser, Suspect("n0", 1, 0, accuser))
    assert (node.node.view.me.incarnation, node.node.view.health) == (1, 1)


def test_two_that_raise_each_others_epochs_do_not_race(peer: Callable[..., Peer]) -> None:
    node = peer()
    for epoch in range(5, 10 * STEP, STEP):
        node.hear("n8", Suspect("n0", epoch, 0, "n8"))
    assert 5 < node.node.view.me.epoch <= 5 + STEP
    node.pass_time(node.now + 1.5)
    node.hear("n8", Suspect("n0", 10 * STEP, 0, "n8"))
    assert 10 * STEP < node.node.view.me.epoch <= 11 * STEP


def test_runs_that_hear_the_same_of_themselves_go_on_differently(peer: Callable[..., Peer]) -> None:
    """A node with its clock set back restarts twice in a partition: two addresses must not share an epoch."""
    epochs = set()
    for seed in range(4):
        node = peer(seed=seed)
        node.hear("n8", Suspect("n0", 5, 0, "n8"))
        epochs.add(node.node.view.me.epoch)
    assert len(epochs) == 4


def test_who_has_left_refutes_nothing_and_changes_nothing(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n8", Alive("n8", 1, 0, node.address("n8"), b"", PROTOCOL))
    node.node.leave(node.now)
    node.hear("n8", Suspect("n0", 1, 0, "n8"), Dead("n0", 9, 0, "n8"))
    assert (node.node.view.me.state, node.node.view.me.epoch, node.node.view.me.incarnation) == (State.LEFT, 1, 0)
    assert Left("n0", 1, 0) in told(node)
    with pytest.raises(StateError):
        node.node.update(b"", node.now)
    with pytest.raises(StateError):
        node.node.advertise([bytes(8)], node.now)


def test_new_metadata_is_told_under_a_new_incarnation(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n8", Alive("n8", 1, 0, node.address("n8"), b"", PROTOCOL))
    node.node.update(b"new", node.now)
    assert Alive("n0", 1, 1, Address("10.9.0.1", 7946), b"new", PROTOCOL) in told(node)
    with pytest.raises(ConfigError, match="512"):
        node.node.update(bytes(513), node.now)


def test_metadata_can_change_at_the_highest_incarnation(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"), Suspect("n0", 1, U32_MAX - 1, "n1"))
    assert (node.node.view.me.epoch, node.node.view.me.incarnation) == (1, U32_MAX)
    node.node.update(b"new", node.now)
    assert (node.node.view.me.epoch, node.node.view.me.incarnation) == (2, 0)
