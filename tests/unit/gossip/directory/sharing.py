"""Members that tell a node under test which keys they hold."""

import random

from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import KEY_BYTES, Alive, Ops
from tests.unit.gossip.conftest import Peer


def keys(seed: int, count: int) -> bytes:
    """That many keys, one after the other."""
    return random.Random(seed).randbytes(count * KEY_BYTES)


def introduce(peer: Peer, *names: str, epoch: int = 1, incarnation: int = 0) -> None:
    """Let members say that they are there."""
    for name in names:
        peer.hear(name, Alive(name, epoch, incarnation, peer.address(name), b"", PROTOCOL), epoch=epoch)


def share(peer: Peer, name: str, added: bytes, *, start: int = 0, generation: int = 0) -> None:
    """Let the peer hear of keys of a member, by packets as long as they may be."""
    for offset in range(0, len(added), 800):
        first = start + offset // KEY_BYTES
        peer.hear(name, Ops(name, 1, generation, 14, first, added[offset : offset + 800]))
    peer.said()
