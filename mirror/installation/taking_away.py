"""Taking an installation away: all that the installation put there, and, if it is wanted, what the agent made."""

import os
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .carrying_out import Tell
from .machine import Machine
from .places import DATA, DROP_INS, ENABLED, FOLDER, LINK, PROGRAMS, SETTINGS_FILE, UNIT_FILE, USER, Places

if TYPE_CHECKING:
    from pathlib import Path


class Removal:
    """The removal of an installation from one host.

    Args:
        places: of the host.
        machine: what runs there.
        tell: is told of each step.
    """

    def __init__(self, places: Places, machine: Machine, tell: Tell) -> None:
        self._places = places
        self._machine = machine
        self._tell = tell

    def take_away(self, *, purge: bool) -> None:
        """Stop the agent, and delete what was installed.

        Args:
            purge: whether to delete settings, the cluster's key, the cache and the user as well. Else they are named.

        Raises:
            StartFailed: the machine refuses.
            OSError: a file cannot be deleted.
        """
        data_dir = self.data_dir
        if self._machine.is_active:
            self._machine.stop()
            self._tell("agent", "stopped; it has left the cluster")
        links_here = self._links_to_a_release()
        for path in (ENABLED, UNIT_FILE, *((LINK,) if links_here else ())):
            self._delete(path)
        self._machine.reload()
        if links_here:
            self._delete(PROGRAMS)
        rest = (FOLDER, data_dir, DROP_INS)
        if not purge:
            for path in self._there(*rest):
                self._tell("left", path)
            if self._machine.has_user:
                self._tell("left", f"the user {USER}")
            return
        for path in self._there(FOLDER, DATA, DROP_INS):
            self._delete(path)
        for path in self._there(data_dir):  # of the operator's choice: something else may be in it
            self._tell("left", f"{path}, the data-dir of agent.toml; delete it with: rm -r {shlex.quote(path)}")
        if self._machine.delete_user():
            self._tell("deleted", f"the user {USER}")

    @property
    def data_dir(self) -> str:
        """Where the settings say that the agent keeps its cache."""
        try:
            written = tomllib.loads(self._places.at(SETTINGS_FILE).read_text())
        except (OSError, ValueError):
            return DATA
        return str(written.get("data-dir", DATA))

    def _links_to_a_release(self) -> bool:
        """Whether the command is that of a release, and not of an installation with pip."""
        link = self._places.at(LINK)
        return link.is_symlink() and os.readlink(link).startswith(f"{PROGRAMS}/")

    def _there(self, *paths: str) -> Iterator[str]:
        return (path for path in dict.fromkeys(paths) if os.path.lexists(self._places.at(path)))

    def _delete(self, path: str) -> None:
        place: Path = self._places.at(path)
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
        else:
            return
        self._tell("deleted", path)
