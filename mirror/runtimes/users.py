"""Users of a host who may have settings of their own, which count instead of the host's, or beside them."""

from dataclasses import dataclass
from typing import Final

from .host import Host

_USERS_MAX: Final = 1000
"""Bounds the users whose homes are looked at; a host with more of them has their homes elsewhere."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone with a home folder."""

    name: str
    home: str


def users(host: Host) -> list[User]:
    """Root and all who can log in, by name; their homes need not be there.

    Raises:
        ConfigError: /etc/passwd cannot be read.
    """
    found = {"root": User("root", "/root")}
    for line in (host.read("/etc/passwd") or "").splitlines()[:_USERS_MAX]:
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and int(fields[2]) >= 1000 and fields[5].startswith("/home/"):
            found[fields[0]] = User(fields[0], fields[5])
    return [found[name] for name in sorted(found)]
