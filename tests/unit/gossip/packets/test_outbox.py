"""Datagrams: no longer than allowed, and to strangers no longer than what came from there."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError
from gossip.core.membership.member import Address, Span
from gossip.core.messages import (
    Alive,
    Broadcast,
    Suspect,
)
from gossip.core.packets.codec import U32_MAX

Peer = Any


def test_the_longest_of_all_that_is_passed_on_fits_the_smallest_datagram(peer: Callable[..., Peer]) -> None:
    node, longest = peer(datagram_max_bytes=1024), "n" * 128
    noise = random.Random(1).randbytes(512)
    node.hear("n1", Alive(longest, 2**64 - 1, U32_MAX, Address("fd00::1", 65535), noise, Span(1, 15)))
    node.hear("n1", Broadcast(longest, 2**64 - 1, U32_MAX, noise), Suspect(longest, 2**64 - 1, U32_MAX, "m" * 128))
    node.pass_time(node.now + 0.2)
    sent = node.node.datagrams()
    assert sent
    assert max(len(datagram.payload) for datagram in sent) <= 1024
    with pytest.raises(ConfigError, match="datagram_max_bytes"):
        GossipConfig(datagram_max_bytes=1023)
