"""The `Router` on gossip: the only module of the mirror that knows there is such a thing.

A member's metadata says where its peer endpoint is, as JSON: `{"port": 5001}`, with `"host"` where that is another than
its gossip's. Members whose metadata says nothing of the kind take part in the gossip and are never asked.
"""

import contextlib
import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

import gossip
from gossip import Gossip, Listen, Member, State

from ..errors import ConfigError
from ..router import Peer, Standing


class _Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    port: int
    host: str | None = None


class SwimRouter:
    """Implements `Router` on a node of gossip.

    Args:
        gossip: not started yet; `start`, `leave` and `close` here are its own.
        port: TCP port of this node's peer endpoint.
        host: IP address of this node's peer endpoint, if it differs from that of its gossip.
        rng: spreads the load over holders.
    """

    def __init__(self, gossip: Gossip, port: int, host: str | None = None, *, rng: random.Random | None = None) -> None:
        self._gossip = gossip
        self._rng = rng or random.Random()
        gossip.update(msgspec.json.encode(_Endpoint(port, host)))

    @classmethod
    def of(
        cls,
        name: str,
        bind: tuple[str, int],
        advertise: str,
        peer_port: int,
        seeds: Sequence[str],
        keys: Sequence[bytes],
    ) -> "SwimRouter":
        """Make a router and its node of gossip.

        Args:
            name: of this node.
            bind: IP address and port of its gossip.
            advertise: IP address under which others reach its gossip and its peer endpoint.
            peer_port: TCP port of its peer endpoint.
            seeds: gossip addresses of others.
            keys: the cluster's.

        Raises:
            ConfigError: one of them is not allowed.
        """
        with _translated():
            listen = Listen(*bind, advertise=(advertise, 0))
            return cls(Gossip(name, gossip.lan(), listen=listen, seeds=seeds, keys=keys), peer_port)

    async def start(self) -> None:
        """Bind and begin to join, in the background and for ever.

        Raises:
            ConfigError: the gossip address cannot be bound; the message names it.
        """
        with _translated():
            await self._gossip.start()

    async def leave(self, timeout: float = 2.0) -> None:
        """Tell the others goodbye, at most `timeout` seconds long."""
        await self._gossip.leave(timeout)

    async def close(self) -> None:
        """Stop at once."""
        await self._gossip.close()

    def ready(self) -> bool:
        """Whether the first attempt to join is over; at once without seeds."""
        return self._gossip.settled

    def locate(self, key: bytes) -> Sequence[Peer]:
        """Alive members whose filters have the key, in random order, for nothing makes one better than another here."""
        holders = self._gossip.holders(key)
        if len(holders) > 1:
            self._rng.shuffle(holders)
        return [peer for holder in holders if (peer := _peer(holder)) is not None]

    def advertise(self, keys: Collection[bytes]) -> None:
        """Tell all members, within milliseconds; nobody any more, once this node has left."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.advertise(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Tell all members with the next rebuild of the filter; until then a wrong guess costs one fast 404."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.withdraw(keys)

    def members(self) -> Sequence[Peer]:
        """All others that are alive; a suspect is left out until it refutes."""
        alive = (member for member in self._gossip.members() if member.state is State.ALIVE)
        return [peer for member in alive if (peer := _peer(member)) is not None]

    def standings(self) -> Sequence[Standing]:
        """Everybody known, this node first."""
        me = self._gossip.me
        return [
            Standing(peer, member.state.name.lower(), self._gossip.key_count(member.name), member is me)
            for member in (me, *self._gossip.members())
            if (peer := _peer(member)) is not None
        ]


def load_keys(path: Path) -> list[bytes]:
    """Read the cluster's keys from a file; raise ConfigError where that is not in order."""
    with _translated("key-file"):
        return gossip.load_keys(path)


@contextlib.contextmanager
def _translated(setting: str = "gossip") -> Iterator[None]:
    """Turn what gossip says of a setting into the mirror's words."""
    try:
        yield
    except gossip.ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from None


def _peer(member: Member) -> Peer | None:
    """A member's peer endpoint, if its metadata tells."""
    try:
        endpoint = msgspec.json.decode(member.metadata, type=_Endpoint)
    except msgspec.DecodeError:
        return None
    if not 0 < endpoint.port < 65536:
        return None
    return Peer(member.name, endpoint.host or member.address.host, endpoint.port)
