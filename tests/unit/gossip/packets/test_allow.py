"""From which networks packets are accepted."""

import dataclasses
from collections.abc import Callable

import pytest

from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, WireError
from gossip.core.events import Rejected
from gossip.core.membership.member import Address
from gossip.core.messages import Ping
from tests.unit.gossip.conftest import Peer


def test_only_allowed_networks_are_heard_answered_and_believed(peer: Callable[..., Peer]) -> None:
    node = peer(allow=("10.9.0.0/29", "fd00::/8"))
    node.hear("n20", Ping(1, "n0"))
    assert node.said() == []
    node.hear(
        "n1",
        node.alive("n1"),
        node.alive("n20"),
        dataclasses.replace(node.alive("n2"), address=Address("fd00::1", 1)),
    )
    assert [member.name for member in node.node.view.members()] == ["n1", "n2"]
    with pytest.raises(WireError):
        node.node.answer(node.address("n20"))
    assert [event.reason for event in node.events(Rejected)] == ["allow", "allow"]


@pytest.mark.parametrize("allow", [(), ("10.0.0.0/8", "nonsense"), ("10.0.0.1/8",)])
def test_networks_that_are_none_are_refused(allow: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="allow"):
        GossipConfig(allow=allow)
