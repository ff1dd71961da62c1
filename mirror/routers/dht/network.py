"""The peers of the DHT as this node reaches them: dialled, asked who they are, and asked for records within bounds."""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio
from libp2p.abc import IHost, INetConn, INetStream, INetwork, INotifee
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import KadDHT
from libp2p.kad_dht.kad_dht import DHTMode
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStoreError
from libp2p.records.validator import NamespacedValidator
from multiaddr import Multiaddr

from ...settings import DhtTiming
from .. import Peer, is_member_name
from .boundary import Counts, Reports
from .messages import CLOSE_S, Messages
from .records import Records

if TYPE_CHECKING:
    from libp2p.network.swarm import Swarm

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

ENDPOINT = TProtocol("/skvaller/endpoint/1.0.0")
"""A stream of this protocol answers with one line of JSON, and nobody writes anything else to it."""
K = 20
"""Kademlia's k. The library has it as a constant, as go-libp2p has."""
_ENDPOINT_MAX = 512
"""Bounds that line, in bytes: a name has 63 at most."""
_ADDRESSES_MAX = 2
"""Bounds the addresses of a peer that are tried: it says one, and may have had another before."""
_ADDRESS_KEPT_S = 3600
"""Time for which an address of a peer is kept, s; Spegel's."""


class Kademlia(KadDHT):
    """libp2p's Kademlia with other bounds, and with records that expire after minutes.

    It keeps no values: whoever reaches it could fill the memory with them.

    Args:
        host: of libp2p.
        records: provider records.
        streams_max: bounds the streams of others that are answered at once.
    """

    def __init__(self, host: IHost, records: Records, streams_max: int) -> None:
        nothing = NamespacedValidator({}, strict_validation=True)
        super().__init__(host, DHTMode.SERVER, validator=nothing, validator_changed=True, strict_validation=True)
        records.peer_routing = self.peer_routing
        self.provider_store = records
        self._inbound_limiter = trio.CapacityLimiter(streams_max)

    def _check_provider_rate_limit(self, peer_id: ID) -> bool:
        """Take every record: the library's bound, one a second, is for strangers; `Records` has a bound of its own."""
        return True


def endpoint_line(peer: Peer, port: int) -> bytes:
    """What this node says of itself.

    Args:
        peer: its name and peer endpoint.
        port: of its DHT.
    """
    return json.dumps({"name": peer.name, "port": peer.port, "tls": peer.tls, "dht": port}).encode() + b"\n"


def read_endpoint(line: bytes, host: str) -> tuple[Peer, int] | None:
    """What a peer says of itself, and the port of its DHT; None if it is not valid.

    Args:
        line: that it sent.
        host: the address from which it did.
    """
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match said:
        case {"name": str(name), "port": int(port), "dht": int(own)} if is_member_name(name):
            if all(0 < each < 65536 and not isinstance(each, bool) for each in (port, own)):
                return Peer(name, host, port, said.get("tls") is True), own
    return None


def tcp_address(host: str, port: int) -> Multiaddr:
    """An IP address and a TCP port as libp2p writes them."""
    return Multiaddr(f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}")


class Network:
    """The peers of the DHT.

    Args:
        dht: libp2p's Kademlia.
        line: what this node says of itself; see `endpoint_line`.
        timing: bounds.
        counts: where questions are counted.
        reports: are told who answers.
    """

    def __init__(self, dht: Kademlia, line: bytes, timing: DhtTiming, counts: Counts, reports: Reports) -> None:
        self._dht = dht
        self._host = dht.host
        self._swarm = cast("Swarm", dht.host.get_network())
        self._messages = Messages(self._host, timing.peers_max)
        self._line = line
        self._timing = timing
        self._counts = counts
        self._reports = reports
        self._known: dict[ID, Peer] = {}
        self._host.set_stream_handler(ENDPOINT, self._answer)

    @property
    def size(self) -> int:
        """How many peers are in the routing table."""
        return self._dht.routing_table.size()

    def table(self) -> frozenset[str]:
        """The ids of these peers."""
        return frozenset(str(peer) for peer in self._dht.routing_table.get_peer_ids())

    def is_known(self, peer: ID) -> bool:
        """Whether a peer has said who it is."""
        return peer in self._known

    def own_info(self) -> PeerInfo:
        """This node as a provider."""
        return PeerInfo(self._host.get_id(), self._host.get_addrs())

    async def refresh(self) -> None:
        """Ask those whom this node knows for others, and fill the routing table."""
        try:
            await self._dht.peer_routing.refresh_routing_table()
        except Exception as error:  # noqa: BLE001 - the library's streams raise anything
            log.debug("the DHT's routing table is not refreshed: %r", error)

    async def closest(self, key: bytes) -> Sequence[ID]:
        """The k peers closest to a key. While the routing table has no more than k, these are all of them."""
        if self.size <= K:
            return self._dht.routing_table.find_local_closest_peers(key, K)
        return [
            peer for peer in await self._dht.peer_routing.find_closest_peers_network(key, K) if not self._is_me(peer)
        ]

    async def ask(self, peer: ID, key: bytes) -> Sequence[PeerInfo]:
        """Ask a peer for its records of a key; nothing if it does not answer."""
        return await self._question(peer, "get_providers", self._messages.providers, key) or ()

    async def tell_closest(self, key: bytes) -> bool:
        """Tell the nodes closest to a key that this node provides it; whether any took that."""
        limiter, taken = trio.CapacityLimiter(self._timing.queries_max), 0

        async def tell(peer: ID) -> None:
            nonlocal taken
            async with limiter:
                taken += await self._tell(peer, key)

        async with trio.open_nursery() as nursery:
            for peer in await self.closest(key):
                nursery.start_soon(tell, peer)
        return taken > 0

    async def _tell(self, peer: ID, key: bytes) -> bool:
        async def tell(peer: ID, key: bytes) -> bool:
            await self._messages.provide(peer, key, self.own_info())
            return True

        return await self._question(peer, "add_provider", tell, key) or False

    async def _question(
        self, peer: ID, kind: str, put: Callable[[ID, bytes], Awaitable[_Answer]], key: bytes
    ) -> _Answer | None:
        """Put a question to a peer; None if it does not answer in time, after which it is asked no more."""
        with trio.move_on_after(self._timing.query_s):
            try:
                if not await self.reach(peer):
                    return None
                self._counts.queries[kind] += 1
                return await put(peer, key)
            except Exception as error:  # noqa: BLE001 - the library's streams raise anything
                log.debug("the DHT's peer %s does not answer: %r", peer, error)
        self._lost(peer)
        return None

    async def meet(self, info: PeerInfo) -> bool:
        """Whether a peer that a record names has said who it is; it is asked, if that is needed."""
        if self._is_me(info.peer_id):
            return False
        if not self.is_known(info.peer_id):
            self._host.get_peerstore().add_addrs(info.peer_id, info.addrs, _ADDRESS_KEPT_S)
            if await self.reach(info.peer_id):
                await self.greet(info.peer_id)
        return self.is_known(info.peer_id)

    async def reach(self, peer: ID) -> bool:
        """Whether there is a connection to a peer; one is made, if needed and possible. Else it leaves the table."""
        if self._swarm.get_connections(peer):
            return True
        try:
            addresses = self._host.get_peerstore().addrs(peer)
        except PeerStoreError:  # none is known any more
            addresses = []
        for address in addresses[:_ADDRESSES_MAX]:
            if await self._dial(address, peer):
                return True
        self._lost(peer)
        return False

    async def join(self, address: Multiaddr) -> None:
        """Connect to whoever listens at an address, whatever its id is.

        The library's own way needs the id beforehand; these are its steps without that.

        Raises:
            Exception: nobody answers there, or not in this protocol.
        """
        transport = self._swarm.transport_manager.transport_for_dialing(address)
        if transport is None:
            raise OSError(f"no way to reach {address}")
        upgrader = self._swarm.upgrader
        with trio.fail_after(self._timing.dial_s):
            raw = await transport.dial(address)
            try:
                security = await upgrader.security_multistream.select_transport(raw, True)
                secured = await security.secure_outbound(raw, cast("ID", None))  # None: its Noise takes any id
                peer = secured.get_remote_peer()
                muxed = await upgrader.upgrade_connection(secured, peer)
                if self._is_me(peer):
                    await muxed.close()
                    return
                await self._swarm.add_conn(muxed, direction="outbound")
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                    await raw.close()
                raise
            await self.greet(peer)

    async def greet(self, peer: ID) -> None:
        """Ask a peer who it is, and take it into the routing table if it says so."""
        try:
            with trio.fail_after(self._timing.dial_s):
                line, host = await self._ask_line(peer)
        except Exception as error:  # noqa: BLE001 - the library's streams raise anything
            log.debug("the DHT's peer %s does not say who it is: %r", peer, error)
            return
        said = read_endpoint(line, host)
        if said is None:
            log.info("the DHT's peer %s at %s is no agent, or says nonsense", peer, host)
            return
        self._known[peer], port = said
        if len(self._known) > self._timing.peers_max:
            del self._known[next(iter(self._known))]
        addresses = [tcp_address(host, port)]
        self._host.get_peerstore().add_addrs(peer, addresses, _ADDRESS_KEPT_S)
        self._reports.met(str(peer), self._known[peer])
        await self._dht.routing_table.add_peer(PeerInfo(peer, addresses))

    async def _ask_line(self, peer: ID) -> tuple[bytes, str]:
        stream = await self._host.new_stream(peer, [ENDPOINT])
        line = b""
        try:
            while not line.endswith(b"\n") and len(line) <= _ENDPOINT_MAX:
                part = await stream.read(_ENDPOINT_MAX)
                if not part:
                    break
                line += part
        except StreamEOF:
            pass
        finally:
            await stream.close()
        remote = stream.get_remote_address()
        if remote is None:
            raise OSError("a connection without an address")
        return line, remote[0]

    async def _answer(self, stream: INetStream) -> None:
        """Say who this node is."""
        try:
            await stream.write(self._line)
            await stream.close()
        except Exception as error:  # noqa: BLE001 - the library's streams raise anything, and end the host with it
            log.debug("a peer of the DHT did not hear who this node is: %r", error)

    async def _dial(self, address: Multiaddr, peer: ID) -> bool:
        try:
            with trio.fail_after(self._timing.dial_s):
                await self._swarm.dial_addr(address, peer)
        except Exception as error:  # noqa: BLE001 - the library's dials raise anything
            log.debug("the DHT's peer %s is not reached at %s: %r", peer, address, error)
            return False
        return True

    def _lost(self, peer: ID) -> None:
        """A peer does not answer, so it is asked no more until it comes back."""
        self._dht.routing_table.remove_peer(peer)
        self._messages.forget(peer)

    def _is_me(self, peer: ID) -> bool:
        return peer == self._host.get_id()


class Greeter(INotifee):
    """Greets whoever connects, in a task of its own.

    Args:
        network: greets.
        nursery: where the tasks run.
    """

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self._network = network
        self._nursery = nursery

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        """Greet the other end."""
        self._nursery.start_soon(self._network.greet, conn.muxed_conn.peer_id)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """Nothing: a peer leaves the routing table when it cannot be reached."""

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing."""
