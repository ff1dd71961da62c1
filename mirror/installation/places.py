"""Where everything of an installation is."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ..runtimes.host import Host

PROGRAMS: Final = "/opt/skvaller"
CURRENT: Final = f"{PROGRAMS}/current"
LINK: Final = "/usr/local/bin/skvaller"
UNIT: Final = "skvaller.service"
UNIT_FILE: Final = f"/etc/systemd/system/{UNIT}"
DROP_INS: Final = f"{UNIT_FILE}.d"
ENABLED: Final = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"
FOLDER: Final = "/etc/skvaller"
SETTINGS_FILE: Final = f"{FOLDER}/agent.toml"
KEY_FILE: Final = f"{FOLDER}/cluster.key"
DATA: Final = "/var/lib/skvaller"
USER: Final = "skvaller"
"""The system user that the agent runs as."""


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of a host, for this process.

    Args:
        root: the folder that stands for the host's `/`.
    """

    root: Path = Path("/")

    @property
    def is_here(self) -> bool:
        """Whether the host is the machine on which this process runs, and not a folder for another one."""
        return self.root.resolve() == Path("/")

    def at(self, path: str) -> Path:
        """Where an absolute path of the host is: links on the way lead to places of that host, never of another."""
        whole = PurePosixPath(path)
        return Host(self.root).place(str(whole.parent)) / whole.name
