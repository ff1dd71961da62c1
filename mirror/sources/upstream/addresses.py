"""Which addresses may be connected to for a registry: public ones, and those to which it may lead.

A registry decides where its redirects and its token service lead, and the owner of a name decides which addresses it
has. Without a check, either could make an agent fetch from inside the operator's network. A name is checked when it is
resolved for a connection, so that no second lookup could give another answer (DNS rebinding). Connections belong to
one registry, so that none is used for another one, which may not lead there.

A company's registry has its token service and its object store beside it. So a registry that the operator named, and
whose own host is in a private network, may lead to other hosts of its own domain there. It may never lead to loopback
or to link-local addresses, where machines keep what is meant for themselves. All else the operator has to name.

An IPv4 address can be written in many ways: `2130706433`, `127.1`, `0177.0.0.1` and `0x7f.1` all mean 127.0.0.1 to the
C library. Who takes such a text for a name, and who for an address, differs from library to library and from version
to version. So the only way of writing one that passes here is four decimal numbers, and whatever else could be an
address is refused before a library sees it.

Sources: IANA special-purpose address registries (RFC 6890), through `ipaddress`; RFC 1918, RFC 4193 and RFC 6598
(networks that people have of their own); RFC 6052 (NAT64); RFC 3056 (6to4);
WHATWG URL, "ends in a number".
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from ...errors import UpstreamRefused
from .names import Address
from .trust import Trusted

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PRIVATE_NETWORKS = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NAME_MAX_CHARACTERS = 254  # RFC 1035, with the dot at the end
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_NAME = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?")


def is_public(address: str) -> bool:
    """Tell whether a literal IPv4 or IPv6 address belongs to the public internet.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) is public if that one is.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    inner = ip.ipv4_mapped or ip.sixtofour
    if ip in _NAT64:
        inner = ipaddress.IPv4Address(ip.packed[-4:])
    if inner is not None:
        return is_public(str(inner))
    return ip in _GLOBAL_UNICAST and ip.is_global


def is_written_oddly(host: str) -> bool:
    """Tell whether a host is neither a plain address nor a name that nobody can take for an address.

    Args:
        host: of a URL, without brackets.
    """
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
        return False
    if len(host) > _NAME_MAX_CHARACTERS or not _NAME.fullmatch(host):
        return True
    return _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


def is_same_domain(host: str, registry: str) -> bool:
    """Tell whether a host is that of a registry, is below it, or has the same parent domain.

    A parent domain has two labels at least: `harbor.corp.example` and `minio.corp.example` have one in common,
    `harbor.example` and `minio.example` have none.
    """
    host, registry = host.lower().removesuffix("."), registry.lower().removesuffix(".")
    if host == registry:
        return True
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(registry.partition("%")[0])
        return False
    parent = registry.partition(".")[2]
    return host.endswith(f".{registry}") or ("." in parent and host.endswith(f".{parent}"))


def _is_in_a_private_network(text: str) -> bool:
    """Tell whether a text is an address of a network that people have of their own: no loopback, no link-local one."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in _PRIVATE_NETWORKS)


class AddressGuard(AbstractResolver):
    """Resolves names for the connections of one registry, and refuses those that lead where that one may not lead.

    Args:
        look_up: gives the addresses of a host; raises OSError.
        host: the registry's own, as in its URL, without brackets.
        named: host and port of every URL that the operator named; these may be anywhere.
        trusted: where the operator lets this registry lead.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Sequence[Address]]],
        host: str,
        named: Iterable[tuple[str, int]],
        trusted: Iterable[Trusted] = (),
    ) -> None:
        self._look_up = look_up
        self._host = host
        self._named = frozenset(named)
        self._trusted = tuple(trusted)
        self._is_inside = _is_in_a_private_network(host)
        """Whether the registry itself is in a private network, as far as is known."""

    def check(self, host: str, port: int) -> None:
        """Refuse a literal address to which this registry may not lead, and what is written oddly.

        Names pass: `resolve` checks them.
        """
        if is_written_oddly(host):
            raise UpstreamRefused(
                f"{host[:100]!r}: neither a host name nor an address, as in 192.0.2.1 or [2001:db8::1]"
            )
        try:
            self._check_address(host, port, host)
        except ValueError:
            return

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up; raise UpstreamRefused if this registry may not lead to one of its addresses."""
        self.check(host, port)
        addresses = await self._look_up(host)
        for address in addresses:
            self._check_address(host, port, address.text)
        if host == self._host:
            self._is_inside = all(_is_in_a_private_network(address.text) for address in addresses)
        return [
            ResolveResult(hostname=host, host=text, port=port, family=of, proto=0, flags=_NUMERIC)
            for of, text in addresses
            if family in (socket.AF_UNSPEC, of)
        ]

    def _check_address(self, host: str, port: int, address: str) -> None:
        if is_public(address) or (host, port) in self._named:
            return
        if self._is_inside and is_same_domain(host, self._host) and _is_in_a_private_network(address):
            return
        if any(trusted.covers(host, port, address) for trusted in self._trusted):
            return
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        where = authority if address == host else f"{authority}, which has the address {address}"
        raise UpstreamRefused(
            f"{where}: not a public address, and neither an --upstream URL nor --upstream-trust names it"
        )

    async def close(self) -> None:
        """Nothing to close: lookups belong to nobody."""
