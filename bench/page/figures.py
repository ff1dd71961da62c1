"""The figures of all results, to be asked for by what they are."""

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .results import Cell, Figure, Result, Sheet, numbers, shown

CLEAR_SHARE: Final = 0.05
"""By how much two medians must differ for one to count as better than the other, as a share of the larger one."""

CLEAR_SHARE_ONCE: Final = 0.25
"""The same where one of them was measured only once, so that its spread is not known."""

_USUAL: Final = "cubic"
"""Congestion control that is not mentioned: most machines have it, and older results do not name theirs."""

_WITHOUT_IMAGE: Final = ("discover", "idle")
"""Scenarios in which nobody pulls the image."""

COUNTED: Final = re.compile(r",? ?\b\d+ (?:rounds|repeats|runs)\b")
"""What a title says of how often it was measured, which time decides: another run may have another number."""

_HOW: Final = re.compile(r"[,:]? median and range.*")
"""What a title says of how its cells are to be read."""

_AT_LEAST: Final = "_at_least"
"""Ends the name of the figure that says that another one was still growing when nobody looked any more."""


_FAILED: Final = "pulls_failed"
_PULLS: Final = "pulls_counted"
_OF_PULLS: Final = ("ratio", "late_ratio", "after_fault_s")
"""Figures of a run that failed pulls make a bound."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What was measured of one thing in all repeats; never empty.

    Args:
        values: in the order of the repeats.
        is_open: whether it was still growing in a run when nobody looked any more: it is at least so much.
        is_settled: whether its median is known all the same, since enough runs have ended below that.
    """

    values: Sequence[float]
    is_open: bool = False
    is_settled: bool = False

    @property
    def is_bound(self) -> bool:
        """Whether the median is only what the true one is at least."""
        return self.is_open and not self.is_settled

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.values)

    @property
    def width(self) -> float:
        """From the least to the most."""
        return self.high - self.low

    def shown(self, spec: str) -> str:
        """Median and range; of an open figure what they are more than."""
        median, span = shown(self.median, spec), self.range(spec)
        return f"{'> ' * self.is_bound}{median}{f' ({span})' if span else ''}"

    def range(self, spec: str) -> str:
        """From the least to the most; empty where there is nothing between them, or nothing known."""
        low, high = shown(self.low, spec), shown(self.high, spec)
        return "" if low == high or self.is_bound else f"{low} to {'> ' * self.is_open}{high}"

    def plain(self) -> Mapping[str, Any]:
        """For JSON: of an open figure the median and the samples are what it is more than."""
        return {"median": self.median, "samples": self.values, **({"open": True} if self.is_open else {})}

    def is_below(self, other: "Spread") -> bool:
        """Whether the worst here is less than the best there, and the medians differ by enough to matter."""
        share = CLEAR_SHARE_ONCE if min(len(self.values), len(other.values)) < 2 else CLEAR_SHARE
        far = abs(self.median - other.median) >= share * max(abs(self.median), abs(other.median))
        return self.high < other.low and far and not self.is_open

    def agrees(self, other: "Spread") -> bool:
        """Whether neither of two measurements of one thing is below the other."""
        return not self.is_below(other) and not other.is_below(self)


def spread(cell: Cell) -> Spread | None:
    """That of a table's cell; None if it holds no number."""
    match cell:
        case Figure():
            values = numbers(cell.samples)
        case float() | int():
            values = [float(cell)]
        case _:
            values = []
    return Spread(values) if values else None


@dataclass(frozen=True, slots=True)
class Named:
    """A figure of any bench, and where it stands.

    Args:
        file: its name.
        what: a mode of the lab; of other benches the table and the row.
        key: of the figure; the same for no other figure there.
        heading: above its column; of the lab the key.
        is_lab: whether the lab has measured it, whose keys have words of their own.
        found: what was measured.
    """

    file: str
    what: str
    key: str
    heading: str
    is_lab: bool
    found: Spread


@dataclass(frozen=True, slots=True)
class Trial:
    """One scenario of the lab under one setting: the figures of each mode, by key.

    Args:
        name: of the file.
        scenario: its name.
        settings: as the file has them.
        modes: figures by mode, and by key.
    """

    name: str
    scenario: str
    settings: Mapping[str, Any]
    modes: Mapping[str, Mapping[str, Spread]]

    @property
    def nodes(self) -> int:
        """Number of hosts."""
        return self.number("nodes") or 0

    @property
    def image_bytes(self) -> int:
        """Size of the image."""
        return self.number("image") or 0

    def number(self, key: str) -> int | None:
        """A setting that is a whole number."""
        value = self.settings.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def get(self, mode: str, key: str) -> Spread | None:
        """A figure of one mode, if it was measured."""
        return self.modes.get(mode, {}).get(key)

    def remark(self, mode: str, key: str) -> str:
        """Beside the time of pulls: how many of them failed, in all runs of a mode; empty if none did."""
        failed, counted = self.get(mode, _FAILED), self.get(mode, _PULLS)
        if key not in _OF_PULLS or failed is None or counted is None or not sum(failed.values):
            return ""
        return f"{sum(failed.values):.0f} of {sum(counted.values):.0f} pulls failed"

    @property
    def where(self) -> str:
        """Its setting in words."""
        parts = [f"{self.nodes} nodes"]
        name = self.settings.get("image_name")
        if isinstance(name, str) and self.scenario not in _WITHOUT_IMAGE:
            parts.append(name)
        elif self.image_bytes and self.scenario not in _WITHOUT_IMAGE:
            parts.append(f"{self.image_bytes / 2**20:.4g} MiB in {self.number('layers') or 1} layers")
        for key, words in (("link", "links"), ("upstream", "the registry's")):
            if (bits := self.number(key)) is not None:
                parts.append(f"{words} {bits / 1e6:.4g} Mbit/s")
        if loss := self.settings.get("loss"):
            parts.append(f"{loss} % of all packets lost")
        if (congestion := self.settings.get("congestion", _USUAL)) != _USUAL:
            parts.append(f"TCP with {congestion}")
        if self.settings.get("client") == "ctr":
            parts.append("pulled by containerd")
        return ", ".join(parts)


class Figures:
    """All of them.

    Args:
        results: by the name of their files.
    """

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = results
        self.trials = [
            _trial(name, result.scenario, result) for name, result in results.items() if result.scenario is not None
        ]

    @property
    def modes(self) -> list[str]:
        """All modes of the lab, in the order in which they come."""
        return list(dict.fromkeys(mode for trial in self.trials for mode in trial.modes))

    @property
    def usual_link(self) -> int | None:
        """The link of the hosts in most trials, bits per second; of several the thinnest."""
        links = [link for trial in self.trials if (link := trial.number("link")) is not None]
        return max(sorted(set(links)), key=links.count, default=None)

    @property
    def repeats(self) -> list[int]:
        """How often modes were run, the least first."""
        times = {
            max(map(_times, figures.values())) for trial in self.trials for figures in trial.modes.values() if figures
        }
        return sorted(times)

    def lab(self, scenario: str, **settings: Any) -> list[Trial]:
        """The trials of a scenario with these settings, those with fewer nodes first."""
        found = [
            trial
            for trial in self.trials
            if trial.scenario == scenario and all(trial.settings.get(key) == value for key, value in settings.items())
        ]
        return sorted(found, key=lambda trial: (trial.nodes, trial.name))

    def tables(self, bench: str, title: str) -> list[Sheet]:
        """The tables of a bench whose title begins so; a name such as `gossip` stands for that bench alone."""
        return [
            sheet
            for result in self._results.values()
            if result.bench == bench
            for sheet in result.tables
            if sheet.title.startswith(title)
        ]

    def named(self) -> Iterator[Named]:
        """All that has samples."""
        for trial in self.trials:
            for mode, figures in trial.modes.items():
                for key, found in figures.items():
                    yield Named(trial.name, mode, key, key, is_lab=True, found=found)
        for name, result in self._results.items():
            for sheet in () if result.runs else result.tables:
                for text, row in zip(labels(sheet), sheet.rows, strict=True):
                    what = f"{_HOW.sub('', COUNTED.sub('', sheet.name))}: {text}"
                    for key, cell in row.items():
                        if isinstance(cell, Figure) and (measured := spread(cell)) is not None:
                            heading = sheet.headings.get(key, key)
                            yield Named(name, what, key, heading, is_lab=False, found=measured)


def _times(figure: Spread) -> int:
    return len(figure.values)


def labels(sheet: Sheet) -> list[str]:
    """The rows of a table by their texts outside columns of numbers; rows that are alike by their first number, too."""
    texts = [
        ", ".join(cell for key, cell in row.items() if isinstance(cell, str) and key not in sheet.formats)
        for row in sheet.rows
    ]
    return [
        _numbered(text, row) if texts.count(text) > 1 else text for text, row in zip(texts, sheet.rows, strict=True)
    ]


def _numbered(text: str, row: Mapping[str, Cell]) -> str:
    number = next((cell for cell in row.values() if isinstance(cell, float | int)), None)
    return text if number is None else f"{text}, {number:g}".removeprefix(", ")


def _trial(name: str, scenario: str, result: Result) -> Trial:
    values: dict[str, dict[str, list[tuple[float, bool]]]] = {}
    for run in sorted(result.runs, key=lambda run: run.repeat):
        for key, value in run.figures.items():
            if value is not None and not key.endswith(_AT_LEAST):
                found = values.setdefault(run.mode, {}).setdefault(key, [])
                found.append((value, run.figures.get(key + _AT_LEAST) is not None))
    modes = {mode: {key: _spread(found) for key, found in figures.items()} for mode, figures in values.items()}
    return Trial(name, scenario, result.settings, modes)


def _spread(runs: Sequence[tuple[float, bool]]) -> Spread:
    """That of values, each with whether it is only a bound."""
    values = [value for value, _ in runs]
    ends = [math.inf if is_open else value for value, is_open in runs]
    is_open = any(is_open for _, is_open in runs)
    return Spread(values, is_open, is_settled=is_open and statistics.median(ends) == statistics.median(values))
