"""What a member says of itself in its metadata, as JSON: `{"port": 5001}`.

`"port"` says where its peer endpoint is. Its address is that of its gossip, from which it has answered: what a member
says of itself cannot aim the requests of all others elsewhere. A member whose metadata does not say this, or whose name
no agent can have, takes part in the gossip and is never asked for content.

`"tls"` says that it speaks TLS there. Where gossip is sealed, nobody on the path can take that word away.

`"home"` says whether the member serves as a home: `new` until it has been up for a while, `yes`, or `no`. Each member
says this of itself, so all others see a change at nearly the same moment, and agree about the rings.
"""

import asyncio
import contextlib
from functools import lru_cache

import msgspec

import gossip
from gossip import Gossip, Member

from ...sources import UPSTREAM
from .. import Peer, Serves, is_member_name


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a member answers others, and as what."""

    port: int
    home: Serves = Serves.YES
    tls: bool = False


class Word:
    """What this node says of itself in its metadata: where its peer endpoint is, and whether it serves as a home.

    Args:
        gossip: carries it.
        endpoint: what it says at first, as a new node.
    """

    def __init__(self, gossip: Gossip, endpoint: Endpoint) -> None:
        self._gossip = gossip
        self._endpoint = endpoint
        self._willing, self._is_new = True, True
        self._newness: asyncio.TimerHandle | None = None
        gossip.update(msgspec.json.encode(endpoint))

    def grow_old_after(self, seconds: float) -> None:
        """Have this node count as new no more after a while."""
        self._newness = asyncio.get_running_loop().call_later(seconds, self._grow_old)

    def close(self) -> None:
        """Say nothing more."""
        if self._newness is not None:
            self._newness.cancel()

    def set_willing(self, willing: bool) -> None:
        """Say whether this node serves as a home; it does not before it has been up for a while."""
        self._willing = willing
        self._publish()

    def _grow_old(self) -> None:
        self._is_new = False
        self._publish()

    def _publish(self) -> None:
        home = Serves.NO if not self._willing else Serves.NEW if self._is_new else Serves.YES
        if home != self._endpoint.home:
            self._endpoint = msgspec.structs.replace(self._endpoint, home=home)
            with contextlib.suppress(gossip.StateError):
                self._gossip.update(msgspec.json.encode(self._endpoint))


def peer_of(member: Member) -> Peer | None:
    """The peer endpoint of a member, if its metadata says where that is."""
    endpoint = endpoint_of(member)
    return None if endpoint is None else at(member, endpoint)


def at(member: Member, endpoint: Endpoint) -> Peer:
    """The peer endpoint of a member that says this of itself."""
    return Peer(member.name, member.address.host, endpoint.port, endpoint.tls)


def endpoint_of(member: Member) -> Endpoint | None:
    """What a member's metadata says, if its name is one that an agent may have."""
    return _endpoint(member.metadata) if is_member_name(member.name) and member.name != UPSTREAM else None


@lru_cache(maxsize=1024)
def _endpoint(metadata: bytes) -> Endpoint | None:
    """What the metadata of a member says, if it is valid."""
    try:
        endpoint = msgspec.json.decode(metadata, type=Endpoint)
    except (ValueError, RecursionError):
        return None
    return endpoint if 0 < endpoint.port < 65536 else None
