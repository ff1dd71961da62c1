"""All modes, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from . import Mode, Site
from .dht import Dht
from .direct import Direct
from .pullthrough import PullThrough
from .skvaller import Skvaller
from .spegel import Spegel


@dataclass(frozen=True, slots=True)
class Kind:
    """A mode that can be asked for.

    Args:
        name: on the command line.
        what: the clients ask.
        build: makes what a run needs, without starting it.
        mirrors: whether something stands between the clients and upstream, which keeps what it has passed on.
        discovers: whether each host with a client has a process that finds what the others have.
        homes: whether nodes fetch for each other, so that parts of what one pulls are with others too.
        proxied: whether it needs the host for a pull-through cache.
        dht: whether its agents need the optional extra of that name.
        spegel: whether it runs Spegel, which serves what containerds have, and so nothing to clients without one.
        shares_upstream: whether the nodes share the registry's link; otherwise it is as wide as one for each of them.
    """

    name: str
    what: str
    build: Callable[[str, Site], Mode]
    mirrors: bool = True
    discovers: bool = True
    homes: bool = False
    proxied: bool = False
    dht: bool = False
    spegel: bool = False
    shares_upstream: bool = True

    def make(self, site: Site) -> Mode:
        """What one run needs, not started."""
        return self.build(self.name, site)


MODES: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("skvaller", "their own agents", Skvaller, homes=True),
        Kind(
            "exact",
            "agents that gossip about keys themselves",
            partial(Skvaller, flags=("--router", "exact")),
            homes=True,
        ),
        Kind("dht", "agents that find content by a DHT", partial(Dht, resolve="20ms"), dht=True),
        Kind("dht-5s", "the same, with K3s's patience for the DHT", partial(Dht, resolve="5s"), dht=True),
        Kind("direct", "the registry", Direct, mirrors=False, discovers=False),
        Kind(
            "unshared",
            "the registry, over a link as wide as one for each",
            Direct,
            mirrors=False,
            discovers=False,
            shares_upstream=False,
        ),
        Kind("pullthrough", "one docker-registry proxy", PullThrough, discovers=False, proxied=True),
        Kind("spegel", "Spegels, beside containerds", Spegel, spegel=True),
    )
}
