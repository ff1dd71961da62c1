"""The results of a bench: samples with their spread, tables, and goals."""

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from .versions import machine, versions

GIB = 1024**3
MIB = 1024**2
OURS = "skvaller"


class BenchError(Exception):
    """The bench cannot go on; the message says why, in one line."""


@dataclass(slots=True)
class Samples:
    """Repeated measurements of one thing, in the order in which they were taken."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one; no number (NaN) where one of them is none."""
        return math.nan if any(map(math.isnan, self.values)) else statistics.median(self.values)

    def __truediv__(self, other: "Samples") -> "Samples":
        """The ratios, round by round: what slows the whole machine down slows both, and cancels out."""
        return Samples([_ratio(mine, theirs) for mine, theirs in zip(self.values, other.values, strict=True)])

    def __format__(self, spec: str) -> str:
        """Median and range, the numbers formatted as `spec` says; the range is left out where all look the same."""
        median, low, high = (f"{value:{spec}}" for value in (self.median, min(self.values), max(self.values)))
        return median if low == high else f"{median}  [dim]{low} to {high}[/dim]"


def _ratio(mine: float, theirs: float) -> float:
    """Of what was too little to be measured, infinite; of both, no number."""
    if theirs:
        return mine / theirs
    return math.inf if mine else math.nan


Cell = Samples | float | str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures.

    Args:
        title: what the figures are, and of how many rounds.
        columns: heading by key, in order.
        formats: format specification by key, for numbers and samples.
        rows: cells by key; None shows as a hyphen.
    """

    title: str
    columns: Mapping[str, str]
    formats: Mapping[str, str]
    rows: Sequence[Mapping[str, Cell]]

    @classmethod
    def of(
        cls,
        title: str,
        labels: Mapping[str, str],
        figures: Mapping[str, tuple[str, str]],
        rows: Sequence[Mapping[str, Cell]],
    ) -> "Table":
        """A table whose columns are texts, and then numbers.

        Args:
            title: what the figures are.
            labels: headings of the columns of text, by key.
            figures: heading and format of the columns of numbers, by key.
            rows: cells by key.
        """
        columns = {**labels, **{key: heading for key, (heading, _) in figures.items()}}
        return cls(title, columns, {key: spec for key, (_, spec) in figures.items()}, rows)

    def render(self) -> RichTable:
        """For a terminal."""
        table = RichTable()
        for key, heading in self.columns.items():
            is_figure = key in self.formats  # texts fold where the terminal is too narrow for all
            table.add_column(heading, justify="right" if is_figure else "left", no_wrap=is_figure)
        for row in self.rows:
            table.add_row(*(self._text(key, row.get(key)) for key in self.columns))
        return table

    def _text(self, key: str, cell: Cell) -> str:
        if cell is None:
            return "-"
        return cell if isinstance(cell, str) else format(cell, self.formats[key])


class Comparison:
    """Ours beside others under some loads: how fast each is and what it costs, in rounds that take their turns."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], Samples] = {}
        self._costs: dict[tuple[str, str], Samples] = {}

    def add(self, load: str, server: str, rate: float, cost: float) -> None:
        """Take one more measurement."""
        self._rates.setdefault((load, server), Samples()).values.append(rate)
        self._costs.setdefault((load, server), Samples()).values.append(cost)

    @property
    def loads(self) -> list[str]:
        """The loads, in the order in which they came."""
        return list(dict.fromkeys(load for load, _ in self._rates))

    @property
    def others(self) -> list[str]:
        """The servers beside ours, in the order in which they came."""
        return list(dict.fromkeys(server for _, server in self._rates if server != OURS))

    def ratio(self, load: str, server: str) -> float:
        """How many times as fast as another server ours is; the median over the rounds."""
        return (self._rates[load, OURS] / self._rates[load, server]).median

    def cost_ratio(self, load: str, server: str) -> float:
        """How many times as much as ours another server costs; the median over the rounds."""
        return (self._costs[load, server] / self._costs[load, OURS]).median

    def table(self, title: str, rate: tuple[str, str], cost: tuple[str, str]) -> Table:
        """All of it, with headings and formats of rates and costs as given."""
        taken = len(next(iter(self._rates.values())).values)
        rows = [
            {
                "load": load,
                "server": server,
                "rate": rates,
                "cost": self._costs[load, server],
                "ratio": None if server == OURS else self._rates[load, OURS] / rates,
            }
            for (load, server), rates in sorted(self._rates.items(), key=self._place)
        ]
        columns = {"load": "load", "server": "server", "rate": rate[0], "cost": cost[0], "ratio": f"{OURS} is"}
        formats = {"rate": rate[1], "cost": cost[1], "ratio": ".2f"}
        return Table(f"{title}, {taken} rounds: median and range", columns, formats, rows)

    def _place(self, item: tuple[tuple[str, str], Samples]) -> tuple[int, bool, str]:
        (load, server), _ = item
        return self.loads.index(load), server != OURS, server


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal.

    Args:
        what: in words.
        limit: the number to reach.
        found: the number found.
        most: whether the limit is the most that is allowed, rather than the least.
    """

    what: str
    limit: float
    found: float
    most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        return self.found <= self.limit if self.most else self.found >= self.limit

    def __str__(self) -> str:
        sign, mark = "≤" if self.most else "≥", "[green]reached[/green]" if self.reached else "[red]missed[/red]"
        return f"{mark}  {self.what}: {self.found:.2f} (goal {sign} {self.limit:g})"


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one bench.

    Args:
        bench: its name.
        tables: to be shown.
        goals: which of them were reached.
        details: more results, for the JSON alone.
        versions: of programs that only this bench knows, such as one that a flag names.
        draw: draws its plots into a file, whose suffix gives the format; None: it has none.
    """

    bench: str
    tables: Sequence[Table]
    goals: Sequence[Goal]
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    draw: Callable[[Path], None] | None = None

    def show(self, console: Console) -> None:
        """Print it."""
        for table in self.tables:
            console.print(table.title, style="bold", markup=False, highlight=False)
            console.print(table.render())
        for goal in self.goals:
            console.print(str(goal), highlight=False)

    def write(self, target: Path) -> None:
        """Write it as JSON, from which `python -m bench report` makes its page.

        Keys: `bench`, its name; `command`, as it was given; `written_unix_s`; `machine` and `versions`; `tables`, each
        with its title, headings (`columns`) and `formats` by key, and rows; `goals`; and the details. Samples are
        written with their median, in the order in which they were taken.
        """
        found = {
            "bench": self.bench,
            "command": ["python", "-m", "bench", *sys.argv[1:]],
            "written_unix_s": time.time(),
            "machine": machine(),
            "versions": {**versions(), **self.versions},
            "tables": [
                {
                    "title": table.title,
                    "columns": dict(table.columns),
                    "formats": dict(table.formats),
                    "rows": table.rows,
                }
                for table in self.tables
            ],
            "goals": [{**asdict(goal), "reached": goal.reached} for goal in self.goals],
            **self.details,
        }
        target.write_text(json.dumps(_plain(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(found: Any) -> Any:
    """As JSON has it. That has no number for what is infinite, or for what is none: null stands for both."""
    match found:
        case Samples():
            return {"median": _plain(found.median), "samples": _plain(found.values)}
        case float():
            return found if math.isfinite(found) else None
        case str():
            return found
        case Mapping():
            return {key: _plain(value) for key, value in found.items()}
        case Sequence():
            return [_plain(value) for value in found]
        case _:
            return found
