"""Where the operator lets a registry lead: hosts and networks that are neither public nor named by a URL."""

import ipaddress
from dataclasses import dataclass

from ...errors import ConfigError, NameInvalid
from ...oci.reference import parse_registry

_ALLOWED = (
    "REGISTRY=WHERE, where WHERE is a host with an optional port, as in minio.corp.example:9000, or a network, as in "
    "10.2.0.0/16"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Trusted:
    """A place to which one registry may lead, by a redirect or as its token service.

    Args:
        registry: whose redirects and challenges may lead there, by its canonical name.
        host: in lower case, without brackets; None for a network.
        port: the only one that is meant; None for all.
        network: whose addresses are meant, on all ports; None for a host.
    """

    registry: str
    host: str | None = None
    port: int | None = None
    network: Network | None = None

    @classmethod
    def parse(cls, text: str) -> "Trusted":
        """Read an operator's `REGISTRY=WHERE`; raise ConfigError, which says what is allowed."""
        name, equals, where = text.partition("=")
        try:
            if not equals:
                raise ValueError("nothing is trusted")
            registry = parse_registry(name)
            if "/" in where:
                return cls(registry, network=ipaddress.ip_network(where))
            canonical = parse_registry(where)
        except (NameInvalid, ValueError):
            raise ConfigError(f"upstream-trust {text[:200]!r} is not allowed; give {_ALLOWED}") from None
        host, colon, port = canonical.rpartition(":")
        if not colon or canonical.endswith("]"):
            host, port = canonical, ""
        return cls(registry, host.strip("[]"), int(port) if port else None)

    def covers(self, host: str, port: int, address: str) -> bool:
        """Whether a connection to a host, which has this address, leads there."""
        if self.network is not None:
            return ipaddress.ip_address(address.partition("%")[0]) in self.network
        return self.host == host.lower().removesuffix(".") and self.port in (None, port)
