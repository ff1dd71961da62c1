"""The node of libp2p's Kademlia, on trio. Needs the optional extra `skvaller[dht]`; only `thread` imports it."""

import logging
import socket
from collections.abc import Callable, Sequence

import trio
from libp2p import new_host
from libp2p.tools.anyio_service import background_trio_service

from ...settings import DhtTiming
from .bootstrap import Bootstrap
from .boundary import Call, Counts, NodeSettings, Reports
from .finder import Finder
from .identity import load_or_make
from .network import Greeter, Kademlia, Network, endpoint_line, tcp_address
from .records import Records, multihash
from .sweep import Sweep

log = logging.getLogger(__name__)


class KademliaNode:
    """A node of the DHT; see `boundary.Node`.

    Args:
        settings: what the operator set.
        timing: Spegel's values, and bounds.
    """

    def __init__(self, settings: NodeSettings, timing: DhtTiming) -> None:
        self._settings = settings
        self._timing = timing
        host, port = settings.bind
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.counts = Counts()
        self._token: trio.lowlevel.TrioToken | None = None
        self._stopped = trio.Event()
        self._is_to_stop = False
        self._parts: _Parts | None = None

    def run(self, reports: Reports, listens: Call) -> None:
        """Run until stopped."""
        trio.run(self._main, reports, listens)

    def stop(self) -> None:
        """Have it end, as soon as it listens if it does not yet."""
        self._is_to_stop = True
        self._soon(lambda _: self._stopped.set())

    def look_up(self, key: bytes) -> None:
        """Begin a lookup."""
        self._soon(lambda parts: parts.look_up(key))

    def advertise(self, keys: Sequence[bytes]) -> None:
        """Tell keys."""
        self._soon(lambda parts: parts.sweep.add(keys))

    def withdraw(self, keys: Sequence[bytes]) -> None:
        """Tell keys no more."""
        self._soon(lambda parts: parts.withdraw(keys))

    def _soon(self, call: Callable[["_Parts"], object]) -> None:
        """Have something done in the thread; nothing happens before it runs, or when it has ended."""
        if self._token is not None and self._parts is not None:
            try:
                self._token.run_sync_soon(self._do, call, self._parts)
            except trio.RunFinishedError:
                log.debug("the DHT has ended")

    def _do(self, call: Callable[["_Parts"], object], parts: "_Parts") -> None:
        if not self._stopped.is_set():  # else its tasks have no place to run any more
            call(parts)

    async def _main(self, reports: Reports, listens: Call) -> None:
        settings, timing = self._settings, self._timing
        logging.getLogger("libp2p").addHandler(logging.NullHandler())  # else it writes by itself, each stream's end too
        key = load_or_make(settings.identity)
        host_address, port = settings.bind
        address = tcp_address(host_address, port)
        _check_free(host_address, port)
        host = new_host(
            key_pair=key,
            listen_addrs=[address],
            announce_addrs=[tcp_address(settings.me.host, port)],
            disable_identify_address_discovery=True,
        )
        records = Records(host, timing.record_s, timing.records_max)
        dht = Kademlia(host, records, timing.streams_max)
        network = Network(dht, endpoint_line(settings.me, port), timing, self.counts, reports)
        async with host.run([address]), background_trio_service(dht):
            async with trio.open_nursery() as nursery:
                self._parts = parts = _Parts(network, records, reports, nursery, timing, self.counts)
                greeter = Greeter(network, nursery)
                host.get_network().register_notifee(greeter)
                bootstrap = Bootstrap(network, settings.bootstrap, timing, reports.bootstrapped)
                for task in (parts.sweep.run, parts.watch, bootstrap.run):
                    nursery.start_soon(task)
                self._token = trio.lowlevel.current_trio_token()
                listens()
                if not self._is_to_stop:
                    await self._stopped.wait()
                self._stopped.set()
                nursery.cancel_scope.cancel()
            host.get_network().remove_notifee(greeter)
            for peer in host.get_connected_peers():  # the library would leave their sockets to the collector
                await host.disconnect(peer)


def _check_free(host: str, port: int) -> None:
    """Raise OSError if nobody can listen at an address: the library would say so in its own log, and go on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


class _Parts:
    """What runs while the node does.

    Args:
        network: the peers.
        records: provider records.
        reports: are told of lookups and of the routing table.
        nursery: where lookups run.
        timing: bounds.
        counts: where all is counted.
    """

    def __init__(
        self,
        network: Network,
        records: Records,
        reports: Reports,
        nursery: trio.Nursery,
        timing: DhtTiming,
        counts: Counts,
    ) -> None:
        self._network = network
        self._records = records
        self._reports = reports
        self._nursery = nursery
        self._timing = timing
        self._counts = counts
        self._finder = Finder(network, records, reports, timing)
        self.sweep = Sweep(self._tell, timing, counts)

    def look_up(self, key: bytes) -> None:
        """Begin a lookup."""
        self._nursery.start_soon(self._finder.look_up, key)

    def withdraw(self, keys: Sequence[bytes]) -> None:
        """Tell keys no more, and answer nobody that this node has them."""
        self.sweep.remove(keys)
        me = self._network.own_info().peer_id
        for key in keys:
            self._records.drop(multihash(key), me)

    async def watch(self) -> None:
        """Report changes of the routing table, and tell all keys again when it was empty."""
        seen: frozenset[str] = frozenset()
        while True:
            table = self._network.table()
            if table != seen:
                self._reports.changed(table)
                if not seen:
                    self.sweep.tell_all_again()
            seen = table
            self._counts.records = self._records.size()
            await trio.sleep(self._timing.look_s)

    async def _tell(self, key: bytes) -> bool:
        """Keep the record of a key, and tell the nodes closest to it; whether any took it."""
        name = multihash(key)
        self._records.add_provider(name, self._network.own_info())
        return await self._network.tell_closest(name)
