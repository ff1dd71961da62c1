"""The programs of a Kubernetes: one folder has what Debian does not have."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ..errors import RunError
from ..processes import missing

VARIABLE: Final = "KUBERNETES_BIN"
"""Names the folder with the programs."""

BUILD: Final = Path(__file__).with_name("build")
"""Builds them."""

_BUILT: Final = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
    *("containerd", "containerd-shim-runc-v2", "ctr", "helm"),
)
_OF_DEBIAN: Final = ("etcd", "runc", "ip", "nft", "iptables", "cc", "unshare", "nsenter", "docker-registry", "skopeo")
_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")

CNI: Final = Path("/usr/lib/cni")
"""Where Debian's package `containernetworking-plugins` has the plugins."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder with the programs that Debian does not have."""

    folder: Path

    @classmethod
    def find(cls) -> Self:
        """Those that the environment names.

        Raises:
            RunError: some are missing; the message says which.
        """
        folder = Path(os.environ.get(VARIABLE, "/nonexistent")).resolve()
        absent = [name for name in _BUILT if not os.access(folder / name, os.X_OK)]
        if absent:
            raise RunError(f"{VARIABLE}={folder} lacks {', '.join(absent)}; `{BUILD} FOLDER` builds them")
        lacking = [*missing(*_OF_DEBIAN), *(name for name in _PLUGINS if not (CNI / name).exists())]
        if lacking:
            raise RunError(f"not installed: {', '.join(lacking)}")
        return cls(folder)

    def path(self, name: str) -> str:
        """Of one program."""
        return str(self.folder / name)
