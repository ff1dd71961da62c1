"""Why an agent ended that did not want to: written into its data folder, for who asks why none runs."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..fileio import read_small

_FILE: Final = "last-words"
_TEXT_MAX: Final = 2000
"""Bounds what is kept of the reason, in characters."""
_FILE_MAX_BYTES: Final = 4 * _TEXT_MAX
"""Bounds the file, in bytes: who asks may be root, and the file is another user's."""


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Keep the reason with which what is done inside ends, if it fails; forget the one of before.

    A folder that cannot be written to keeps none: then that is the reason.
    """
    file = folder / _FILE
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        with contextlib.suppress(OSError):
            _write_new(file, f"{time.time():.0f}\n{error or type(error).__name__}"[:_TEXT_MAX])
        raise


def read(folder: Path, now_unix_s: float) -> tuple[float, str] | None:
    """How long ago the last agent of a folder ended against its will, s, and why; None if it did not, or ended well."""
    try:
        content, _ = read_small(folder / _FILE, _FILE_MAX_BYTES)
        at, _, text = content.decode(errors="replace").partition("\n")
        return max(0.0, now_unix_s - float(at)), "".join(it if it.isprintable() else " " for it in text[:_TEXT_MAX])
    except (OSError, ValueError):
        return None


def _write_new(file: Path, text: str) -> None:
    """Write a file that is not there; a link in its place, which would lead an agent of root elsewhere, is refused."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
        opened.write(text.encode(errors="replace"))
