"""Two runs of the same steps as one: all samples of both, so that the spread is that of both."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ..report import BenchError
from ..versions import COMMIT
from .figures import COUNTED, labels
from .results import Cell, Figure, Goal, Result, Run, Sheet, numbers, said

_OWN: Final = ("repeats", "modes", "folder", "keep_logs", "spegel", "spegel_containerd")
"""Settings that do not decide what is measured in a mode."""

_CODE: Final = "code"
_NUMBER: Final = re.compile(r"\d+")


def pooled(one: Mapping[str, Result], other: Mapping[str, Result]) -> Mapping[str, Result]:
    """All files of two runs; of those that both have, the samples of both. What failed in one is taken of the other.

    Raises:
        BenchError: the runs are of different machines or code, or files of one name have different settings.
    """
    found = dict(one)
    for name, result in other.items():
        mine = found.get(name)
        if mine is None or name in failed(one):
            found[name] = result
        elif name not in failed(other):
            _check(name, mine, result)
            found[name] = _both(mine, result)
    return found


def failed(results: Mapping[str, Result]) -> Sequence[str]:
    """The steps that failed."""
    return [name for name, it in results.items() if it.step is not None and it.step.error is not None]


def same(one: Result, other: Result) -> bool:
    """Whether two files are of the same bench under the same settings, however often it was run."""
    return one.bench == other.bench and _settings(one) == _settings(other)


def unlike(one: Result, other: Result) -> str | None:
    """In what two files of one bench differ beside their figures, so that these tell of it; None if in nothing."""
    if (code := one.versions.get(_CODE)) != (again := other.versions.get(_CODE)):
        return f"code ({code} and {again})"
    if one.machine != other.machine:
        return "machines"
    both = [name for name in one.versions if name in other.versions and name != COMMIT]
    apart = [
        f"{name} {one.versions[name]} and {other.versions[name]}"
        for name in both
        if one.versions[name] != other.versions[name]
    ]
    return f"versions ({', '.join(apart)})" if apart else None


def _settings(result: Result) -> Mapping[str, object]:
    return {key: value for key, value in result.settings.items() if key not in _OWN}


def _check(name: str, one: Result, other: Result) -> None:
    what = unlike(one, other) if same(one, other) else "settings"
    if what is not None:
        raise BenchError(
            f"{name} is of different {what} in the two folders, so its samples make no page together: "
            "python -m bench compare says how far the folders differ"
        )


def _both(one: Result, other: Result) -> Result:
    repeats = 1 + max((run.repeat for run in one.runs), default=-1)
    again = [Run(run.mode, run.repeat + repeats, run.figures) for run in other.runs]
    step = one.step
    if step is not None and other.step is not None:
        step = msgspec.structs.replace(step, took_s=step.took_s + other.step.took_s)
    return msgspec.structs.replace(
        one,
        tables=_tables(one.tables, other.tables),
        goals=_goals(one.goals, other.goals),
        written_unix_s=max((it.written_unix_s for it in (one, other) if it.written_unix_s is not None), default=None),
        versions={**other.versions, **one.versions, **_commits(one.versions, other.versions)},
        runs=[*one.runs, *again],
        step=step,
    )


def _commits(one: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    """Of one code there may be several, which differ in what is not measured."""
    found = dict.fromkeys(versions[COMMIT] for versions in (one, other) if COMMIT in versions)
    return {COMMIT: ", ".join(found)} if found else {}


def _tables(one: Sequence[Sheet], other: Sequence[Sheet]) -> list[Sheet]:
    """Tables of one title together, row by row; one that the other does not have so stays as it is."""
    rest = {COUNTED.sub("", sheet.name): sheet for sheet in other}
    found = []
    for sheet in one:
        second = rest.pop(COUNTED.sub("", sheet.name), None)
        if second is None:
            found.append(sheet)
        elif labels(sheet) != labels(second):
            found += [sheet, second]
        else:
            rows = [_row(sheet, *both) for both in zip(sheet.rows, second.rows, strict=True)]
            found.append(msgspec.structs.replace(sheet, title=_counted(sheet.title, second.title), rows=rows))
    return [*found, *rest.values()]


def _counted(one: str, other: str) -> str:
    """A title, with the rounds of both."""
    mine, theirs = COUNTED.search(one), COUNTED.search(other)
    if mine is None or theirs is None:
        return one
    total = sum(int(number[0]) for it in (mine, theirs) if (number := _NUMBER.search(it[0])))
    return one[: mine.start()] + _NUMBER.sub(f"{total}", mine[0], count=1) + one[mine.end() :]


def _row(sheet: Sheet, one: Mapping[str, Cell], other: Mapping[str, Cell]) -> dict[str, Cell]:
    return {key: _cell(one.get(key), other.get(key), sheet.spec(key)) for key in {**one, **other}}


def _cell(one: Cell, other: Cell, spec: str) -> Cell:
    """The samples of both; what is equal stays as it is, and a text and something else stand beside each other."""
    if one == other:
        return one
    if isinstance(one, str) or isinstance(other, str):
        return "; ".join(said(cell, spec) for cell in (one, other) if cell is not None)
    samples = [*_samples(one), *_samples(other)]
    return Figure(_median(samples), samples) if samples else None


def _samples(cell: Figure | float | None) -> list[float | None]:
    if isinstance(cell, Figure):
        return cell.samples
    return [] if cell is None else [cell]


def _median(samples: Sequence[float | None]) -> float | None:
    """None among them stands for what was infinite."""
    found = statistics.median([math.inf if value is None else value for value in samples])
    return found if math.isfinite(found) else None


def _goals(one: Sequence[Goal], other: Sequence[Goal]) -> list[Goal]:
    """Of each goal the worse of both: it is reached when it is in each run."""
    rest = {goal.what: goal for goal in other}
    found = [_worse(goal, rest.pop(goal.what, goal)) for goal in one]
    return [*found, *rest.values()]


def _worse(one: Goal, other: Goal) -> Goal:
    if one.reached != other.reached:
        return other if one.reached else one
    found = numbers([one.found, other.found])
    if len(found) < 2:
        return one if one.found is None else other
    return one if (found[0] > found[1]) is one.most else other
