"""Addresses of this machine, as the kernel knows them. Nothing is sent."""

import contextlib
import ipaddress
import re
import socket
from pathlib import Path

_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")
_PROC = Path("/proc/thread-self/net")
_GLOBAL_SCOPE = "00"
_PORT = 9
"""Any: no packet leaves."""


def address_towards(host: str, family: socket.AddressFamily) -> str | None:
    """The address from which this machine would send to a host; None if it has no route there, or no name is known.

    A UDP socket that is connected sends nothing, but the kernel chooses the address that it would send from.

    Args:
        host: an IP address, or a name, which is looked up; that may block.
        family: of the addresses.
    """
    with contextlib.suppress(OSError, UnicodeError):  # UnicodeError: of a name that DNS cannot have
        *_, there = socket.getaddrinfo(host, _PORT, family, socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(there)
            return str(probe.getsockname()[0])
    return None


def machine_addresses(family: socket.AddressFamily) -> list[str]:
    """The addresses under which other machines may reach this one, in order.

    Source: proc_net(5), if_inet6; and fib_trie, whose local entries are the addresses of interfaces that are up.
    """
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    with contextlib.suppress(OSError):
        if family == socket.AF_INET6:
            rows = [line.split() for line in (_PROC / "if_inet6").read_text().splitlines()]
            found = {ipaddress.ip_address(bytes.fromhex(row[0])) for row in rows if row[3] == _GLOBAL_SCOPE}
        else:
            found = {ipaddress.ip_address(text) for text in _LOCAL.findall((_PROC / "fib_trie").read_text())}
    return [str(address) for address in sorted(found, key=int) if not address.is_loopback]
