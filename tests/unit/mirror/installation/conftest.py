"""A host that is a folder, and a systemd that is played."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mirror.errors import StartFailed
from mirror.installation.machine import Machine
from mirror.installation.places import Places
from mirror.installation.program import Program


class PlayedMachine(Machine):
    """Plays systemd: what it was asked, and whether the agent starts."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self.asked: list[str] = []
        self.runs = False
        self.starts: Callable[[], bool] = lambda: True
        self.refuses = ""

    @property
    def can_start(self) -> bool:
        return True

    @property
    def is_active(self) -> bool:
        return self.runs

    def restart(self) -> None:
        self.asked.append("restart")
        self.runs = self.starts()
        if not self.runs:
            raise StartFailed("the agent does not start. It said:\nno")

    def stop(self) -> None:
        self.asked.append("stop")
        self.runs = False

    def reload(self) -> None:
        self.asked.append("reload")

    def check(self, command: Sequence[str], *, as_user: bool) -> None:
        if self.refuses:
            raise StartFailed(self.refuses)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    root = tmp_path / "host"
    (root / "etc").mkdir(parents=True)
    return Places(root)


@pytest.fixture
def machine(places: Places) -> PlayedMachine:
    return PlayedMachine(places)


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


def a_release(folder: Path, name: str) -> Program:
    """A release as it comes out of the one file."""
    release = folder / name
    (release / "bin").mkdir(parents=True)
    (release / "bin" / "skvaller").write_text(f"#!/bin/sh\necho {name}\n")
    (release / "bundle.json").write_text("{}")
    return Program("/opt/skvaller/current/bin/skvaller", release, "skvaller.pyz")


def tree(root: Path) -> dict[str, str]:
    """All files and links below a folder, with what is in them, and the mode."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode & 0o777:o} {path.read_text()}"
        else:
            found[name] = "folder"
    return found
