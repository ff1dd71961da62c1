"""Users of a host who may have settings of their own, which count instead of the host's, or beside them.

What users have in their homes is theirs: it is looked at, never written, and whatever stands there stops nothing. Names
that they gave to files are told only if they can be part of a command.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigError
from .host import Host

_USERS_MAX: Final = 1000
"""Bounds the users whose homes are looked at; a host with more of them has their homes elsewhere."""
_NAMES_MAX: Final = 20
"""Bounds the files of a folder of theirs that are looked at."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class User:
    """Someone with a home folder.

    Args:
        name: as in /etc/passwd.
        home: absolute on the host.
        host: that it is on.
    """

    name: str
    home: str
    host: Host

    def has(self, path: str) -> bool:
        """Whether something is there, below the home; what may not be looked at is not."""
        with suppress(ConfigError):
            return self.host.exists(f"{self.home}/{path}")
        return False

    def read(self, path: str) -> str:
        """The text of a file below the home; nothing if it cannot be read."""
        with suppress(ConfigError):
            return self.host.read(f"{self.home}/{path}") or ""
        return ""

    def names(self, folder: str) -> list[str]:
        """What a folder below the home has, as far as the names are plain."""
        with suppress(ConfigError):
            names = self.host.names(f"{self.home}/{folder}")
            return [name for name in names if _NAME.fullmatch(name)][:_NAMES_MAX]
        return []


def users(host: Host) -> list[User]:
    """Root and all who can log in, by name; their homes need not be there.

    Raises:
        ConfigError: /etc/passwd cannot be read.
    """
    found = {"root": User("root", "/root", host)}
    for line in (host.read("/etc/passwd") or "").splitlines()[:_USERS_MAX]:
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and int(fields[2]) >= 1000 and fields[5].startswith("/home/"):
            found[fields[0]] = User(fields[0], fields[5], host)
    return [found[name] for name in sorted(found)]
