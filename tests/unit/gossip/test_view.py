"""What can be read of a node."""

from collections.abc import Callable

from gossip.core.membership.member import State
from gossip.core.messages import Dead, Ops
from tests.unit.gossip.conftest import Peer

KEY = bytes(range(8))


def test_members_are_all_others_and_any_can_be_asked_for_by_name(peer: Callable[..., Peer]) -> None:
    node = peer()
    view = node.node.view
    node.hear("n1", node.alive("n1"), node.alive("n2"))
    node.hear("n1", Dead("n2", 1, 0, "n1"))
    assert {member.name: member.state for member in view.members()} == {"n1": State.ALIVE, "n2": State.DEAD}
    assert view.member("n0") is view.me
    assert view.member("n1").state is State.ALIVE  # type: ignore[union-attr]
    assert view.member("n9") is None


def test_holders_are_alive_and_not_oneself(peer: Callable[..., Peer]) -> None:
    node = peer()
    for name in ("n1", "n2"):
        node.hear(name, node.alive(name))
        node.hear(name, Ops(name, 1, 0, 14, 0, KEY))
    node.node.advertise([KEY], node.now)
    node.pass_time(node.now + 1)
    assert {member.name for member in node.node.view.holders(KEY + bytes(24))} == {"n1", "n2"}
    node.hear("n1", Dead("n2", 1, 0, "n1"))
    assert [member.name for member in node.node.view.holders(KEY)] == ["n1"]
    assert node.node.view.holders(bytes(8)) == []


def test_keys_are_counted_as_each_states_them(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.hear("n1", Ops("n1", 1, 0, 14, 0, KEY * 3))
    node.node.advertise([KEY, bytes(8)], node.now)
    view = node.node.view
    assert (view.key_count("n0"), view.key_count("n1"), view.key_count("n9")) == (2, 3, 0)
    assert (view.unpublished, view.published.sequence, view.replica("n1").sequence) == (2, 0, 3)  # type: ignore[union-attr]
    node.pass_time(node.now + 0.1)
    assert (view.unpublished, view.published.sequence) == (0, 2)


def test_view_follows_the_node(peer: Callable[..., Peer]) -> None:
    node = peer()
    view, before = node.node.view, node.node.view.fingerprint
    assert (view.waiting, view.health, view.gave_way_to, view.farewell_confirmed) == (0, 0, None, False)
    node.hear("n1", node.alive("n1"))
    node.node.note_late_loop()
    node.node.update(b"other", node.now)
    assert view.fingerprint != before
    assert (view.waiting, view.health, view.me.metadata) == (2, 1, b"other")
    assert list(view.keyring) == []
