"""The addresses of a cluster: of hosts, of pods and of services, of one family or of both."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """Addresses of one family.

    Args:
        nft: how nftables calls it.
        hosts: the address of a host, by its number on the network.
        bits: how long the prefix of those is.
        pods: the network of a node's pods, by the node's number.
        all: every address.
        services: the network of services.
        service: where pods find the API server, on port 443.
    """

    nft: str
    hosts: str
    bits: int
    pods: str
    all: str
    services: str
    service: str

    def host(self, number: int) -> str:
        """The address of a host."""
        return self.hosts.format(number)

    def pods_of(self, number: int) -> str:
        """The network of a node's pods."""
        return self.pods.format(number)


IPV4: Final = Family("ip", "10.78.0.{}", 24, "10.79.{}.0/24", "0.0.0.0/0", "10.96.0.0/16", "10.96.0.1")
"""The addresses of `testbed.network`, and others."""

IPV6: Final = Family("ip6", "fd00:78::{:x}", 64, "fd00:79:0:{:x}::/64", "::/0", "fd00:96::/112", "fd00:96::1")
