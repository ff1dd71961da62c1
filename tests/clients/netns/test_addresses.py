"""Which address a host advertises that has no default route."""

import pytest

from mirror.config import advertised_address, load
from mirror.errors import ConfigError
from testbed.network import Network, inside


def test_a_host_without_a_default_route_advertises_what_reaches_the_others(network: Network) -> None:
    here, there = network.host("here"), network.host("there")

    def advertised(*join: str) -> str:
        flags = {"peer": "0.0.0.0:5001", "gossip": "0.0.0.0:7946", "join": join}
        return inside(here.netns, lambda: advertised_address(load(flags, {}, None)))

    assert "default" not in here.run("ip", "route")
    assert advertised() == advertised(there.address, "10.255.0.1:7946") == here.address
    here.run("ip", "link", "add", "second", "type", "veth", "peer", "name", "other")
    for device in ("second", "other"):
        here.run("ip", "link", "set", device, "up")
    here.run("ip", "address", "add", "10.250.7.1/24", "dev", "second")
    assert advertised(f"{there.address}:7946") == here.address
    assert advertised("10.250.7.9") == "10.250.7.1"
    with pytest.raises(ConfigError, match=f"several addresses.*{here.address}.*--advertise"):
        advertised()
