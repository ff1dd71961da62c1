"""A wall clock for one process alone, which can be moved while the process runs."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .processes import missing, run

_SOURCE: Final = Path(__file__).with_name("shifted_clock.c")
_SHIFT: Final = struct.Struct("q")


def clocks_move() -> bool:
    """Whether this machine can make such clocks: it needs a C compiler."""
    return not missing("cc")


class Clock:
    """A clock that is right at first.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._shift = folder / "clock"
        self._library = folder / "shifted_clock.so"
        run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE)])
        self._shift.write_bytes(_SHIFT.pack(0))

    def command(self, command: Sequence[str]) -> Sequence[str]:
        """The same command under this clock."""
        return ["env", f"LD_PRELOAD={self._library}", f"SHIFTED_CLOCK={self._shift}", *command]

    def be_wrong_by(self, seconds: int) -> None:
        """Move it, at once."""
        with self._shift.open("r+b") as file:
            file.write(_SHIFT.pack(seconds))
