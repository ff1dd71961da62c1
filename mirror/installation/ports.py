"""Addresses that an agent would listen at and that another program has, before the agent finds out."""

import socket
from collections.abc import Iterable
from typing import Literal

from ..addresses import Address, ListenAddress
from ..config import AgentConfig
from ..doctor.holders import holder_of

Protocol = Literal["tcp", "udp"]


def taken(config: AgentConfig) -> list[str]:
    """A sentence for each address of these settings at which another program listens."""
    found = []
    for name, address, protocols in _wanted(config):
        for protocol in protocols:
            if isinstance(address, Address) and not _is_free(address, protocol):
                holder = holder_of(address.port, protocol)
                found.append(f"{name}: {address} is taken by {holder}; stop that, or give --{name} another port")
                break
    return found


def _wanted(config: AgentConfig) -> Iterable[tuple[str, ListenAddress, tuple[Protocol, ...]]]:
    """The settings, their addresses, and what is opened there."""
    for address in config.listen:
        yield "listen", address, ("tcp",)
    for listener in config.listen_for:
        yield "listen-for", listener.address, ("tcp",)
    for name, one in (("listen-api", config.listen_api), ("metrics", config.metrics), ("peer", config.peer)):
        if one is not None:
            yield name, one, ("tcp",)
    name, address = config.discovery
    yield name, address, ("tcp", "udp")


def _is_free(address: Address, protocol: Protocol) -> bool:
    """Whether this machine lets somebody listen there. An address that it does not have is for the agent to say."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as probe:
        if protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended take no port
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return holder_of(address.port, protocol) is None
    return True
