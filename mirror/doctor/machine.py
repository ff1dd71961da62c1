"""Facts about the machine, as the kernel tells them. Nothing is changed, and nothing leaves the machine."""

import contextlib
import os
import resource
import socket
from pathlib import Path
from typing import Final

from .facts import Descriptors, Disk, Way

_SOCKET_S: Final = 2.0
"""Bounds a connection to a Unix socket, s. The kernel answers at once, unless more wait already than may."""


def disk_of(folder: Path) -> Disk:
    """The file system of a folder, which need not be there yet: then of the next one above it that is."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        status = os.statvfs(there)
    except OSError as error:
        return Disk(str(folder), problem=f"{there} cannot be looked at: {error.strerror}")
    size = status.f_frsize
    problem = ""
    if not os.access(there, os.W_OK | os.X_OK):
        problem = f"{there} cannot be written to by {_me()}"
    return Disk(
        str(folder),
        status.f_bavail * size,
        status.f_blocks * size,
        status.f_favail if status.f_files else None,
        bool(status.f_flag & os.ST_RDONLY),
        problem,
    )


def descriptors() -> Descriptors:
    """Those of this process."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = 0
    with contextlib.suppress(OSError):
        used = len(os.listdir("/proc/self/fd"))
    return Descriptors(allowed, used)


def unix_way(path: str) -> Way:
    """Whether a Unix socket takes a connection of this process."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
            there.settimeout(_SOCKET_S)
            there.connect(path)
    except OSError as error:
        return Way(None, error.strerror or str(error))
    return Way(0.0)


def _me() -> str:
    return f"user {os.geteuid()}" if os.geteuid() else "root"
