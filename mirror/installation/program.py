"""Which Skvaller the unit runs: a release below /opt/skvaller, or what pip has installed where it is."""

import contextlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import __version__
from ..errors import ConfigError
from .places import CURRENT, PROGRAMS, Places

_TOLD: Final = "bundle.json"
"""The file that a release has, and that says how it is called; `deploy/bundle/make.py` writes it."""
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders that the unit hides from the agent."""


@dataclass(frozen=True, slots=True)
class Program:
    """The Skvaller that this process runs.

    Args:
        command: what the unit starts, on the host.
        release: the folder of a release, for this process; None if pip has installed it.
        file: name of the one file that it came in; None if it came in another way.
    """

    command: str
    release: Path | None = None
    file: str | None = None

    @property
    def on_others(self) -> str:
        """How the same one is run on a node that does not have it yet."""
        return f"sh {self.file}" if self.file else "skvaller"

    @property
    def text(self) -> str:
        """Version and place."""
        return f"{__version__} in {PROGRAMS}/{self.release.name}" if self.release else f"{__version__}, {self.command}"


def running() -> Program:
    """The Skvaller that this process runs.

    Raises:
        ConfigError: no unit could run it where it is.
    """
    release = Path(__file__).resolve().parents[3]
    if (release / _TOLD).exists():
        told = json.loads((release / _TOLD).read_text())
        file = f"skvaller-{told['version']}-python{told['python']}-{told['arch']}.pyz"
        return Program(f"{CURRENT}/bin/skvaller", release, file)
    command = Path(sys.executable).parent / "skvaller"
    if not command.exists():
        raise ConfigError("this Skvaller runs from its source; make a file that can be installed with ./dev bundle")
    if any(command.is_relative_to(folder) for folder in _HIDDEN):
        raise ConfigError(
            f"{command}: the unit's sandbox hides {', '.join(_HIDDEN)} from the agent; make a file that can be "
            "installed with ./dev bundle, or install with pip below /opt"
        )
    return Program(str(command))


class Releases:
    """The releases of a host.

    Args:
        places: of the host.
    """

    def __init__(self, places: Places) -> None:
        self._folder = places.at(PROGRAMS)
        self._current = places.at(CURRENT)

    @property
    def current(self) -> str | None:
        """The name of the release that is run; None if there is none."""
        try:
            return os.readlink(self._current)
        except OSError:
            return None

    def place(self, release: Path) -> str:
        """Have a release beside the others, whole, and give its name.

        Raises:
            OSError: there is no room.
        """
        here = self._folder / release.name
        if here.resolve() != release.resolve() and not here.exists():
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            partial = self._folder / f".{release.name}.{os.getpid()}"
            try:
                shutil.copytree(release, partial, symlinks=True)
                partial.rename(here)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return release.name

    def switch(self, name: str | None) -> None:
        """Have this release run from the next start on; None: none."""
        if name is None:
            self._current.unlink(missing_ok=True)
            return
        new = self._current.with_name(f".current.{os.getpid()}")
        new.symlink_to(name)
        new.replace(self._current)

    def forget_others(self) -> None:
        """Delete all releases but the current one."""
        for path in self._folder.iterdir() if self.current else ():
            if path.name not in (self.current, self._current.name):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def forget(self, release: Path) -> None:
        """Delete a release that was placed and is not the current one, and the folder if nothing else is in it."""
        if release.parent.resolve() == self._folder.resolve() and release.name != self.current:
            shutil.rmtree(release, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._folder.rmdir()
