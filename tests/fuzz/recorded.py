"""What nodes really say to each other: the datagrams of simulated storms, in order."""

from typing import Final

from gossip.core.config import GossipConfig
from gossip.core.membership.member import Address
from gossip.sim.cluster import Cluster, Host
from gossip.sim.faults import any_weather, befall
from gossip.sim.steps import form

_PLAIN_HEAD_BYTES: Final = 5
_NODES: Final = 6

Heard = tuple[bytes, Address]
"""A packet without its outermost layer, and where it came from."""


class _Recorder(Cluster):
    """A cluster that keeps what was sent."""

    heard: list[Heard]

    def _send(self, host: Host, payload: bytes, destination: Address) -> None:
        self.heard.append((payload[_PLAIN_HEAD_BYTES:], host.address))
        super()._send(host, payload, destination)


def record(seed: int, config: GossipConfig, duration_s: float = 20.0) -> list[Heard]:
    """The traffic of one storm."""
    cluster = _Recorder(seed, config, checked=False)
    cluster.heard = []
    cluster.network.weather = any_weather(cluster.rng)
    form(cluster, _NODES, apart_s=0.2)
    until = cluster.network.now + duration_s
    while cluster.network.now < until:
        befall(cluster)
        cluster.run(cluster.rng.expovariate(1.0))
    return cluster.heard
