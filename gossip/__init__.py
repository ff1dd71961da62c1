"""Membership by gossip, and a directory of what each member holds: SWIM with Lifeguard, Bloom filters, anti-entropy.

Usable on its own; this runs:

    import asyncio, hashlib
    from gossip import Gossip, local

    async def main() -> None:
        async with Gossip("a", local()) as a, Gossip("b", local(), seeds=[str(a.address)]) as b:
            key = hashlib.sha256(b"something that b has").digest()
            b.advertise([key])
            while not a.view.holders(key):
                await asyncio.sleep(0.01)
            print([member.name for member in a.view.holders(key)])  # ['b']

    asyncio.run(main())

Everything below is public; nothing else is to be imported from outside.
"""

from .core.application.delegate import Delegate
from .core.config import GossipConfig, fast, lan, local, wan
from .core.errors import ConfigError, DeliveryError, GossipError, Rejection, StateError
from .core.events import (
    Answered,
    BroadcastReceived,
    Event,
    FilterChanged,
    FilterFull,
    KeysChanged,
    MemberFailed,
    MemberFlapping,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSteady,
    MemberSuspected,
    MemberUnreached,
    MemberUpdated,
    MessageReceived,
    NameConflict,
    Paused,
    Refuted,
    Rejected,
    StateReceived,
)
from .core.membership.member import Address, Member, Span, State
from .core.messages import FilterKind
from .core.packets.keyring import key_id
from .core.packets.seal import Sealing
from .core.view import View
from .net.api import Gossip, Listen
from .net.cluster_keys import ClusterKeys, KeyOutcome
from .net.counters import Counters, Direction, Failure
from .net.keys import load_keys, save_keys
from .net.listener import StreamTls
from .net.sockets import parse_address
from .net.subscriptions import EventsLost, Subscription

__all__ = [
    "Address",
    "Answered",
    "BroadcastReceived",
    "ClusterKeys",
    "ConfigError",
    "Counters",
    "Delegate",
    "DeliveryError",
    "Direction",
    "Event",
    "EventsLost",
    "Failure",
    "FilterChanged",
    "FilterFull",
    "FilterKind",
    "Gossip",
    "GossipConfig",
    "GossipError",
    "KeyOutcome",
    "KeysChanged",
    "Listen",
    "Member",
    "MemberFailed",
    "MemberFlapping",
    "MemberForgotten",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberSteady",
    "MemberSuspected",
    "MemberUnreached",
    "MemberUpdated",
    "MessageReceived",
    "NameConflict",
    "Paused",
    "Refuted",
    "Rejected",
    "Rejection",
    "Sealing",
    "Span",
    "State",
    "StateError",
    "StateReceived",
    "StreamTls",
    "Subscription",
    "View",
    "fast",
    "key_id",
    "lan",
    "load_keys",
    "local",
    "parse_address",
    "save_keys",
    "wan",
]
