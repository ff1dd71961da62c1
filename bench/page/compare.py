"""Do two runs agree? Every figure that was measured in both, by the rule by which the page calls one mode better."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..report import Table
from .figures import Figures, Named, Spread
from .pool import failed, same, unlike
from .results import Result, read_folder
from .words import METRICS, mode_words

_FILES_NAMED: Final = 3
"""How many of the files with most differences the sentences name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of one run, and the same of another.

    Args:
        name: where it stands.
        one: of the first run.
        other: of the second.
    """

    name: Named
    one: Spread
    other: Spread

    @property
    def words(self) -> str:
        """What it is, in words where there are some."""
        if not self.name.is_lab:
            return f"{self.name.what}: {self.name.heading}"
        metric = METRICS.get(self.name.key)
        return f"{mode_words(self.name.what)}: {metric.words if metric else self.name.key.replace('_', ' ')}"

    @property
    def spec(self) -> str:
        """How its numbers are written."""
        metric = METRICS.get(self.name.key) if self.name.is_lab else None
        return metric.spec if metric else ".4g"

    @property
    def is_compared(self) -> bool:
        """Whether modes are compared by it: all else of the lab is only shown, and of other benches nothing is."""
        return not self.name.is_lab or self.name.key in METRICS

    @property
    def agrees(self) -> bool:
        """Whether neither is better than the other."""
        return self.one.agrees(self.other)

    @property
    def apart(self) -> float:
        """How far the medians are from each other, as a share of the larger one."""
        most = max(abs(self.one.median), abs(self.other.median))
        return abs(self.one.median - self.other.median) / most if most else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs have in common.

    Args:
        pairs: all figures that both have.
        alone: how many figures only one of them has.
        failed: steps that failed in either.
        unlike: in what the runs differ beside their figures, such as the code that was measured.
    """

    pairs: Sequence[Pair]
    alone: int
    failed: Sequence[str]
    unlike: Sequence[str]

    @property
    def compared(self) -> Sequence[Pair]:
        """Those by which modes are compared."""
        return [pair for pair in self.pairs if pair.is_compared]

    @property
    def differing(self) -> Sequence[Pair]:
        """Those that do not agree: what modes of the lab are compared by first, and of that the widest apart."""
        found = [pair for pair in self.pairs if not pair.agrees]
        return sorted(found, key=lambda pair: (not pair.is_compared, not pair.name.is_lab, -pair.apart))

    @property
    def sentences(self) -> Sequence[str]:
        """How many agree, and what was left out."""
        if not self.pairs:
            return ["The two runs have no figure in common."]
        rest = [pair for pair in self.pairs if not pair.is_compared]
        said = f"{_agree(self.compared)} figures that the page compares agree"
        found = [f"{said}, and {_agree(rest)} others." if rest else f"{said}."]
        if self.differing:
            counts = Counter(pair.name.file for pair in self.pairs)
            apart = Counter(pair.name.file for pair in self.differing).most_common(_FILES_NAMED)
            named = ", ".join(f"{file} ({count} of {counts[file]})" for file, count in apart)
            found.append(f"Those that do not are above all of {named}.")
        if once := sum(min(len(pair.one.values), len(pair.other.values)) < 2 for pair in self.pairs):
            found.append(f"{once} were measured once in a run, so that no spread is known: there a quarter is allowed.")
        if self.alone:
            found.append(f"{self.alone} are only in one run.")
        if self.unlike:
            found.append(f"The runs are of different {', '.join(self.unlike)}.")
        if self.failed:
            found.append(f"Steps that failed in one run or both: {', '.join(self.failed)}.")
        return found

    def show(self, console: Console) -> None:
        """Print it."""
        for sentence in self.sentences:
            console.print(sentence, markup=False, highlight=False)
        if not self.differing:
            return
        console.print("These do not, those of the lab first, the widest apart first:", style="bold")
        rows = [
            {
                "file": pair.name.file,
                "what": pair.words,
                "one": pair.one.shown(pair.spec),
                "other": pair.other.shown(pair.spec),
                "apart": f"{100 * pair.apart:.0f} %",
            }
            for pair in self.differing
        ]
        headings = {"file": "file", "what": "figure", "one": "first", "other": "second", "apart": "apart"}
        table = Table("", headings, {}, rows).render()
        for column in table.columns:
            column.no_wrap, column.overflow = False, "fold"
        console.print(table)

    def plain(self) -> Any:
        """All of it, for JSON."""
        return {
            "figures": len(self.pairs),
            "agreed": sum(pair.agrees for pair in self.pairs),
            "only_in_one": self.alone,
            "failed": self.failed,
            "unlike": self.unlike,
            "differing": [
                {
                    "file": pair.name.file,
                    "what": pair.name.what,
                    "figure": pair.name.key,
                    "words": pair.words,
                    "compared": pair.is_compared,
                    "apart_share": pair.apart,
                    "first": pair.one.plain(),
                    "second": pair.other.plain(),
                }
                for pair in self.differing
            ],
        }


def compare(one: Mapping[str, Result], other: Mapping[str, Result]) -> Comparison:
    """Two runs, by the names of their files. Files of one name with other settings have nothing in common."""
    first, second = _figures(one), _figures(other)
    pairs = [
        Pair(named, named.found, second[key].found)
        for key, named in first.items()
        if key in second and same(one[named.file], other[named.file])
    ]
    files = dict.fromkeys(pair.name.file for pair in pairs)
    unlikes = dict.fromkeys(what for file in files if (what := unlike(one[file], other[file])) is not None)
    alone = len(first) + len(second) - 2 * len(pairs)
    return Comparison(pairs, alone, sorted({*failed(one), *failed(other)}), list(unlikes))


def compare_folders(one: Path, other: Path) -> Comparison:
    """Two runs, by their folders.

    Raises:
        BenchError: one of them has no results, or a file is none.
    """
    return compare(read_folder(one), read_folder(other))


def _figures(results: Mapping[str, Result]) -> Mapping[tuple[str, str, str], Named]:
    return {(named.file, named.what, named.key): named for named in Figures(results).named()}


def _agree(pairs: Sequence[Pair]) -> str:
    return f"{sum(pair.agrees for pair in pairs)} of {len(pairs)}"
