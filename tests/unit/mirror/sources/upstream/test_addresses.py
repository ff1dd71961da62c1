"""Which addresses may be connected to, whoever names them."""

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from mirror.errors import UpstreamRefused
from mirror.sources.upstream.addresses import AddressGuard, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "2002:0a00:0001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_inside_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:0808:0808::1", "2606:4700::1"],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


class Names(AbstractResolver):
    """Answers from a table."""

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses[host]
        ]

    async def close(self) -> None:
        pass


def test_a_name_is_refused_for_any_address_that_is_not_public() -> None:
    guard = AddressGuard(Names(good=["8.8.8.8", "2606:4700::1"], rebound=["8.8.8.8", "10.0.0.1"]), [])
    assert len(asyncio.run(guard.resolve("good", 443))) == 2
    with pytest.raises(UpstreamRefused, match=r"rebound:443, which has the address 10\.0\.0\.1"):
        asyncio.run(guard.resolve("rebound", 443))


def test_what_the_operator_named_may_be_anywhere_but_only_on_its_port() -> None:
    guard = AddressGuard(Names(lab=["10.0.0.1"]), [("lab", 5000), ("10.0.0.2", 5000), ("fd00::1", 5000)])
    assert len(asyncio.run(guard.resolve("lab", 5000))) == 1
    guard.check("10.0.0.2", 5000)
    guard.check("fd00::1", 5000)
    with pytest.raises(UpstreamRefused):
        asyncio.run(guard.resolve("lab", 22))
    with pytest.raises(UpstreamRefused):
        guard.check("10.0.0.2", 22)
    with pytest.raises(UpstreamRefused, match=r"\[fd00::2\]:5000: not a public address"):
        guard.check("fd00::2", 5000)
