"""Why an agent ended that did not want to: written into its data folder, for who asks why none runs."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FILE: Final = "last-words"
_TEXT_MAX: Final = 2000
"""Bounds what is kept of the reason, in characters."""


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
            file.write_text(f"{time.time():.0f}\n{error or type(error).__name__}"[:_TEXT_MAX], "utf-8")
        raise


def read(folder: Path, now_unix_s: float) -> tuple[float, str] | None:
    """How long ago the last agent of a folder ended against its will, s, and why; None if it did not, or ended well."""
    try:
        at, _, text = (folder / _FILE).read_text("utf-8", "replace").partition("\n")
        return max(0.0, now_unix_s - float(at)), "".join(it if it.isprintable() else " " for it in text[:_TEXT_MAX])
    except (OSError, ValueError):
        return None
