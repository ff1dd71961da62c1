"""The machines of a cluster: what they run, what they hold, and their addresses."""

from dataclasses import dataclass, field

from ..core.membership.member import Address
from ..core.node import Node

GOSSIP_PORT = 7946


@dataclass(slots=True, eq=False)
class Host:
    """A machine.

    Args:
        name: its name.
        address: where its node listens.
        node_name: the name of its node: the same, unless it is a clone.
        node: its node, while that runs.
        run: counts the starts of its node.
        paused_until: until when its node's process stands still, seconds.
        timer_at: when its node is to be called next, seconds.
        epoch: of its node.
        clock_ahead_s: how far its wall clock is ahead of the true time, seconds.
        keys: what it holds, in order; this survives restarts.
    """

    name: str
    address: Address
    node_name: str
    node: Node | None = None
    run: int = 0
    paused_until: float = 0.0
    timer_at: float | None = None
    epoch: int = 0
    clock_ahead_s: float = 0.0
    keys: dict[bytes, None] = field(default_factory=dict)


class Addresses:
    """Which host has which address; none is given twice."""

    def __init__(self) -> None:
        self._hosts: dict[Address, Host] = {}
        self._given = 0

    def new_host(self, name: str, node_name: str) -> Host:
        """A host with an address that nobody had before."""
        host = Host(name, self._new(), node_name)
        self._hosts[host.address] = host
        return host

    def move(self, host: Host) -> None:
        """Give a host another address; what is sent to the old one reaches nobody."""
        del self._hosts[host.address]
        host.address = self._new()
        self._hosts[host.address] = host

    def host_at(self, address: Address) -> Host | None:
        """The host that has an address now."""
        return self._hosts.get(address)

    def _new(self) -> Address:
        self._given += 1
        return Address(f"10.{self._given >> 16}.{self._given >> 8 & 255}.{self._given & 255}", GOSSIP_PORT)
