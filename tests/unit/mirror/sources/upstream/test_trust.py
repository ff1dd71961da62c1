"""Where the operator lets a registry lead, as it is written."""

import ipaddress

import pytest

from mirror.errors import ConfigError
from mirror.sources.upstream.trust import Trusted


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        ("lab.example=minio.example", Trusted("lab.example", "minio.example")),
        ("LAB.example:5000=Minio.example:9000", Trusted("lab.example:5000", "minio.example", 9000)),
        ("index.docker.io=10.0.0.7", Trusted("docker.io", "10.0.0.7")),
        ("lab=[fd00::7]:9000", Trusted("lab", "fd00::7", 9000)),
        ("lab=[fd00::7]", Trusted("lab", "fd00::7")),
        ("lab=fd00::/8", Trusted("lab", network=ipaddress.ip_network("fd00::/8"))),
        ("lab=10.0.0.7/32", Trusted("lab", network=ipaddress.ip_network("10.0.0.7/32"))),
    ],
)
def test_hosts_and_networks_are_read(text: str, trusted: Trusted) -> None:
    assert Trusted.parse(text) == trusted


@pytest.mark.parametrize(
    "text",
    ["", "lab", "lab=", "=minio", "lab=https://minio", "lab=10.0.0.1/8", "lab=*.example", "lab=minio:99999", "lab=/"],
)
def test_all_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream-trust .*give REGISTRY=WHERE"):
        Trusted.parse(text)
