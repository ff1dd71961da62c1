"""All that the page shows, put together from the files of one run, or of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..claims import CLAIMS, Claim, Verdict
from ..report import OURS
from ..versions import COMMIT
from .charts import draw
from .compare import Comparison, compare
from .contest import ASKED_NODES, Answer, Outcome, Standing, Tally, answers, standings, tallies
from .figures import Figures
from .plots import Plot
from .pool import pooled
from .results import Goal, Result
from .words import DHT, EXACT, SPEGEL


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown.

    Args:
        results: by the name of their files.
        figures: all of them.
        answers: the questions that were measured.
        tallies: gossip beside each other mode, in those questions.
        standings: gossip beside each other mode, in everything.
        plots: of all that can be drawn.
        agreement: of the two runs of which all this is, if there are two.
    """

    results: Mapping[str, Result]
    figures: Figures
    answers: Sequence[Answer]
    tallies: Sequence[Tally]
    standings: Sequence[Standing]
    plots: Sequence[Plot]
    agreement: Comparison | None = None

    @classmethod
    def of(cls, results: Mapping[str, Result], again: Mapping[str, Result] | None = None) -> "Page":
        """Put it together.

        Args:
            results: of a run.
            again: of another; the page is then of the samples of both.

        Raises:
            BenchError: the two are not of the same machine, code and settings.
        """
        agreement = None if again is None else compare(results, again)
        results = results if again is None else pooled(results, again)
        figures = Figures(results)
        answered, beside = answers(figures), tallies(figures)
        return cls(
            results,
            figures,
            answered,
            beside,
            standings(figures),
            draw(figures, results, answered, beside),
            agreement,
        )

    @property
    def first(self) -> Tally | None:
        """Gossip beside the DHT on the same data plane, or else beside the one that people would run."""
        return next((tally for name in (DHT, SPEGEL) for tally in self.tallies if tally.rival == name), None)

    @property
    def nodes(self) -> Sequence[int]:
        """The sizes of cluster for which the first screen answers."""
        return sorted({answer.trial.nodes for answer, _ in (self.first.answers if self.first else ())})

    @property
    def single(self) -> bool:
        """Whether something that is compared was measured only once."""
        return any(duel.single for tally in self.tallies for _, duel in tally.answers)

    @property
    def is_nearest(self) -> bool:
        """Whether another size than the one that is asked for has to do."""
        return any(size != ASKED_NODES for size in self.nodes)

    @property
    def failed(self) -> Mapping[str, str]:
        """Steps that failed, with what they said."""
        return {
            name: result.step.error
            for name, result in self.results.items()
            if result.step is not None and result.step.error is not None
        }

    @property
    def missed(self) -> Sequence[tuple[str, Goal]]:
        """Goals of the benches that were missed, by file."""
        return [(name, goal) for name, goal in self._goals if not goal.reached]

    @property
    def reached(self) -> int:
        """How many goals were reached."""
        return sum(goal.reached for _, goal in self._goals)

    @property
    def _goals(self) -> Sequence[tuple[str, Goal]]:
        """Those of all steps that did not fail, by file."""
        return [(name, goal) for name, it in self.results.items() if name not in self.failed for goal in it.goals]

    @property
    def claims(self) -> Sequence[tuple[Claim, Verdict]]:
        """Each claim of README with what the figures say of it."""
        return [(claim, claim.verdict(self.figures)) for claim in CLAIMS]

    def why(self, claim: Claim, verdict: Verdict) -> str:
        """Why nothing was measured of a claim, where the size of the suite is why; else empty."""
        return ": `--long` alone does" if claim.long and verdict is Verdict.UNKNOWN else ""

    @property
    def has_variant(self) -> bool:
        """Whether the exact directory was measured beside gossip."""
        return any(it.rival == EXACT for it in self.standings)

    @property
    def machines(self) -> Sequence[Mapping[str, Any]]:
        """The machines on which this was measured; one, unless files were carried here."""
        return _distinct(result.machine for result in self.results.values() if result.machine)

    @property
    def versions(self) -> Sequence[Mapping[str, Any]]:
        """The versions that were measured; one set, unless something that is measured changed in between."""
        every = [result.versions for result in self.results.values() if result.versions]
        kept = _distinct({name: it for name, it in found.items() if name not in _SOME} for found in every)
        if len(kept) != 1:
            return kept
        some = {name: dict.fromkeys(found[name] for found in every if name in found) for name in _SOME}
        joined = {name: ", ".join(sorted(found)) for name, found in some.items() if found}
        first = {name: it for name, it in ((OURS, kept[0].get(OURS)), (COMMIT, joined.get(COMMIT))) if it is not None}
        return [{**first, **kept[0], **joined}]

    @property
    def dates(self) -> Sequence[str]:
        """The first and the last day, by UTC."""
        times = [it.written_unix_s for it in self.results.values() if it.written_unix_s is not None]
        return sorted({f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in times if 0 <= at < _YEAR_9999_UNIX_S})

    @property
    def took_s(self) -> float:
        """How long all steps took together, seconds."""
        return sum(result.step.took_s for result in self.results.values() if result.step is not None)

    def standing(self, outcome: Outcome, *, variant: bool = False) -> Sequence[Standing]:
        """Where something came out so at least once; beside the exact directory (a variant), or beside others."""
        return [it for it in self.standings if it.of(outcome) and (it.rival == EXACT) is variant]

    def plain(self) -> Any:
        """All of it, for JSON."""
        return {
            "answers": [
                {
                    "question": answer.question.words,
                    "scenario": answer.trial.scenario,
                    "file": answer.trial.name,
                    "figure": answer.question.key,
                    "modes": {mode: it.plain() for mode in answer.trial.modes if (it := answer.get(mode)) is not None},
                    "best": answer.best,
                }
                for answer in self.answers
            ],
            "choices": [
                {"rival": it.rival, "headline": it.headline, "choice": it.choice.value if it.choice else None}
                for it in self.tallies
            ],
            "duels": [
                {
                    "scenario": standing.scenario,
                    "file": each.trial.name,
                    "figure": standing.metric.words,
                    "rival": each.rival,
                    OURS: each.ours.values,
                    "theirs": each.theirs.values,
                    "open": [side for side, it in ((OURS, each.ours), ("theirs", each.theirs)) if it.is_open],
                    "outcome": each.outcome.value,
                }
                for standing in self.standings
                for each in standing.duels
            ],
            "claims": [
                {
                    "id": claim.id,
                    "sentence": claim.sentence,
                    "verdict": verdict.value,
                    "findings": claim.findings(self.figures),
                }
                for claim, verdict in self.claims
            ],
            "agreement": self.agreement.plain() if self.agreement else None,
            "failed": self.failed,
            "results": self.results,
        }

    def as_json(self) -> bytes:
        """The same, written out."""
        return msgspec.json.format(msgspec.json.encode(self.plain()), indent=1) + b"\n"


_SOME = ("containerd", "spegel", COMMIT)
"""What may be another one in some files: programs that a flag names, and that other steps do not use; and the commit,
which changes with what is not measured."""

_YEAR_9999_UNIX_S = 253_370_764_800


def _distinct(found: Any) -> Sequence[Mapping[str, Any]]:
    distinct: list[Mapping[str, Any]] = []
    for each in found:
        if each not in distinct:
            distinct.append(each)
    return distinct
