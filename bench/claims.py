"""What README claims against others: each sentence, and the figures and rules that decide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from .page.figures import Figures, Spread
from .page.words import METRICS, mode_words
from .report import OURS


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure that bears on a claim.

    Args:
        what: it is.
        found: the figure with its range, in words.
        allowed: what it has to be, in words.
        holds: whether it is.
    """

    what: str
    found: str
    allowed: str
    holds: bool


Rule = Callable[[Figures], Sequence[Finding]]


class Verdict(Enum):
    """Of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim.

    Args:
        id: a short name that stays.
        sentence: as README has it.
        rules: all of them must hold, each wherever it was measured.
    """

    id: str
    sentence: str
    rules: Sequence[Rule]

    def findings(self, figures: Figures) -> list[Finding]:
        """All figures that bear on it."""
        return [finding for rule in self.rules for finding in rule(figures)]

    def verdict(self, figures: Figures) -> Verdict:
        """It fails by one figure; it holds when every rule has one and none fails."""
        found = [rule(figures) for rule in self.rules]
        if any(not finding.holds for findings in found for finding in findings):
            return Verdict.FAILS
        return Verdict.HOLDS if all(found) else Verdict.UNKNOWN


def lab_at_most(scenario: str, key: str, limit: float, *, mode: str = OURS, **settings: Any) -> Rule:
    """In every trial of a scenario with these settings, the median of a mode is at most so much."""

    def rule(figures: Figures) -> list[Finding]:
        return [
            Finding(
                f"{scenario}, {trial.where}, {mode_words(mode)}: {METRICS[key].words}",
                found.shown(METRICS[key].spec),
                f"at most {limit:g}",
                found.median <= limit,
            )
            for trial in figures.lab(scenario, **settings)
            if (found := trial.get(mode, key)) is not None
        ]

    return rule


def lab_per_node(scenario: str, key: str, *, mode: str, least: float, **settings: Any) -> Rule:
    """In every trial of a scenario, the median of a mode is at least so much for each node."""

    def rule(figures: Figures) -> list[Finding]:
        return [
            Finding(
                f"{scenario}, {trial.where}, {mode_words(mode)}: {METRICS[key].words}",
                found.shown(METRICS[key].spec),
                f"at least {least * trial.nodes:g}",
                found.median >= least * trial.nodes,
            )
            for trial in figures.lab(scenario, **settings)
            if (found := trial.get(mode, key)) is not None
        ]

    return rule


def cell(
    bench: str, table: str, key: str, *, least: float | None = None, most: float | None = None, **row: str | float
) -> Rule:
    """In every such table, the median of this column is within bounds in the row that has these cells."""
    lower, upper = (-float("inf") if least is None else least), (float("inf") if most is None else most)
    allowed = " and ".join([f"at least {least:g}"] * (least is not None) + [f"at most {most:g}"] * (most is not None))

    def rule(figures: Figures) -> list[Finding]:
        where = ", ".join(f"{value}" for value in row.values())
        return [
            _finding(f"{bench}: {table}: {where}: {key}", found, allowed, lower, upper)
            for found in figures.cells(bench, table, key, **row)
        ]

    return rule


def _finding(what: str, found: Spread, allowed: str, lower: float, upper: float) -> Finding:
    return Finding(what, found.shown(".3g"), allowed, lower <= found.median <= upper)


CLAIMS: Final[Sequence[Claim]] = ()
"""In the order of README."""
