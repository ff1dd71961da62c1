"""The two sockets of a node, and addresses as the kernel wants them."""

import errno
import ipaddress
import re
import socket
from typing import Any, Final

from ..core.errors import ConfigError
from ..core.membership.member import Address

DEFAULT_PORT: Final = 7946
"""Source: memberlist."""
_RECEIVE_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""Bytes of datagrams that the kernel keeps while the event loop is busy: what arrives within seconds."""
_TRIES: Final = 16
"""Ports that are tried if the kernel chooses: one that is free for UDP may be taken for TCP."""
_BACKLOG: Final = 128
"""Streams that may wait to be accepted."""
_SHOWN: Final = 80
"""Characters of a wrong address that an error shows."""
_HOST: Final = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63}){0,127}\.?")
_PORT: Final = re.compile("[0-9]{1,5}")


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address.

    Raises:
        ConfigError: it is none of these, or the port is not 1 to 65535.
    """
    host, port = text, str(default_port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
        well_formed = ":" in host and (not rest or rest.startswith(":"))
    else:
        well_formed = True
        if text.count(":") == 1:
            host, _, port = text.partition(":")
    if not well_formed or not _is_host(host) or not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise ConfigError(f"address {text[:_SHOWN]!r} must be host, host:port or [IPv6]:port")
    return host, int(port)


def _is_host(host: str) -> bool:
    """Whether this may be a name, or is an address; only IPv6 addresses have colons."""
    if ":" not in host:
        return bool(_HOST.fullmatch(host))
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a listening TCP socket on the same port; port 0 lets the kernel choose one for both.

    Raises:
        ConfigError: the host is no IP address of this machine, or the port is taken; the message names both.
    """
    for _ in range(_TRIES if port == 0 else 1):
        datagrams = _socket(host, socket.SOCK_DGRAM)
        try:
            _bind(datagrams, host, port)
            streams = _socket(host, socket.SOCK_STREAM)
        except BaseException:
            datagrams.close()
            raise
        try:
            _bind(streams, host, datagrams.getsockname()[1])
            streams.listen(_BACKLOG)
        except ConfigError:
            datagrams.close()
            streams.close()
            if port != 0:
                raise
            continue
        return datagrams, streams
    raise ConfigError(f"no port of {host} is free for both UDP and TCP")


def source_address(name: tuple[Any, ...]) -> Address:
    """The address that `recvfrom` returns, without a zone, and as IPv4 if it is IPv4 inside IPv6."""
    host = name[0].partition("%")[0].removeprefix("::ffff:") if "." in name[0] else name[0].partition("%")[0]
    return Address(host, name[1])


def destination(address: Address, family: int) -> tuple[str, int]:
    """An address as `sendto` of a socket of that family needs it."""
    if family == socket.AF_INET6 and ":" not in address.host:
        return (f"::ffff:{address.host}", address.port)
    return (address.host, address.port)


def can_send(datagrams: socket.socket, address: Address) -> bool:
    """Whether a bound socket sends to addresses of that family: only one that is bound to `::` sends to both."""
    here = datagrams.getsockname()[0]
    return here == "::" or (":" in here) == (":" in address.host)


def outward_host(host: str) -> str:
    """The address at which others reach this machine, if `host` is a wildcard; else `host` itself.

    Raises:
        ConfigError: this machine has no route to the outside, so that no address of it can be chosen.
    """
    if not ipaddress.ip_address(host).is_unspecified:
        return host
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))  # sends nothing: the kernel only looks up the route
        except OSError as error:
            raise ConfigError(f"bound to {host} and no route leads out: say which address to advertise") from error
        return str(probe.getsockname()[0])


def _socket(host: str, kind: int) -> socket.socket:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise ConfigError(f"cannot listen on {host!r}: it must be an IP address") from error
    opened = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, kind)
    opened.setblocking(False)
    if version == 6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_STREAM:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    return opened


def _bind(opened: socket.socket, host: str, port: int) -> None:
    kind = "UDP" if opened.type == socket.SOCK_DGRAM else "TCP"
    try:
        opened.bind((host, port))
    except OSError as error:
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(f"cannot listen on {kind} {Address(host, port)}: {why}") from error
