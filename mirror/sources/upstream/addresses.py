"""Which addresses may be connected to: public ones, and those that the operator named.

A registry decides where its redirects and its token service lead, and the owner of a name decides which addresses it
has. Without a check, either could make an agent fetch from inside the operator's network. A name is checked when it is
resolved for a connection, so that no second lookup could give another answer (DNS rebinding).

An IPv4 address can be written in many ways: `2130706433`, `127.1`, `0177.0.0.1` and `0x7f.1` all mean 127.0.0.1 to the
C library. Who takes such a text for a name, and who for an address, differs from library to library and from version
to version. So the only way of writing one that passes here is four decimal numbers, and whatever else could be an
address is refused before a library sees it.

Sources: IANA special-purpose address registries (RFC 6890), through `ipaddress`; RFC 6052 (NAT64); RFC 3056 (6to4);
WHATWG URL, "ends in a number".
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable

from aiohttp.abc import AbstractResolver, ResolveResult

from ...errors import UpstreamRefused

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
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


class AddressGuard(AbstractResolver):
    """Resolves names for connections, and refuses those that lead to an address that may not be contacted.

    Args:
        resolver: does the lookups.
        named: host and port of every URL that the operator named; these may be anywhere.
    """

    def __init__(self, resolver: AbstractResolver, named: Iterable[tuple[str, int]]) -> None:
        self._resolver = resolver
        self._named = frozenset(named)

    def check(self, host: str, port: int) -> None:
        """Refuse a literal address that is neither public nor named, and what is written oddly.

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
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; raise UpstreamRefused if any of its addresses is neither public nor named."""
        self.check(host, port)
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            self._check_address(host, port, result["host"])
        return results

    def _check_address(self, host: str, port: int, address: str) -> None:
        if is_public(address) or (host, port) in self._named:
            return
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        where = authority if address == host else f"{authority}, which has the address {address}"
        raise UpstreamRefused(f"{where}: not a public address, and no --upstream URL has that host and port")

    async def close(self) -> None:
        """Close the resolver that does the lookups."""
        await self._resolver.close()
