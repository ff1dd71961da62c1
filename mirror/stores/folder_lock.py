"""One agent per data folder: a second one would drop what the first is still receiving."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import StartFailed


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the data folder, for this user alone, if it is missing, and hold its lock.

    The kernel releases the lock when the process dies.

    Raises:
        StartFailed: the folder cannot be written to, or another agent uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartFailed(f"data-dir: cannot write to {folder}: {error.strerror}; name a folder to write to") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartFailed(f"data-dir: another agent uses {folder}; give each agent a folder of its own") from None
        yield
    finally:
        os.close(lock)
