"""Units of systemd on a host, and the commands that have their programs read their files again.

The commands do nothing to a program that does not run: it reads its files when it starts. Docker's usually does not,
until somebody asks its socket.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .host import Host

FOLDERS: Final = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Where units are, the ones that count before others first."""


def file_of(host: Host, unit: str) -> str | None:
    """The file of a unit that counts, by its path on the host; None if there is no such unit.

    Args:
        host: whose.
        unit: its name, with `.service`.
    """
    return next((path for folder in FOLDERS if host.exists(path := f"{folder}/{unit}")), None)


def texts_of(host: Host, unit: str) -> dict[str, str]:
    """A unit and what others added to it, by path, in the order in which systemd reads them.

    Args:
        host: whose.
        unit: its name, with `.service`.

    Raises:
        ConfigError: a file cannot be read.
    """
    found: dict[str, str] = {}
    if (own := file_of(host, unit)) is not None and (text := host.read(own)) is not None:
        found[own] = text
    for folder in reversed(FOLDERS):
        for name in host.names(f"{folder}/{unit}.d"):
            path = f"{folder}/{unit}.d/{name}"
            if name.endswith(".conf") and (text := host.read(path)) is not None:
                found[path] = text
    return found


def said(texts: Mapping[str, str], key: str) -> Iterator[tuple[str, str]]:
    """Each value that files of a unit give a key, with the path of the file; the last one counts."""
    for path, text in texts.items():
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            name, _, value = line.partition("=")
            if name.strip() == key:
                yield path, value.strip()


def first(host: Host, units: Sequence[str]) -> str | None:
    """The first of some units that a host has, by its name without `.service`."""
    return next((unit for unit in units if file_of(host, f"{unit}.service") is not None), None)


def reload(unit: str) -> tuple[str, ...]:
    """The command for a program that reads its files at a signal."""
    return "systemctl", "try-reload-or-restart", unit


def restart(unit: str) -> tuple[str, ...]:
    """The command for a program that reads its files when it starts."""
    return "systemctl", "try-restart", unit
