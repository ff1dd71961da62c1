"""Carrying a plan out: write, switch, start; and put back what was there if the new agent does not start."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..errors import ConfigError, StartFailed
from . import ports
from .machine import Machine
from .places import CURRENT, ENABLED, FOLDER, KEY_FILE, LINK, PROGRAMS, UNIT, UNIT_FILE, USER, Places
from .plan import Plan, Written
from .program import Releases

Tell = Callable[[str, str], None]
"""Is told what was done: what it is about, and a sentence."""


class Installation:
    """An installation on one host.

    Args:
        places: of the host.
        machine: what runs there.
        tell: is told of each step.
    """

    def __init__(self, places: Places, machine: Machine, tell: Tell) -> None:
        self._places = places
        self._machine = machine
        self._releases = Releases(places)
        self._tell = tell
        self._has_started = False

    def carry_out(self, plan: Plan) -> None:
        """Write what is planned and start the agent. Whatever goes wrong, the machine is as it was before.

        Raises:
            StartFailed: a port is taken, the disk is full, the agent does not start.
            ConfigError: the agent would not start with these settings.
        """
        was_active = self._machine.is_active
        if self._machine.can_start and not was_active and (problems := ports.taken(plan.config)):
            raise StartFailed("\n".join(problems))
        with contextlib.ExitStack() as undo:
            undo.callback(self._go_on_as_before, was_active)
            try:
                self._write(plan, undo)
                self._check(plan)
                self._start(was_active, undo)
            except OSError as error:
                place = f"{error.filename}: " if error.filename else ""
                raise StartFailed(
                    f"{place}it cannot be written: {error.strerror or error}; nothing is changed"
                ) from None
            undo.pop_all()
        self._releases.forget_others()

    def _write(self, plan: Plan, undo: contextlib.ExitStack) -> None:
        if self._machine.add_user():
            undo.callback(self._machine.delete_user)
            self._tell("user", f"{USER}, made")
        self._make_folder(FOLDER, undo)
        self._machine.share(self._places.at(FOLDER))  # with the key, and settings that root believes
        if plan.config.key_file == Path(KEY_FILE):  # an agent that ran as root may have left it
            self._machine.give(self._places.at(KEY_FILE))
        if not str(plan.config.data_dir).startswith("/var/lib/"):
            self._make_folder(str(plan.config.data_dir), undo)  # below /var/lib the unit has systemd make it
        for written in plan.files:
            self._write_file(written, undo)
        program = plan.program
        if program.release is not None:
            before = self._releases.current
            undo.callback(self._releases.forget, self._places.at(CURRENT).with_name(program.release.name))
            undo.callback(self._releases.switch, before)
            self._releases.switch(self._releases.place(program.release))
            self._machine.relabel(PROGRAMS)
            self._link(LINK, program.command, undo)
        self._tell("program", program.text)
        self._link(ENABLED, UNIT_FILE, undo)

    def _make_folder(self, path: str, undo: contextlib.ExitStack) -> None:
        folder = self._places.at(path)
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o755)
            undo.callback(_remove_if_empty, folder)
            self._machine.give(folder)

    def _write_file(self, written: Written, undo: contextlib.ExitStack) -> None:
        """Write a file, so that it is the old one or the new one, whole. The mode of an old one is kept."""
        path = self._places.at(written.path)
        if not written.changes:
            self._tell(written.what, f"{written.path}, as it was")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        undo.callback(self._restore, path, written.before, *_mode_and_owner(path))
        mode = path.stat().st_mode & 0o777 if written.before is not None else written.mode
        owner = _mode_and_owner(path)[1] if written.before is not None else None
        self._replace(path, written.after, mode, owner)
        if written.is_private:
            self._machine.give(path)
        self._tell(written.what, f"{written.path}, {'new' if written.before is None else 'changed'}")

    def _restore(self, path: Path, text: str | None, mode: int, owner: tuple[int, int]) -> None:
        if text is None:
            path.unlink(missing_ok=True)
            return
        self._replace(path, text, mode, owner)

    def _replace(self, path: Path, text: str, mode: int, owner: tuple[int, int] | None) -> None:
        """Write a file anew, with this owner, or as this process's own. Nothing is followed that somebody put there."""
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def _link(self, path: str, target: str, undo: contextlib.ExitStack) -> None:
        place = self._places.at(path)
        before = os.readlink(place) if place.is_symlink() else None
        if before == target:
            return
        if before is None and place.exists():
            raise ConfigError(f"{path} is a file of somebody else; move it away, and run this again")
        place.parent.mkdir(parents=True, exist_ok=True)
        undo.callback(_put_link, place, before)
        _put_link(place, target)

    def _check(self, plan: Plan) -> None:
        """Have the new agent say whether it would start, as the user that it will be."""
        as_user = plan.config.containerd is None and plan.config.repair is None  # else it may read what root may
        try:
            self._machine.check(
                [plan.program.command, "agent", "--check", "--config", plan.settings.path], as_user=as_user
            )
        except StartFailed as error:
            raise ConfigError(f"{error}; nothing is changed") from None

    def _start(self, was_active: bool, undo: contextlib.ExitStack) -> None:
        if not self._machine.can_start:
            return
        self._has_started = True
        if not was_active:
            undo.callback(self._machine.stop)
        self._machine.restart()
        self._tell("agent", f"{__version__}, started by {UNIT}: it is ready")

    def _go_on_as_before(self, was_active: bool) -> None:
        """Start the old agent again, whose files are back; the new one has ended."""
        if self._has_started and was_active:
            self._machine.restart()
            self._tell("agent", "the one from before runs again")
        else:
            self._machine.reload()


def _mode_and_owner(path: Path) -> tuple[int, tuple[int, int]]:
    """Of a file that may not be there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, (0, 0)
    return status.st_mode & 0o777, (status.st_uid, status.st_gid)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _put_link(place: Path, target: str | None) -> None:
    """Have a symbolic link lead there, at once; None: have none."""
    if target is None:
        place.unlink(missing_ok=True)
        return
    new = place.with_name(f".{place.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(place)
