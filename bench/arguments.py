"""What the options of the benches take: sizes, rates, numbers of nodes, and files that are written in the end.

All of it is judged before anything is measured.
"""

import os
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from mirror.errors import ConfigError
from mirror.tables import parse_size

KIB: Final = 1024
MIB: Final = 1024**2
PLOT_SUFFIXES: Final = (".svg", ".png", ".pdf", ".jpg")
"""Of files that plots are drawn into, in any case."""

_BITS: Final = {"kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_RATE_LEAST_BITS: Final = 1_000_000
_RATE_MOST_BITS: Final = 100_000_000_000


class Size(click.ParamType):  # type: ignore[type-arg]  # the oldest click that is allowed has no such argument
    """A number of bytes, such as `512MiB`.

    Args:
        least: that is allowed, bytes: less is over before it can be measured.
    """

    name = "size"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a wrong one ends the command."""
        if isinstance(value, int):
            return value
        try:
            size = parse_size(value)
        except (ConfigError, ValueError) as error:
            self.fail(str(error), param, ctx)
        if size < self._least:
            least = f"{self._least // MIB}MiB" if self._least >= MIB else f"{self._least // KIB}KiB"
            self.fail(f"{value!r} is too small to be measured: give {least} or more", param, ctx)
        return size


class Rate(click.ParamType):  # type: ignore[type-arg]  # the oldest click that is allowed has no such argument
    """Bits per second, such as `200mbit`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a wrong one ends the command."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)", value.lower())
        rate = float(found[1]) * _BITS[found[2]] if found else 0.0
        if not _RATE_LEAST_BITS <= rate <= _RATE_MOST_BITS:
            self.fail(f"{value!r} must be from 1mbit to 100gbit", param, ctx)
        return round(rate)


class Counts(click.ParamType):  # type: ignore[type-arg]  # the oldest click that is allowed has no such argument
    """Numbers of nodes, such as `10,20`."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """The numbers; wrong ones end the command."""
        if isinstance(value, list):
            return value
        try:
            counts = [int(word) for word in value.split(",")]
        except ValueError:
            counts = []
        if not counts or not all(3 <= count <= 100_000 for count in counts):
            self.fail(f"{value!r} must be numbers from 3 to 100000, with commas between them", param, ctx)
        return counts


class Target(click.Path):
    """A file that is written after everything was measured: it has to be possible before.

    Args:
        suffixes: the only ones that are allowed, in lower case; none: all but `refused`.
        refused: suffixes that are not allowed, in lower case.
    """

    def __init__(self, *, suffixes: Collection[str] = (), refused: Collection[str] = ()) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._suffixes = suffixes
        self._refused = refused

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; one that cannot be written ends the command."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        suffix = path.suffix.lower()
        if self._suffixes and suffix not in self._suffixes:
            self.fail(f"{path} must end in one of {', '.join(self._suffixes)}", param, ctx)
        if suffix in self._refused:
            self.fail(f"{path} must not end in {suffix}, as results do: give it another suffix", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}: make it first, or name another one", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"{path}: no file can be made in {path.parent.absolute()}: name another folder", param, ctx)
        return path


class NewFolder(click.Path):
    """A folder that is made, with those above it, when something is kept there: that has to be possible before."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; one where no folder can be made ends the command."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            self.fail(f"{path}: no folder can be made in {above}: name another one", param, ctx)
        return path


def plot_file(plot: Path | None, target: Path | None) -> Path | None:
    """Where the plots go: where somebody wants them, or else beside the JSON, where they can be drawn; None: nowhere.

    Args:
        plot: a file that was asked for.
        target: the JSON's.

    Raises:
        click.UsageError: plots are asked for that cannot be drawn, or in the file of the JSON.
    """
    drawable = find_spec("matplotlib") is not None
    if plot is not None and not drawable:
        raise click.UsageError("--plot needs matplotlib: pip install '.[bench]'")
    if plot is None and target is not None and drawable:
        plot = target.with_suffix(".svg")
    if plot is not None and target is not None and plot.absolute() == target.absolute():
        raise click.UsageError(
            f"{target} cannot have both the JSON and the plot: give --json another suffix, or --plot"
        )
    return plot
