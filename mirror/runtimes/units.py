"""Units of systemd on a host, and the commands that have their programs read their files again.

The commands do nothing to a program that does not run: it reads its files when it starts. Docker's usually does not,
until somebody asks its socket.
"""

from collections.abc import Sequence
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


def first(host: Host, units: Sequence[str]) -> str | None:
    """The first of some units that a host has, by its name without `.service`."""
    return next((unit for unit in units if file_of(host, f"{unit}.service") is not None), None)


def reload(unit: str) -> tuple[str, ...]:
    """The command for a program that reads its files at a signal."""
    return "systemctl", "try-reload-or-restart", unit


def restart(unit: str) -> tuple[str, ...]:
    """The command for a program that reads its files when it starts."""
    return "systemctl", "try-restart", unit
