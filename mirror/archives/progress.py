"""How far a command is: a bar with the time that is left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_MIB = 1024 * 1024


class Progress(Protocol):
    """Is told how far a command is."""

    def expect(self, total: int | None) -> None:
        """Take note of how many bytes there are; None: nobody knows."""
        ...

    def advance(self, count: int) -> None:
        """Take note of bytes that are done."""
        ...


class Lines:
    """Writes a line to standard error now and then.

    Args:
        verb: what is done.
        interval_s: between two lines, s.
    """

    def __init__(self, verb: str, interval_s: float) -> None:
        self._verb = verb
        self._interval_s = interval_s
        self._begun_at = self._said_at = time.monotonic()
        self._total: int | None = None
        self._done = 0

    def expect(self, total: int | None) -> None:
        """Take note of how many bytes there are."""
        self._total = total

    def advance(self, count: int) -> None:
        """Take note of bytes, and say how far it is if it is time to."""
        self._done += count
        now = time.monotonic()
        if now - self._said_at >= self._interval_s:
            self._said_at = now
            print(progress_line(self._verb, self._done, self._total, now - self._begun_at), file=sys.stderr)  # noqa: T201


def progress_line(verb: str, done: int, total: int | None, passed_s: float) -> str:
    """How far it is: bytes, and how long the rest takes if it goes on like this."""
    if total is None:
        return f"{verb}: {done / _MIB:,.0f} MiB"
    left = f", {(total - done) * passed_s / done:,.0f} s left" if 0 < done <= total else ""
    return f"{verb}: {done / _MIB:,.0f} of {total / _MIB:,.0f} MiB{left}"


@contextmanager
def shown(verb: str, interval_s: float) -> Iterator[Progress]:
    """Show how far a command is while the block runs."""
    if not sys.stderr.isatty():
        yield Lines(verb, interval_s)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True)),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars, verb)


class _Bar:
    """Moves a bar on the terminal."""

    def __init__(self, bars: "Bars", verb: str) -> None:
        self._bars = bars
        self._task = bars.add_task(verb, total=None)

    def expect(self, total: int | None) -> None:
        """Take note of how many bytes there are."""
        self._bars.update(self._task, total=total)

    def advance(self, count: int) -> None:
        """Take note of bytes that are done."""
        self._bars.advance(self._task, count)
