"""All runtimes that are known, and which of them a host has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from . import Change, Runtime, Wanted
from .buildkit import BuildKit
from .containerd import K0S, MICROK8S, Containerd
from .docker import Docker
from .host import Host
from .k3s import K3S, RKE2, K3s
from .podman import Podman

RUNTIMES: Final[tuple[Runtime, ...]] = (
    Containerd(),
    Containerd(MICROK8S),
    Containerd(K0S),
    K3s(K3S),
    K3s(RKE2),
    Podman(),
    Docker(),
    BuildKit(),
)
"""In the order in which they are shown. One more is a line here, and a row of docs/runtimes.md."""


@dataclass(frozen=True, slots=True)
class Found:
    """A runtime that a host has.

    Args:
        runtime: its name.
        version: None if no file tells.
        change: what `skvaller configure` would write; None if `problem` is in the way.
        problem: why nobody can say what it asks: one line that names the file.
    """

    runtime: str
    version: str | None
    change: Change | None
    problem: str | None = None

    @property
    def asks(self) -> bool:
        """Whether it asks the agent first, as its files say. It may not have read them yet."""
        return self.change is not None and not self.change.files


def find(root: Path, wanted: Wanted, runtimes: Sequence[Runtime] = RUNTIMES) -> list[Found]:
    """The runtimes of a host; reads files, runs and writes nothing.

    Args:
        root: stands for the host's `/`.
        wanted: whom they should ask.
        runtimes: those that are looked for.
    """
    host = Host(root)
    found = []
    for runtime in runtimes:
        version = None
        try:
            installed = runtime.look(host)
            if installed is None:
                continue
            version = installed.version
            found.append(Found(runtime.name, version, runtime.add(installed, wanted)))
        except ConfigError as error:
            found.append(Found(runtime.name, version, None, str(error)))
    return found
