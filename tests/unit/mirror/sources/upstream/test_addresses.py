"""Which addresses may be connected to, whoever names them."""

import asyncio
import ipaddress
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamRefused
from mirror.sources.upstream.addresses import AddressGuard, is_public, is_written_oddly


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
    names = Names(**{"good": ["8.8.8.8", "2606:4700::1"], "rebound": ["8.8.8.8", "10.0.0.1"], "localhost.": ["::1"]})
    guard = AddressGuard(names, [])
    assert len(asyncio.run(guard.resolve("good", 443))) == 2
    with pytest.raises(UpstreamRefused, match=r"rebound:443, which has the address 10\.0\.0\.1"):
        asyncio.run(guard.resolve("rebound", 443))
    with pytest.raises(UpstreamRefused, match=r"localhost\.:443, which has the address ::1"):
        asyncio.run(guard.resolve("localhost.", 443))


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


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0",
        "1.2.3.4.5",
        "127.1",
        "127.0.0.1.",
        "127.0.0.0x1",
        "127..1",
        ".1",
        "0177.0.0.1",
        "0x7f.1",
        "0x7F000001",
        "0x",
        "x." * 128,
        "2130706433",
        "999.1.1.1",
        "registry.example.1",
        "registry.example.0x1f.",
        "%31%32%37.0.0.1",
        "127.0.0.1%00.example",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "\u0663.1",
        "registry..example",
        "v1.x]",
        "::1::",
        "::ffff:0x7f.1",
        "127.0.0.1:80",
    ],
)
def test_a_host_that_some_library_could_take_for_an_address_is_refused_before_any_sees_it(host: str) -> None:
    assert is_written_oddly(host)
    guard = AddressGuard(Names(**{host: ["8.8.8.8"]}), [(host, 80)])
    with pytest.raises(UpstreamRefused, match="neither a host name nor an address"):
        guard.check(host, 80)
    with pytest.raises(UpstreamRefused, match="neither a host name nor an address"):
        asyncio.run(guard.resolve(host, 80))


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "fe80::1%eth0", "registry", "a_b.example", "xn--bcher-kva.example.",
     "1.example", "0x7f.example", "1and1", "lab-1"],
)  # fmt: skip
def test_names_and_plain_addresses_are_not_odd(host: str) -> None:
    assert not is_written_oddly(host)


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from("doxX"), min_size=4, max_size=4), st.integers(1, 4))
def test_no_way_in_which_the_c_library_reads_an_address_passes_but_the_plain_one(
    address: int, bases: list[str], parts: int
) -> None:
    """inet_aton takes one to four numbers, of which the last has all bytes that are left, in three bases."""
    numbers = [address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255]
    last = address & (1 << 8 * (5 - parts)) - 1
    formats = {"d": "{:d}", "o": "0{:o}", "x": "0x{:x}", "X": "0X{:X}"}
    written = ".".join(
        formats[base].format(number) for base, number in zip(bases, [*numbers[: parts - 1], last], strict=False)
    )
    assert socket.inet_aton(written) == address.to_bytes(4, "big")
    if written != str(ipaddress.IPv4Address(address)):
        assert is_written_oddly(written)
