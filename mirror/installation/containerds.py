"""The containerd of a host whose content the agent shares."""

from dataclasses import dataclass
from typing import Final

from .places import Places

_OF_KUBERNETES: Final = "k8s.io"
_OF_PEOPLE: Final = "default"
"""The namespace of `ctr` and `nerdctl`."""
_KUBELET: Final = "/var/lib/kubelet"


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd of the host.

    Args:
        socket: on the host.
        namespace: the one with the images.
    """

    socket: str
    namespace: str


_K3S: Final = Containerd("/run/k3s/containerd/containerd.sock", _OF_KUBERNETES)
_K0S: Final = Containerd("/run/k0s/containerd.sock", _OF_KUBERNETES)
_MICROK8S: Final = Containerd("/var/snap/microk8s/common/run/containerd.sock", _OF_KUBERNETES)
_PLAIN: Final = "/run/containerd/containerd.sock"


def find(places: Places) -> Containerd | None:
    """The containerd that runs the containers of a host: that of a Kubernetes, if it has one; None if none runs."""
    for known in (_K3S, _K0S, _MICROK8S):
        if places.at(known.socket).exists():
            return known
    if places.at(_PLAIN).exists():
        return Containerd(_PLAIN, _OF_KUBERNETES if places.at(_KUBELET).exists() else _OF_PEOPLE)
    return None
