"""Writing files of a host: each is the old one or the new one, whole, with its mode, its owner and its labels."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from ..fileio import sync_folder
from .host import Host

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_NEW: Final = ".skvaller-new"
"""The end of the name under which a file comes into being. No runtime reads files with that end."""
_CANNOT_REPLACE: Final = (errno.EBUSY, errno.EXDEV, errno.EPERM)
"""The file is a mount of its own, as in a container, or this process may not give a new one its owner: the file can be
written, and not replaced."""


def write(host: Host, path: str, text: str) -> list[str]:
    """Write a file of a host, through the symbolic links that lead to it.

    Returns:
        The folders that were made for it, outermost first.

    Raises:
        ConfigError: it cannot be written; says why, and what to do.
    """
    place = host.place(path)
    try:
        made = _make_folders(host, place.parent)
        _replace(place, text.encode())
    except OSError as error:
        raise unwritable(host, path, error) from None
    return made


def delete(host: Host, path: str) -> None:
    """Delete a file of a host, if it is there; raise ConfigError if it cannot be deleted."""
    try:
        host.place(path).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(host, path, error) from None


def delete_folders(host: Host, folders: list[str]) -> None:
    """Delete folders that were made, innermost first, but for those in which something is."""
    for folder in reversed(folders):
        with suppress(OSError):
            host.place(folder).rmdir()


def unwritable(host: Host, path: str, error: OSError) -> ConfigError:
    """The error for a path that cannot be written, with what to do."""
    place = host.place(path)
    link = "" if place == host.root / path.lstrip("/") else f" (it is {place})"
    advice = {
        errno.EACCES: "run this command with sudo",
        errno.EPERM: "run this command with sudo; if you did, somebody has made the file unchangeable: see lsattr",
        errno.EROFS: "what makes the files of this host has to bring these lines, which --dry-run shows",
        errno.ENOSPC: "make room",
    }.get(error.errno or 0, "")
    return ConfigError(f"{path}{link}: it cannot be written: {error.strerror}{'; ' if advice else ''}{advice}")


def _make_folders(host: Host, folder: Path) -> list[str]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(_FOLDER_MODE)
        each.chmod(_FOLDER_MODE)  # whatever the umask says: the runtime may not be root
    return [f"/{each.relative_to(host.root)}" for each in reversed(missing)]


def _replace(place: Path, content: bytes) -> None:
    """Write a file anew, beside it, and give it its name."""
    new = place.with_name(f".{place.name}{_NEW}")
    try:
        new.unlink(missing_ok=True)  # of a write that was broken off; what is there now is nobody's but ours
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            _take_after(place, file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        if error.errno not in _CANNOT_REPLACE:
            raise
        place.write_bytes(content)


def _take_after(place: Path, fd: int) -> None:
    """Give a new file the mode, the owner and the labels of the old one, or the usual mode."""
    try:
        old = place.stat()
    except FileNotFoundError:
        os.fchmod(fd, _FILE_MODE)
        return
    os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, old.st_mode & 0o7777)
    for name in os.listxattr(place):
        with suppress(OSError):
            os.setxattr(fd, name, os.getxattr(place, name))
