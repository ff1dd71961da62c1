"""What is behind a site's router, where all hosts of a site have one address, as behind the lines of most offices."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from .network import Host, Namespace, Network, inside
from .processes import run

PUBLIC: Final = "203.0.113.1"
"""The site's address outside. Source: RFC 5737, TEST-NET-3."""

_NET: Final = "203.0.113"
_FIRST: Final = 10
_ROUTER: Final = "router"


class Internet:
    """A router with network address translation, and one host outside, which may have several addresses.

    Args:
        network: the site's.
        stack: everything that is made goes when this one is closed.
        addresses: of the host outside.
    """

    def __init__(self, network: Network, stack: ExitStack, addresses: int = 1) -> None:
        self._router = network.host(_ROUTER)
        outside = stack.enter_context(Namespace("internet")).name
        self.addresses = [f"{_NET}.{_FIRST + number}" for number in range(addresses)]
        router = self._router.netns
        run(["ip", "-n", router, "link", "add", "wan", "type", "veth", "peer", "name", "eth0", "netns", outside])
        run(["ip", "-n", router, "address", "add", f"{PUBLIC}/24", "dev", "wan"])
        run(["ip", "-n", router, "link", "set", "wan", "up"])
        for address in self.addresses:
            run(["ip", "-n", outside, "address", "add", f"{address}/24", "dev", "eth0"])
        run(["ip", "-n", outside, "link", "set", "eth0", "up"])
        inside(router, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        chain = "add chain ip site out { type nat hook postrouting priority 100; }"
        self._router.run("nft", f"add table ip site; {chain}; add rule ip site out oifname wan masquerade")
        self.host = Host("internet", outside, self.addresses[0], self._router.switch, self._router.port)
        """Outside. It is `away` for all of the site at once: what is cut is the site's router."""

    def connect(self, host: Host) -> None:
        """Let a host of the site reach what is outside."""
        run(["ip", "-n", host.netns, "route", "add", "default", "via", self._router.address])
