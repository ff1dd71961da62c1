"""Addresses as somebody typed them."""

import pytest

from gossip.core.errors import ConfigError
from gossip.net.sockets import parse_address


@pytest.mark.parametrize("text", ["a:" + "1" * 5000, "[::1]:" + "9" * 5000, "a:²", "a:-1", "a:0", "a:65536"])
def test_impossible_port_is_one_short_line(text: str) -> None:
    with pytest.raises(ConfigError, match="must be host") as refused:
        parse_address(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "text", ["a..b", ".a", "a b", "a\0", "x" * 64, "[a]:1", "[10.0.0.1]:1", "a:b:c", "[", "[::1]x"]
)
def test_impossible_host_is_refused_before_anybody_resolves_it(text: str) -> None:
    with pytest.raises(ConfigError, match="must be host"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("node_1.example-x.", ("node_1.example-x.", 7946)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("::1", ("::1", 7946)),
        ("[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("[::1]", ("::1", 7946)),
    ],
)
def test_possible_addresses_are_taken(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
