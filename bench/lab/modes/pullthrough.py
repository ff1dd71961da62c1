"""One docker-registry as a pull-through cache, on a host with a link like that of the others."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from testbed.images import Image
from testbed.network import Host, Traffic
from testbed.processes import Process, wait_until

from ..servers import UPSTREAM, registry_on
from . import PROXY, Mode, Site


class PullThrough(Mode):
    """All clients ask one cache.

    Args:
        name: on the command line.
        site: with a host for the cache.
    """

    def __init__(self, name: str, site: Site) -> None:
        super().__init__(name, site)
        assert site.proxy is not None, "the site has no host for a cache"
        self._cache = registry_on(site.proxy, site.place(site.proxy), upstream=site.url)

    @property
    def processes(self) -> Mapping[str, Process]:
        """The cache."""
        return {PROXY: self._cache}

    def start(self, hosts: Sequence[Host], stack: ExitStack) -> None:
        """Start the cache, whoever is to ask it."""
        if not self._cache.running:
            stack.enter_context(self._cache)

    def asked(self, host: Host) -> str:
        """The cache's."""
        return str(self._cache.address)

    def until_found(self, holder: Host, image: Image) -> None:
        """Wait until the cache has stored it."""
        wait_until(lambda: self._cache.stored(*image.digests), "the cache to store everything", self.found_within_s)

    def busiest(self) -> str:
        """The cache: all bytes go through it."""
        return PROXY

    def by_interfaces(self, carried: Mapping[str, Traffic]) -> Mapping[str, Sequence[float]]:
        """What the cache has received is counted once for all."""
        nodes = self.site.nodes
        return {
            PROXY: [carried[node.name].received for node in nodes],
            UPSTREAM: [carried[PROXY].received / len(nodes)],
        }
