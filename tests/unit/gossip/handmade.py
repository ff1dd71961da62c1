"""Packets that a test writes itself, in the open, and sends from an address that no member has."""

import random

from gossip.core.membership.member import PROTOCOL, Address
from gossip.core.messages import Message
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal

ELSEWHERE = Address("192.0.2.1", 9)


def speaker() -> Seal:
    """The seal of one who has no keys."""
    return Seal("", Keyring(), PROTOCOL, random.Random(5).randbytes)


def packet(sender: str, *messages: Message, epoch: int = 1) -> bytes:
    """A datagram of that member, with a fingerprint that is nobody's."""
    return speaker().wrap(encode_packet(sender, epoch, bytes(8), map(encode_message, messages)))
