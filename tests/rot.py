"""Damage to a file, as a disk does it."""

import os
from pathlib import Path


def flip(path: Path, at: int) -> None:
    """Change one bit where the file lies; its size, mode and times stay, as far as a program can have it."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
