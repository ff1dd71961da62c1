"""Which mode is better at what, and whether to use gossip or something else: counted, not judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..report import OURS
from .figures import Figures, Spread, Trial
from .words import IN_PYTHON, METRICS, QUESTIONS, UNSHARED, Metric, Question, named, ordered

ASKED_NODES: Final = 5
"""The size of cluster that the first screen answers for."""


_TIMES_SHOWN: Final = 1000
"""From where on nobody says how many times a figure another one is."""


class Outcome(Enum):
    """How ours compares with another in one figure."""

    BETTER = "better"
    WORSE = "worse"
    EVEN = "even"


@dataclass(frozen=True, slots=True)
class Duel:
    """Ours beside another in one figure of one trial.

    Args:
        trial: where it was measured.
        key: of the figure.
        rival: the mode beside ours.
        ours: our figure.
        theirs: the other's.
    """

    trial: Trial
    key: str
    rival: str
    ours: Spread
    theirs: Spread

    @property
    def metric(self) -> Metric:
        """What the figure is."""
        return METRICS[self.key]

    @property
    def counts(self) -> bool:
        """Whether it tells of a DHT, and not of the library in Python that one of ours is made of."""
        return not (self.metric.of_library and self.rival in IN_PYTHON)

    @property
    def outcome(self) -> Outcome:
        """Whose worst run is better than the other's best one, by enough to matter."""
        if self.metric.is_better(self.ours, self.theirs):
            return Outcome.BETTER
        return Outcome.WORSE if self.metric.is_better(self.theirs, self.ours) else Outcome.EVEN

    @property
    def times(self) -> float | None:
        """How many times the better figure the worse one is; None where one is nothing."""
        small, large = sorted((self.ours.median, self.theirs.median))
        return large / small if small > 0 else None

    @property
    def apart(self) -> str:
        """The same in words, "more than" where the worse one is a bound; empty where nothing is to be said."""
        if self.times is None or self.times >= _TIMES_SHOWN or self.outcome is Outcome.EVEN:
            return ""
        is_bound = self.ours.is_bound or self.theirs.is_bound
        return f"{'more than ' * is_bound}{self.times:.3g} times as much"

    @property
    def remarks(self) -> Sequence[str]:
        """What else is to be known of the two: pulls that failed, and whether it was one run only."""
        failed = {
            "gossip": self.trial.remark(OURS, self.key),
            named(self.rival): self.trial.remark(self.rival, self.key),
        }
        found = [f"{words} with {who}" for who, words in failed.items() if words]
        return [*found, *["one run"] * self.single]

    @property
    def single(self) -> bool:
        """Whether one of them was measured only once, so that nothing is known of its spread."""
        return min(len(self.ours.values), len(self.theirs.values)) < 2


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with what was measured for it."""

    question: Question
    trial: Trial

    def get(self, mode: str) -> Spread | None:
        """A mode's figure."""
        return self.trial.get(mode, self.question.key)

    def remark(self, mode: str) -> str:
        """How many pulls failed, where the figure is a time of pulls; empty if none did."""
        return self.trial.remark(mode, self.question.key)

    @property
    def best(self) -> list[str]:
        """The modes that no other is better than, if there is one that is worse."""
        modes = (mode for mode in self.trial.modes if mode != UNSHARED)
        found = {mode: figure for mode in modes if (figure := self.get(mode)) is not None}
        better = self.question.metric.is_better
        best = [mode for mode, figure in found.items() if not any(better(it, figure) for it in found.values())]
        return best if len(best) < len(found) else []


@dataclass(frozen=True, slots=True)
class Tally:
    """Ours beside one other, question by question.

    Args:
        rival: the other mode.
        answers: the questions for which both were measured, with the duel.
    """

    rival: str
    answers: Sequence[tuple[Answer, Duel]]

    def of(self, outcome: Outcome, *, felt: bool) -> list[tuple[Answer, Duel]]:
        """The answers that count and came out so, in the order of the questions."""
        return [
            (answer, duel)
            for answer, duel in self.answers
            if duel.counts and duel.outcome is outcome and answer.question.felt is felt
        ]

    @property
    def uncounted(self) -> list[tuple[Answer, Duel]]:
        """The answers that tell of the library in Python, and count for nobody."""
        return [(answer, duel) for answer, duel in self.answers if not duel.counts]

    @property
    def choice(self) -> Outcome | None:
        """Which of both answers more of what is felt better; None if nothing that is felt was measured."""
        if not any(answer.question.felt and duel.counts for answer, duel in self.answers):
            return None
        won, lost = (len(self.of(outcome, felt=True)) for outcome in (Outcome.BETTER, Outcome.WORSE))
        if won == lost:
            return Outcome.EVEN
        return Outcome.BETTER if won > lost else Outcome.WORSE

    @property
    def headline(self) -> str:
        """The choice in words."""
        other = named(self.rival)
        match self.choice:
            case Outcome.BETTER:
                return f"Use gossip rather than {other}"
            case Outcome.WORSE:
                return f"Use {other} rather than gossip"
            case Outcome.EVEN:
                return f"Gossip or {other}: what was measured does not decide"
            case None:
                return f"Gossip or {other}: nothing was measured that decides"

    @property
    def winner(self) -> str:
        """Who is better in more of what is felt, in words."""
        match self.choice:
            case Outcome.BETTER:
                return "gossip"
            case Outcome.WORSE:
                return named(self.rival)
            case _:
                return "neither"


@dataclass(frozen=True, slots=True)
class Standing:
    """Ours beside another in one figure of one scenario, under all settings that were measured."""

    scenario: str
    duels: Sequence[Duel]

    @property
    def metric(self) -> Metric:
        """What the figure is."""
        return self.duels[0].metric

    @property
    def rival(self) -> str:
        """The other mode."""
        return self.duels[0].rival

    def of(self, outcome: Outcome) -> list[Duel]:
        """The duels that came out so, the clearest first."""
        found = [duel for duel in self.duels if duel.outcome is outcome]
        return sorted(found, key=lambda duel: -(duel.times or float("inf")))


def duel(trial: Trial, key: str, rival: str) -> Duel | None:
    """Ours beside another in one figure, if both were measured."""
    ours, theirs = trial.get(OURS, key), trial.get(rival, key)
    return Duel(trial, key, rival, ours, theirs) if ours is not None and theirs is not None else None


def duels(figures: Figures) -> Iterator[Duel]:
    """Ours beside every other in every figure that can be compared."""
    for trial in figures.trials:
        for rival in _rivals(trial.modes):
            for key in METRICS:
                if (found := duel(trial, key, rival)) is not None:
                    yield found


def standings(figures: Figures) -> list[Standing]:
    """The same, put together by rival, scenario and figure."""
    found: dict[tuple[str, str, str], list[Duel]] = {}
    for each in duels(figures):
        found.setdefault((each.trial.scenario, each.metric.words, each.rival), []).append(each)
    every = [Standing(scenario, group) for (scenario, _, _), group in found.items()]
    place = {rival: number for number, rival in enumerate(ordered(dict.fromkeys(it.rival for it in every)))}
    return sorted(every, key=lambda it: place[it.rival])


def answers(figures: Figures) -> list[Answer]:
    """The questions that were measured, each at the nearest size to what is asked for that has modes to compare."""
    found, link = [], figures.usual_link
    for question in QUESTIONS:
        trials = [
            it for it in figures.lab(question.scenario) if any(question.key in mode for mode in it.modes.values())
        ]
        if trials:
            found.append(Answer(question, min(trials, key=lambda trial: _distance(trial, question.key, link))))
    return found


def tallies(figures: Figures) -> list[Tally]:
    """Ours beside each other mode, in the questions that were measured for both, at the nearest size of those."""
    found = []
    for rival in _rivals(dict.fromkeys(figures.modes)):
        pairs = [pair for question in QUESTIONS if (pair := _compared(figures, question, rival)) is not None]
        if pairs:
            found.append(Tally(rival, pairs))
    return found


def _rivals(modes: Mapping[str, object]) -> list[str]:
    """Those of some modes that ours is compared with, in order."""
    return [mode for mode in ordered(modes) if mode not in (OURS, UNSHARED)]


def _compared(figures: Figures, question: Question, rival: str) -> tuple[Answer, Duel] | None:
    both = [(trial, it) for trial in figures.lab(question.scenario) if (it := duel(trial, question.key, rival))]
    if not both:
        return None
    link = figures.usual_link
    trial, found = min(both, key=lambda pair: _distance(pair[0], question.key, link))
    return Answer(question, trial), found


def _distance(trial: Trial, key: str, link: int | None) -> tuple[bool, int, bool, int, int, str]:
    """Something to compare, the nearest size, the link of most trials, most modes, and the largest image.

    The start of a pull blurs a large image least.
    """
    modes = sum(key in figures for figures in trial.modes.values())
    other_link = trial.number("link") != link
    return modes < 2, abs(trial.nodes - ASKED_NODES), other_link, -modes, -trial.image_bytes, trial.name
