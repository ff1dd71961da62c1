"""What nodes really say to each other: the datagrams of simulated storms, in order."""

from typing import Final

from gossip.core.config import GossipConfig
from gossip.core.membership.member import Address
from gossip.sim.cluster import Cluster
from gossip.sim.faults import any_weather, inject_fault
from gossip.sim.host import Host
from gossip.sim.steps import form

_PLAIN_HEAD_BYTES: Final = 5
_NODES: Final = 6

Heard = tuple[bytes, Address]
"""A packet without its outermost layer, and where it came from."""


def record(seed: int, config: GossipConfig, duration_s: float = 20.0) -> list[Heard]:
    """The traffic of one storm."""
    cluster = Cluster(seed, config, checked=False)
    heard: list[Heard] = []

    def listen(host: Host, destination: Address, payload: bytes) -> None:
        heard.append((payload[_PLAIN_HEAD_BYTES:], host.address))

    cluster.journal.listener = listen
    cluster.network.weather = any_weather(cluster.rng)
    form(cluster, _NODES, apart_s=0.2)
    until = cluster.clock.now + duration_s
    while cluster.clock.now < until:
        inject_fault(cluster)
        cluster.run(cluster.rng.expovariate(1.0))
    return heard
