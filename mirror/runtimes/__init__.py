"""Container runtimes of a host, and what makes each of them ask the agent first: the contract.

An implementation is a module or folder below this package with a class that is a `Runtime`; `known` lists them. It
knows its files and their format, and nothing of how they are written, copied or put back: its functions take texts and
give texts. `host` reads files; `configuring` plans, shows and writes; `records` remembers what was added.

Three promises hold for each, and tests/unit/mirror/runtimes checks them over files of the real world:

- `add` writes only what is missing: where the runtime asks the agent already, whoever wrote that, it changes nothing.
- `remove` of what `add` gave is the text of before, byte for byte.
- Where others changed the text in between, `remove` takes exactly what was added, and leaves all of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ConfigError
from .host import Host

Texts = Mapping[str, str]
"""Texts of files, by absolute path on their host. A file that is not there is not in it."""

Added = Any
"""What was added to one file: JSON, that `remove` of the same runtime understands, also in later versions."""


class NotUnderstood(ConfigError):
    """A runtime's file has something that nobody can add to: it is not in order, or has a form that is not known.

    Args:
        path: of the file on its host.
        line: from 1 on; None if it is about the whole file.
        problem: what is wrong, and what to do.
    """

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {problem}")
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom runtimes are to ask first, and for what.

    Args:
        url: of the agent's client endpoint: `http://127.0.0.1:5000`, without a path and a slash at the end.
        registries: canonical names, never none: those that the operator named, or all that the agent serves.
        every: whether the operator named none. A runtime whose format has a word for all registries writes that, and
            needs no names.
        then: URLs of other mirrors, which are asked after the agent and before those that others wrote. Only containerd
            is told of them.
    """

    url: str
    registries: tuple[str, ...]
    every: bool = True
    then: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Host and port of the agent, for formats that want no URL."""
        return self.url.partition("://")[2]


def is_local(registry: str) -> bool:
    """Whether a registry is this machine's own, by its name: no other member knows what it means by that."""
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
    return host.startswith("127.") or host == "[::1]" or host.split(".")[-1] == "localhost"


@dataclass(frozen=True, slots=True)
class Installed:
    """A runtime that a host has, as its files tell.

    Args:
        runtime: its name.
        version: as it says itself, `1.6.20`; None if no file tells.
        texts: all files that `add` looks into, those that it may change among them.
        paths: what else `add` has to know to be there: folders, units. Absolute on the host.
        restart: the command that makes it read its files again, `("systemctl", "restart", "containerd")`; empty if it
            reads them at each pull.
    """

    runtime: str
    version: str | None
    texts: Texts
    paths: frozenset[str] = frozenset()
    restart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Addition:
    """What becomes of one file.

    Args:
        text: all of it.
        added: what `remove` needs to take exactly the addition away again. JSON.
        at_once: whether the runtime reads the file at each pull, and so needs no restart for it.
    """

    text: str
    added: Added
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What makes a runtime ask the agent first.

    Args:
        files: those that change, by absolute path on the host, in the order in which they are written; none if it asks
            the agent already.
        restart: the command without which the runtime does not see files that it does not read at once; empty if it
            needs none.
        notes: sentences for the operator: what was left alone and why, what else stands in the way.
    """

    files: Mapping[str, Addition] = field(default_factory=dict)
    restart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Runtime(Protocol):
    """A kind of container runtime. It has no state: what it knows of a host is in `Installed`."""

    @property
    def name(self) -> str:
        """As on the command line: `containerd`."""

    def look(self, host: Host) -> Installed | None:
        """What the host has of it, or None if it is not installed there. Reads files, and runs nothing.

        Raises:
            ConfigError: a file cannot be read.
        """

    def add(self, installed: Installed, wanted: Wanted) -> Change:
        """What makes it ask the agent first. Pure: of `installed.texts`, not of the disk.

        Raises:
            NotUnderstood: a file is not in order.
        """

    def remove(self, path: str, text: str, added: Added) -> str | None:
        """The text of a file without what was added to it; None if nothing is left and `add` had made the file. Pure.

        Args:
            path: of the file on its host.
            text: as it is now, with whatever others have changed in it since.
            added: of the `Addition`.

        Raises:
            NotUnderstood: the file is not in order.
        """
