"""Do two folders agree? Every figure that was measured in both, by the spread that the report states."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..report import Table
from .figures import Figures, Spread
from .results import read_folder


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of one folder, and the same of another."""

    file: str
    what: str
    one: Spread
    other: Spread


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two folders have in common.

    Args:
        agreed: figures whose medians differ by no more than both ranges together.
        differing: those that differ by more.
        unjudged: those that were measured once in either folder, so that no spread is known.
        alone: figures that only one of them has.
    """

    agreed: list[Pair]
    differing: list[Pair]
    unjudged: list[Pair]
    alone: int

    def show(self, console: Console) -> None:
        """Print it."""
        judged = len(self.agreed) + len(self.differing)
        console.print(
            f"{len(self.agreed)} of {judged} figures agree: medians differ by no more than both ranges together"
        )
        console.print(
            f"{len(self.unjudged)} were measured once in one folder and are not judged; {self.alone} are only in one"
        )
        if self.differing:
            console.print("These differ by more:", style="bold")
            rows = [
                {"file": it.file, "what": it.what, "one": it.one.shown(".4g"), "other": it.other.shown(".4g")}
                for it in self.differing
            ]
            headings = {"file": "file", "what": "figure", "one": "first", "other": "second"}
            table = Table("", headings, {}, rows).render()
            for column in table.columns:
                column.no_wrap, column.overflow = False, "fold"
            console.print(table)


def compare(one: Path, other: Path) -> Comparison:
    """Read both.

    Raises:
        BenchError: one of them has no results, or a file is none.
    """
    first, second = (_named(Figures(read_folder(folder))) for folder in (one, other))
    pairs = [
        Pair(file, what, found, second[file, what]) for (file, what), found in first.items() if (file, what) in second
    ]
    unjudged = [pair for pair in pairs if min(len(pair.one.values), len(pair.other.values)) < 2]
    judged = [pair for pair in pairs if pair not in unjudged]
    return Comparison(
        [pair for pair in judged if pair.one.agrees(pair.other)],
        [pair for pair in judged if not pair.one.agrees(pair.other)],
        unjudged,
        len(first) + len(second) - 2 * len(pairs),
    )


def _named(figures: Figures) -> Mapping[tuple[str, str], Spread]:
    return {(file, what): found for file, what, found in figures.named()}
