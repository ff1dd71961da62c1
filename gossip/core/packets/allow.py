"""From which networks packets, streams and members' addresses are accepted."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from ..errors import ConfigError


class AllowList:
    """Networks in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`.

    Args:
        networks: None allows every address.

    Raises:
        ConfigError: one of them is no network, or there is none at all, which would shut everybody out.
    """

    def __init__(self, networks: Sequence[str] | None) -> None:
        if networks is not None and not networks:
            raise ConfigError("allow = () would shut everybody out; leave it out to allow every address")
        try:
            self._networks = [ipaddress.ip_network(network) for network in networks or ()]
        except ValueError as error:
            raise ConfigError(f"allow: {error}; networks look like 10.0.0.0/8 or fd00::/8") from error
        self.allows = (lambda host: True) if networks is None else lru_cache(maxsize=4096)(self._allows)

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._networks if network.version == address.version)
