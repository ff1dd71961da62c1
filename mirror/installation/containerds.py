"""The containerd of a host whose content the agent shares."""

from dataclasses import dataclass
from typing import Final

from ..runtimes import sockets
from ..runtimes.host import Host
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


def find(places: Places) -> Containerd | None:
    """The containerd that runs the containers of a host: that of a Kubernetes, if it has one; None if none runs."""
    host = Host(places.root)
    socket = next(iter(sockets.there(host, (*sockets.OF_KUBERNETES, sockets.PLAIN))), None)
    if socket is None:
        return None
    has_kubelet = socket in sockets.OF_KUBERNETES or host.exists(_KUBELET)
    return Containerd(socket, _OF_KUBERNETES if has_kubelet else _OF_PEOPLE)
