"""Addresses as somebody typed them."""

import pytest

from gossip import Address
from gossip.core.errors import ConfigError
from gossip.net.sockets import bind, can_send, parse_address


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


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("0.0.0.0", ["192.0.2.1"]),
        ("127.0.0.1", ["192.0.2.1"]),
        ("::", ["192.0.2.1", "2001:db8::1"]),
        ("::1", ["2001:db8::1"]),
    ],
)
def test_socket_sends_to_addresses_of_its_family_and_the_wildcard_of_ipv6_to_both(
    host: str, reached: list[str]
) -> None:
    datagrams, streams = bind(host, 0)
    with datagrams, streams:
        assert [it for it in ("192.0.2.1", "2001:db8::1") if can_send(datagrams, Address(it, 1))] == reached
