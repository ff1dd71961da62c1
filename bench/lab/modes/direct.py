"""No mirror: all clients ask upstream."""

from collections.abc import Mapping

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

    def until_found(self, holder: Host, image: Image) -> None:
        """Upstream has had it all the time."""
