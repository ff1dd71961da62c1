"""Whose records are believed: networks, versions of the protocol, and the application."""

import dataclasses
from collections.abc import Callable

from gossip.core.application.delegate import Delegate
from gossip.core.events import Rejected
from gossip.core.membership.member import Member, Span
from gossip.core.messages import Dead
from tests.unit.gossip.conftest import Peer


class Application(Delegate):
    """Admits the members that the test wants."""

    def __init__(self, admit: Callable[[Member], bool]) -> None:
        self._admit = admit

    def admit(self, member: Member) -> bool:
        return self._admit(member)


def test_application_keeps_a_member_out_and_an_update_back(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(admit=lambda member: member.metadata != b"bad"))
    bad = dataclasses.replace(node.alive("n1"), metadata=b"bad")
    node.hear("n1", bad)
    assert node.node.view.members() == []
    node.hear("n1", node.alive("n1"))
    node.hear("n1", dataclasses.replace(bad, incarnation=1))
    assert [member.metadata for member in node.node.view.members()] == [b""]
    assert [event.reason for event in node.events(Rejected)] == ["veto", "veto"]


def test_the_highest_version_is_spoken_that_all_live_members_understand(peer: Callable[..., Peer]) -> None:
    node = peer(protocol=Span(1, 3))
    assert node.node.view.protocol == 3
    node.hear("n1", node.alive("n1", protocol=Span(1, 2)))
    node.hear("n2", node.alive("n2", protocol=Span(1, 1)))
    assert node.node.view.protocol == 1
    node.hear("n1", Dead("n2", 1, 0, "n1"))
    assert node.node.view.protocol == 2
    node.hear("n2", node.alive("n2", epoch=2, protocol=Span(2, 3)))
    assert node.node.view.protocol == 2


def test_member_that_would_leave_no_version_in_common_is_kept_out(peer: Callable[..., Peer]) -> None:
    node = peer(protocol=Span(1, 2))
    node.hear("n1", node.alive("n1", protocol=Span(1, 1)))
    node.hear("n2", node.alive("n2", protocol=Span(2, 3)))
    node.hear("n3", node.alive("n3", protocol=Span(3, 4)))
    assert [member.name for member in node.node.view.members()] == ["n1"]
    assert [event.reason for event in node.events(Rejected)] == ["version", "version"]
