"""The files that benches write, read back and checked: a file that is not one of them gives an error that says why."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ..report import BenchError

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""How large a file may be, bytes: that of the longest lab run has a tenth of it."""

FILES_MAX: Final = 500
"""How many files a folder may have: several times the steps of a full suite."""

PAGE_FILE: Final = "report.json"
"""The JSON of a page, where nobody names another one."""

_PAGE_KEYS: Final = frozenset({"answers", "duels"})
"""What the JSON of a page has, and no result: such a file may lie among results and is none of them."""

_FORMAT: Final = re.compile(r",?(\.\d\d?)?[fge%]|")
_SHOWN_DIGITS: Final = 12


class Figure(msgspec.Struct, frozen=True):
    """Samples with their median; None stands for what was infinite, or no number."""

    median: float | None
    samples: list[float | None]


Cell = Figure | float | str | None


class Sheet(msgspec.Struct, frozen=True):
    """A table, as `Report.write` writes it."""

    title: str
    rows: list[dict[str, Cell]]
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    formats: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The first line of its title; what follows explains."""
        return self.title.partition("\n")[0]

    @property
    def rest(self) -> str:
        """What follows the first line of its title, on one line; empty if nothing does."""
        return " ".join(self.title.partition("\n")[2].split())

    def spec(self, key: str) -> str:
        """The format of a column's numbers."""
        return self.formats.get(key, ".4g")

    @property
    def headings(self) -> dict[str, str]:
        """Heading by key; of a file without headings, the keys themselves."""
        keys = dict.fromkeys(key for row in self.rows for key in row)
        return self.columns or {key: key for key in keys}


class Goal(msgspec.Struct, frozen=True):
    """A goal of a bench."""

    what: str
    limit: float | None
    found: float | None
    reached: bool
    most: bool = False


class Run(msgspec.Struct, frozen=True):
    """One run of the lab in one mode."""

    mode: str
    repeat: int
    figures: dict[str, float | None]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What the suite says of the step that wrote the file.

    Args:
        name: of the step.
        arguments: of `python -m bench`.
        code: digest of the code that was measured.
        took_s: how long it took, seconds.
        error: why it failed; None if it did not.
    """

    name: str
    arguments: list[str]
    code: str
    took_s: float
    error: str | None = None


class Result(msgspec.Struct, frozen=True):
    """One file."""

    bench: str
    tables: list[Sheet] = msgspec.field(default_factory=list)
    goals: list[Goal] = msgspec.field(default_factory=list)
    command: list[str] = msgspec.field(default_factory=list)
    written_unix_s: float | None = None
    machine: dict[str, str | float | None] = msgspec.field(default_factory=dict)
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    runs: list[Run] = msgspec.field(default_factory=list)
    step: Step | None = None

    @property
    def scenario(self) -> str | None:
        """The lab's scenario; None for other benches."""
        kind, _, scenario = self.bench.partition(" ")
        return scenario if kind == "lab" and scenario else None


def read_folder(folder: Path) -> dict[str, Result]:
    """All results of a folder, by the file's name without its suffix.

    Raises:
        BenchError: there is none, or a file is none that a bench writes.
    """
    paths = sorted(path for path in folder.glob("*.json") if not is_page(path))
    if not paths:
        raise BenchError(f"{folder} has no results: python -m bench all --folder {folder}")
    if len(paths) > FILES_MAX:
        raise BenchError(f"{folder} has {len(paths)} JSON files; a page is made of at most {FILES_MAX}")
    return {path.stem: read(path) for path in paths}


def is_page(path: Path) -> bool:
    """Whether a file is the JSON of a page; of one that is too large to be read, the name decides."""
    if path.stat().st_size > FILE_BYTES_MAX:
        return path.name == PAGE_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return found.keys() >= _PAGE_KEYS


def read(path: Path) -> Result:
    """One file.

    Raises:
        BenchError: a bench has not written it.
    """
    if (size := path.stat().st_size) > FILE_BYTES_MAX:
        raise BenchError(f"{path} has {size} bytes; a result has at most {FILE_BYTES_MAX}")
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Result)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is no result of a bench: {error}") from None
    for sheet in found.tables:
        for key, spec in sheet.formats.items():
            if not _FORMAT.fullmatch(spec):
                raise BenchError(f"{path} has the format {spec!r} for {key!r}; one such as '.2f' is allowed")
    return found


def shown(value: float | None, spec: str) -> str:
    """A number as its format says; very large ones by their exponent, and None as a hyphen."""
    if value is None:
        return "-"
    return f"{value:.2e}" if abs(value) >= 10.0**_SHOWN_DIGITS else f"{value:{spec}}"


def said(cell: Cell, spec: str) -> str:
    """A cell as text; of samples the median, and the range where there is one."""
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Figure):
        return shown(cell, spec)
    values = numbers(cell.samples)
    low, high = (shown(value, spec) for value in (min(values, default=None), max(values, default=None)))
    median = shown(cell.median, spec)
    return median if low == high == median or not values else f"{median} ({low} to {high})"


def numbers(values: Sequence[float | None]) -> list[float]:
    """Those that are some."""
    return [value for value in values if value is not None]
