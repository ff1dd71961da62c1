"""All runtimes that are known, and which of them a host has.

Each is loaded when somebody wants it: an agent looks after one of them, and what reads the files of the others takes
2 MiB of memory.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from . import Change, Runtime, Wanted
from .host import Host

_MODULES: Final[Mapping[str, str]] = {
    "containerd": "containerd",
    "microk8s": "containerd",
    "k0s": "containerd",
    "k3s": "k3s",
    "rke2": "k3s",
    "podman": "podman",
    "docker": "docker",
    "buildkit": "buildkit",
}
"""By name: the module that has it in its `RUNTIMES`. One more is a line here, and a row of docs/runtimes.md."""


def named(name: str) -> Runtime | None:
    """A runtime by its name; None if none has it."""
    if name not in _MODULES:
        return None
    module = importlib.import_module(f"{__package__}.{_MODULES[name]}")
    found: Runtime = next(runtime for runtime in module.RUNTIMES if runtime.name == name)
    return found


def known() -> list[Runtime]:
    """All of them, in the order in which they are shown."""
    return [runtime for name in _MODULES if (runtime := named(name)) is not None]


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


def find(root: Path, wanted: Wanted, runtimes: Sequence[Runtime] | None = None) -> list[Found]:
    """The runtimes of a host; reads files, runs and writes nothing.

    Args:
        root: stands for the host's `/`.
        wanted: whom they should ask.
        runtimes: those that are looked for; None: all.
    """
    host = Host(root)
    found = []
    for runtime in known() if runtimes is None else runtimes:
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
