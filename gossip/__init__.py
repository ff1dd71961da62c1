"""Membership by gossip, and a directory of what each member holds: SWIM with Lifeguard, Bloom filters, anti-entropy.

Usable on its own; this runs:

    import asyncio, hashlib
    from gossip import Gossip, local

    async def main() -> None:
        async with Gossip("a", local()) as a, Gossip("b", local(), seeds=[str(a.address)]) as b:
            key = hashlib.sha256(b"something that b has").digest()
            b.advertise([key])
            while not a.holders(key):
                await asyncio.sleep(0.01)
            print([member.name for member in a.holders(key)])  # ['b']

    asyncio.run(main())

Everything below is public; nothing else is to be imported from outside.
"""

from .core.config import GossipConfig, fast, lan, local
from .core.errors import ConfigError, GossipError, StateError
from .core.events import (
    Event,
    FilterChanged,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    Paused,
    Refuted,
    Rejected,
)
from .core.members import Address, Member, State
from .net.keys import load_keys
from .net.shell import Gossip, Listen
from .net.sockets import parse_address
from .net.subscriptions import EventsLost, Subscription

__all__ = [
    "Address",
    "ConfigError",
    "Event",
    "EventsLost",
    "FilterChanged",
    "Gossip",
    "GossipConfig",
    "GossipError",
    "Listen",
    "Member",
    "MemberFailed",
    "MemberForgotten",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberSuspected",
    "MemberUpdated",
    "NameConflict",
    "Paused",
    "Refuted",
    "Rejected",
    "State",
    "StateError",
    "Subscription",
    "fast",
    "lan",
    "load_keys",
    "local",
    "parse_address",
]
