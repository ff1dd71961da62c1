"""An agent on each host that finds what others hold by a DHT instead of gossip, with the same data plane."""

from collections.abc import Mapping, Sequence
from typing import Final

from testbed.network import Host

from . import Site
from .skvaller import Skvaller

DHT_PORT: Final = 4001


class Dht(Skvaller):
    """Agents that know no members. Each is told where all others are, as each Spegel is.

    Args:
        name: on the command line.
        site: where they run.
        resolve: how long a request waits for the DHT to name a holder, such as 20ms.
    """

    control_port = DHT_PORT
    found_within_s = 60.0  # one that was alone looks for others every 10 s

    def __init__(self, name: str, site: Site, resolve: str) -> None:
        flags = ["--router", "dht", "--dht", f"0.0.0.0:{DHT_PORT}", "--resolve-timeout", resolve]
        super().__init__(name, site, flags)

    def _others(self, host: Host) -> Sequence[str]:
        others = [node for node in self.site.nodes if node != host]
        return [word for node in others for word in ("--bootstrap", f"{node.address}:{DHT_PORT}")]

    def counters(self) -> Mapping[str, float]:
        """None: nobody suspects anybody, and the lag of the event loop is told by gossip alone."""
        return {}
