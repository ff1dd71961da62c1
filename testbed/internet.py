"""What is behind a site's router, where all hosts of a site have one address, as behind the lines of most offices."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from .network import Host, Namespace, Network, inside
from .processes import run

_NET: Final = "11.0.0"
"""Addresses of the public internet, as far as anybody inside can tell. No packet leaves the namespaces."""

PUBLIC: Final = f"{_NET}.1"
"""The site's address outside."""

_FIRST: Final = 10
_ROUTER: Final = "router"


class Internet:
    """A router with network address translation, and one host outside, with an address for each of some names.

    Args:
        network: the site's.
        stack: everything that is made goes when this one is closed.
        names: that programs on the site's hosts can look up.
    """

    def __init__(self, network: Network, stack: ExitStack, names: Sequence[str]) -> None:
        self._router = network.host(_ROUTER)
        outside = stack.enter_context(Namespace("internet")).name
        self.addresses = [f"{_NET}.{_FIRST + number}" for number in range(len(names))]
        self._names = dict(zip(names, self.addresses, strict=True))
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
        """Let a host of the site reach what is outside, and find it by name."""
        run(["ip", "-n", host.netns, "route", "add", "default", "via", self._router.address])
        host.resolve(self._names)
