"""What an installation asks of its machine: systemd, and the user that the agent runs as."""

import errno
import grp
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import StartFailed
from .places import UNIT, USER, Places

_COMMAND_S: Final = 180
"""Bounds one command of the machine, s: systemd waits up to 30 s for an agent to end, and 90 s for one to be ready."""
_SHARED_MODE: Final = 0o1775
"""Of a folder in which the agent's group may write. Sticky: whoever does not own a file can neither delete it nor put
another one in its place."""
_BOOTED: Final = Path("/run/systemd/system")
"""Is there where systemd runs the machine. Source: sd_booted(3)."""


class Machine:
    """This machine, or a folder for another one, in which nothing can be started.

    Args:
        places: of the host.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    @property
    def can_start(self) -> bool:
        """Whether systemd runs here, and is that of the host."""
        return self._places.is_here and _BOOTED.is_dir()

    @property
    def is_active(self) -> bool:
        """Whether the unit runs."""
        return self.can_start and _run("systemctl", "is-active", "--quiet", UNIT).returncode == 0

    def restart(self) -> None:
        """Have the unit run, as its file says now, and wait until the agent is ready.

        Raises:
            StartFailed: the agent ended; with what it said last.
        """
        _must("systemctl", "daemon-reload")
        _run("systemctl", "reset-failed", UNIT)
        done = _run("systemctl", "restart", UNIT)
        if done.returncode != 0:
            last = ("--lines", "5", "--output", "cat", "--no-pager", "--quiet")
            said = _run("journalctl", f"_SYSTEMD_UNIT={UNIT}", *last).stdout.strip()
            raise StartFailed(f"the agent does not start. It said:\n{said or done.stderr.strip()}{_hint(said)}")

    def stop(self) -> None:
        """Stop the unit, if it is there; the agent leaves the cluster."""
        if self.can_start:
            _run("systemctl", "disable", "--now", "--quiet", UNIT)

    def reload(self) -> None:
        """Have systemd read its files again."""
        if self.can_start:
            _must("systemctl", "daemon-reload")
            _run("systemctl", "reset-failed", UNIT)

    @property
    def has_user(self) -> bool:
        """Whether the system user that the agent runs as is there."""
        return self._user_ids() is not None

    def add_user(self) -> bool:
        """Have the system user that the agent runs as; whether it was made now.

        Raises:
            StartFailed: it cannot be made.
        """
        if self.has_user or not self._places.at("/etc/passwd").exists():
            return False
        where = [] if self._places.is_here else ["--root", str(self._places.root.resolve())]
        shell = "/usr/sbin/nologin"
        _must("useradd", *where, "--system", "--user-group", "--no-create-home", "--shell", shell, USER)
        return True

    def delete_user(self) -> bool:
        """Delete that user; whether it was there."""
        if not self._places.is_here or not self.has_user:
            return False
        _must("userdel", USER)
        return True

    def relabel(self, path: str) -> None:
        """Give files the labels that SELinux lets systemd start, where there is SELinux."""
        if self._places.is_here and (command := shutil.which("restorecon")) is not None:
            _run(command, "-R", path)

    def give(self, path: Path) -> None:
        """Make the agent's user the owner of a file or folder, if both are there.

        The agent may write beside its key, so what stands there may be its doing: a link, be it a hard one, is left
        alone, for what it leads to is another's.
        """
        ids = self._user_ids()
        if ids is None or os.geteuid() != 0:
            return
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
                os.fchown(fd, *ids)
        finally:
            os.close(fd)

    def share(self, folder: Path) -> None:
        """Let the agent's user make and replace files of its own in a folder of root's, and touch no others there."""
        ids = self._user_ids()
        if ids is not None and os.geteuid() == 0:
            os.chown(folder, 0, ids[1], follow_symlinks=False)
            os.chmod(folder, _SHARED_MODE)

    def _user_ids(self) -> tuple[int, int] | None:
        """User and group, by their ids; None if there is no such user."""
        try:
            if self._places.is_here:
                return pwd.getpwnam(USER).pw_uid, grp.getgrnam(USER).gr_gid
            rows = [line.split(":") for line in self._places.at("/etc/passwd").read_text().splitlines()]
            return next(((int(row[2]), int(row[3])) for row in rows if row[0] == USER), None)
        except (KeyError, OSError):
            return None

    def check(self, command: Sequence[str], *, as_user: bool) -> None:
        """Run a command that says whether the agent would start; in a folder for another machine nobody can say it.

        Args:
            command: it ends with the status 0 if it would.
            as_user: whether to run it as the agent's user; else as this one.

        Raises:
            StartFailed: it would not, and why.
        """
        if not self._places.is_here:
            return
        ids = self._user_ids() if as_user and os.geteuid() == 0 else None
        user, group = ids if ids is not None else (None, None)
        done = subprocess.run(
            command, user=user, group=group, extra_groups=[] if ids else None, capture_output=True, text=True,
            timeout=_COMMAND_S, check=False, cwd="/", env={"PATH": os.environ.get("PATH", os.defpath)},
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.strip().removeprefix("Error: ")
            raise StartFailed(f"{said}{_hint(said)}")


def _hint(said: str) -> str:
    """What a refusal of the kernel means where the agent is not root."""
    refused = any(os.strerror(number) in said for number in (errno.EACCES, errno.EPERM))
    return f" (the agent runs as the user {USER}, which must own what it reads or writes)" if refused else ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _must(*command: str) -> None:
    found = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or command[0]
    done = _run(found, *command[1:])
    if done.returncode != 0:
        raise StartFailed(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
