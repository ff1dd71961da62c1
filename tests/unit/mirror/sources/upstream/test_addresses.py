"""Which addresses may be connected to, whoever names them."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamRefused
from mirror.sources.upstream.addresses import AddressGuard, is_public, is_same_domain, is_written_oddly
from mirror.sources.upstream.names import Address
from mirror.sources.upstream.trust import Trusted


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


def guarding(
    host: str, table: Mapping[str, list[str]], named: Iterable[tuple[str, int]] = (), trusted: Iterable[str] = ()
) -> AddressGuard:
    """A guard of the registry `lab` at a host; names mean what the table says."""

    async def look_up(name: str) -> list[Address]:
        return [Address(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in table[name]]

    return AddressGuard(look_up, host, named, [Trusted.parse(f"lab={text}") for text in trusted])


def test_a_name_is_refused_for_any_address_that_is_not_public() -> None:
    table = {"good": ["8.8.8.8", "2606:4700::1"], "rebound": ["8.8.8.8", "10.0.0.1"], "localhost.": ["::1"]}
    guard = guarding("registry.example", table)
    assert len(asyncio.run(guard.resolve("good", 443))) == 2
    with pytest.raises(UpstreamRefused, match=r"rebound:443, which has the address 10\.0\.0\.1"):
        asyncio.run(guard.resolve("rebound", 443))
    with pytest.raises(UpstreamRefused, match=r"localhost\.:443, which has the address ::1"):
        asyncio.run(guard.resolve("localhost.", 443))


def test_what_the_operator_named_may_be_anywhere_but_only_on_its_port() -> None:
    named = [("lab", 5000), ("10.0.0.2", 5000), ("fd00::1", 5000)]
    guard = guarding("registry.example", {"lab": ["10.0.0.1"]}, named)
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
    guard = guarding("registry.example", {host: ["8.8.8.8"]}, [(host, 80)], ["0.0.0.0/0"])
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


# Where a registry may lead --------------------------------------------------------------------------------------------

HARBOR = "harbor.corp.example"
INSIDE = {
    HARBOR: ["10.0.0.5"],
    "minio.corp.example": ["10.0.0.6", "fd00::6"],
    "s3.harbor.corp.example": ["192.168.7.7"],
    "mixed.corp.example": ["10.0.0.6", "127.0.0.1"],
    "self.corp.example": ["127.0.0.1"],
    "cloud.corp.example": ["169.254.169.254"],
    "minio.other.example": ["10.0.0.6"],
    "corp.example": ["10.0.0.9"],
    "notcorp.example": ["10.0.0.9"],
}


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("minio.corp.example", True),
        ("s3.harbor.corp.example", True),
        ("mixed.corp.example", False),
        ("self.corp.example", False),
        ("cloud.corp.example", False),
        ("minio.other.example", False),
        ("corp.example", False),
        ("notcorp.example", False),
    ],
)
def test_a_registry_inside_leads_to_private_networks_in_its_own_domain_alone(host: str, may: bool) -> None:
    async def story() -> None:
        guard = guarding(HARBOR, INSIDE, [(HARBOR, 443)])
        with pytest.raises(UpstreamRefused):
            await guard.resolve("minio.corp.example", 9000)  # nobody knows yet that the registry is inside
        await guard.resolve(HARBOR, 443)
        if may:
            assert len(await guard.resolve(host, 9000)) == len(INSIDE[host])
        else:
            with pytest.raises(UpstreamRefused, match=host):
                await guard.resolve(host, 9000)

    asyncio.run(story())


def test_a_public_registry_leads_nowhere_inside_not_even_in_its_own_domain() -> None:
    async def story() -> None:
        guard = guarding(HARBOR, {**INSIDE, HARBOR: ["8.8.8.8", "10.0.0.5"]}, [(HARBOR, 443)])
        await guard.resolve(HARBOR, 443)
        with pytest.raises(UpstreamRefused):
            await guard.resolve("minio.corp.example", 9000)

    asyncio.run(story())


def test_a_registry_at_an_address_leads_to_its_own_other_ports_alone_and_never_to_those_of_this_machine() -> None:
    guard = guarding("10.0.0.5", {}, [("10.0.0.5", 5000)])
    guard.check("10.0.0.5", 5001)
    with pytest.raises(UpstreamRefused):
        guard.check("10.0.0.6", 5000)
    with pytest.raises(UpstreamRefused):
        guarding("127.0.0.1", {}, [("127.0.0.1", 5000)]).check("127.0.0.1", 5001)


@pytest.mark.parametrize(
    ("trusted", "host", "port", "may"),
    [
        ("minio.other.example:9000", "minio.other.example", 9000, True),
        ("minio.other.example:9000", "MINIO.other.example.", 9000, True),
        ("minio.other.example:9000", "minio.other.example", 22, False),
        ("minio.other.example", "minio.other.example", 22, True),
        ("10.0.0.0/24", "minio.other.example", 22, True),
        ("10.0.0.0/24", "self.corp.example", 22, False),
        ("10.0.0.0/24", "mixed.corp.example", 22, False),
        ("127.0.0.1:9000", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "self.corp.example", 9000, False),
        ("[fd00::6]:9000", "fd00::6", 9000, True),
        ("[fd00::6]", "fd00::6", 22, True),
        ("fd00::/8", "fd00::6", 22, True),
    ],
)
def test_a_registry_leads_where_the_operator_says(trusted: str, host: str, port: int, may: bool) -> None:
    table = {**INSIDE, "MINIO.other.example.": ["10.0.0.6"], "fd00::6": ["fd00::6"], "127.0.0.1": ["127.0.0.1"]}
    guard = guarding("registry.example", table, trusted=[trusted])
    if may:
        assert asyncio.run(guard.resolve(host, port))
    else:
        with pytest.raises(UpstreamRefused):
            asyncio.run(guard.resolve(host, port))


def test_two_names_of_one_label_and_a_top_level_domain_are_no_domain() -> None:
    assert not is_same_domain("minio.example", "harbor.example")
    assert is_same_domain("s3.harbor.example", "harbor.example")
    assert is_same_domain("HARBOR.example.", "harbor.example")
    assert not is_same_domain("xharbor.example", "harbor.example")
    assert not is_same_domain("10.0.0.1", "10.0.0.2")
    assert not is_same_domain("1.10.0.0.2", "10.0.0.2")
