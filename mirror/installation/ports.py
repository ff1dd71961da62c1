"""Addresses that an agent would listen at and that another program has, before the agent finds out.

Source: proc_pid_net(5), tcp and udp: the local address, and the inode of the socket, by which the program is found.
"""

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from ..addresses import Address, ListenAddress
from ..config import AgentConfig

_LISTENING = "0A"
"""TCP_LISTEN, as the kernel writes it."""


def taken(config: AgentConfig) -> list[str]:
    """A sentence for each address of these settings at which another program listens."""
    found = []
    for name, address, kinds in _wanted(config):
        for kind in kinds:
            if isinstance(address, Address) and not _is_free(address, kind):
                holder = holder_of(address.port, kind)
                found.append(f"{name}: {address} is taken by {holder}; stop that, or give --{name} another port")
                break
    return found


def _wanted(config: AgentConfig) -> Iterable[tuple[str, ListenAddress, tuple[socket.SocketKind, ...]]]:
    """The settings, their addresses, and what is opened there."""
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    for address in config.listen:
        yield "listen", address, (stream,)
    for listener in config.listen_for:
        yield "listen-for", listener.address, (stream,)
    for name, one in (("listen-api", config.listen_api), ("metrics", config.metrics), ("peer", config.peer)):
        if one is not None:
            yield name, one, (stream,)
    name, address = config.discovery
    yield name, address, (stream, datagram)


def _is_free(address: Address, kind: socket.SocketKind) -> bool:
    """Whether this machine lets somebody listen there. An address that it does not have is for the agent to say."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended take no port
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return holder_of(address.port, kind) is None
    return True


def holder_of(port: int, kind: socket.SocketKind, proc: Path = Path("/proc")) -> str | None:
    """The program that has a port, `nginx (pid 812)`; None if nobody has it."""
    inodes = set()
    for table in ("tcp", "tcp6") if kind is socket.SOCK_STREAM else ("udp", "udp6"):
        with contextlib.suppress(OSError):
            for row in (proc / "self" / "net" / table).read_text().splitlines()[1:]:
                fields = row.split()
                is_open = fields[3] == _LISTENING or kind is socket.SOCK_DGRAM
                if is_open and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in proc.iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "a program of another container or user"
