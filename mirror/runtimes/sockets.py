"""Where the containerds of a host listen, by who installed them."""

from collections.abc import Iterable
from typing import Final

from .host import Host

PLAIN: Final = "/run/containerd/containerd.sock"
K3S: Final = "/run/k3s/containerd/containerd.sock"
"""That of RKE2 as well."""
K0S: Final = "/run/k0s/containerd.sock"
MICROK8S: Final = "/var/snap/microk8s/common/run/containerd.sock"
OF_DOCKER: Final = "/run/docker/containerd/containerd.sock"
"""Of a dockerd that starts a containerd of its own."""
OF_KUBERNETES: Final = (K3S, K0S, MICROK8S)
"""Of those that bring a kubelet with them."""
ALL: Final = (PLAIN, *OF_KUBERNETES, OF_DOCKER)


def there(host: Host, among: Iterable[str] = ALL) -> list[str]:
    """Those of some sockets that a host has, in their order."""
    return [path for path in among if host.exists(path)]
