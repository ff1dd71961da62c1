"""The addresses of this machine, as the kernel tells them."""

import socket

import pytest

from mirror.interfaces import address_towards, machine_addresses


def test_loopback_is_reached_from_loopback_and_is_no_address_for_others() -> None:
    assert address_towards("127.0.0.1", socket.AF_INET) == "127.0.0.1"
    assert not [text for text in machine_addresses(socket.AF_INET) if text.startswith("127.")]
    assert "::1" not in machine_addresses(socket.AF_INET6)


@pytest.mark.parametrize("host", ["", "a..b", "x" * 300, "2001:db8::1"])
def test_what_cannot_be_reached_has_no_address(host: str) -> None:
    assert address_towards(host, socket.AF_INET) in (None, "127.0.0.1")


def test_a_socket_can_be_bound_to_each_address() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        for text in machine_addresses(family):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((text, 0))
