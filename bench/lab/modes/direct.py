"""No mirror: all clients ask upstream."""

from collections.abc import Mapping
from pathlib import Path

from testbed.containerd import write_hosts
from testbed.images import Image
from testbed.network import Host
from testbed.processes import Process

from . import Mode


class Direct(Mode):
    """Nothing stands between the clients and upstream."""

    @property
    def processes(self) -> Mapping[str, Process]:
        """None."""
        return {}

    def asked(self, host: Host) -> str:
        """Upstream's."""
        return self.site.upstream_address

    def hosts_dir(self, host: Host) -> Path:
        """The folder that tells a host's `ctr` so."""
        return write_hosts(self.site.place(host) / "hosts", self.site.url, self.site.url)

    def until_found(self, holder: Host, image: Image) -> None:
        """Upstream has had it all the time."""
