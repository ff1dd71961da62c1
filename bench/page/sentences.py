"""The sentences of the answer: why it is so, how often it is so, and how to read its figures; all of them computed."""

from collections.abc import Sequence
from typing import Final

from ..report import OURS
from .contest import Answer, Outcome, Tally
from .figures import Figures, Spread, Trial
from .results import shown
from .words import IN_PYTHON, OF_LIBRARY, SCENARIOS, SPEGEL, TIMES, named

_PULL: Final = ("fanout", "ratio")
"""Scenario and figure of the question that the answer begins with."""

_ONCE: Final = (0.95, 1.05)
"""Between which numbers of images the registry is said to have sent it once."""

_SHARED_MOST: Final = 1.5
"""Up to how many images the registry sends where nodes share one download."""

OF_GOALS: Final = (
    "R is the time in times of one download, which is the ideal time. U is what the registry (upstream) sends, "
    "in times of the image. x nginx is how many times as fast as nginx an agent is. The loop lag is how late "
    "an agent comes to what it has to do"
)
"""What the words of goals mean."""

OF_TABLES: Final = (
    "p50 is the time within which half of all have an answer, and p99 the time within which 99 of 100 have "
    "one. lan and fast are two sets of gossip's timings. The wave is a minute in which every node pulls an "
    "image. Rows by nodes are of real nodes in a simulation, those by model are computed"
)
"""What the words of tables mean."""


def reasons(tally: Tally) -> Sequence[str]:
    """Why it is so: what happens when all pull at once, with gossip and with the other; empty if not measured."""
    trial = next((it.trial for it, _ in tally.answers if (it.trial.scenario, it.question.key) == _PULL), None)
    if trial is None:
        return []
    ours, theirs = _sent(trial, OURS), _sent(trial, tally.rival)
    shares = ours is not None and ours.median <= _SHARED_MOST
    alone = theirs is not None and theirs.median > _SHARED_MOST
    with_gossip = " all nodes know each other, so they share one download:" if shares else ""
    with_other = " nobody knows who else pulls:" if alone else ""
    found = [
        f"With gossip{with_gossip} {_pull(trial, OURS, ours)}.",
        f"With {named(tally.rival)}{with_other} {_pull(trial, tally.rival, theirs)}.",
    ]
    if ours is not None and theirs is not None and not (shares and alone):
        found.append(
            f"Nodes that know each other are to share one download, and the nodes of {named(tally.rival)} are not: "
            "these figures do not show that."
        )
    return found


def counts(tally: Tally, *, felt: bool) -> str:
    """How often each is better, the winner first; empty where nothing counts."""
    better, worse, even = (len(tally.of(it, felt=felt)) for it in (Outcome.BETTER, Outcome.WORSE, Outcome.EVEN))
    if not (total := better + worse + even):
        return ""
    what = f"question{'s' * (total != 1)} that users feel" if felt else f"cost{'s' * (total != 1)} that can be compared"
    who = "gossip"
    if worse > better:
        who, better, worse = named(tally.rival), worse, better
    return f"Of {total} {what}, {who} is better in {better}, worse in {worse}, even in {even}."


def caveats(tally: Tally, tallies: Sequence[Tally]) -> Sequence[str]:
    """What does not count, and what the DHT in Go says of that."""
    if tally.rival not in IN_PYTHON or not tally.uncounted:
        return []
    came_out = [duel.outcome for _, duel in tally.uncounted]
    better, worse = (came_out.count(it) for it in (Outcome.BETTER, Outcome.WORSE))
    found = [
        f"{OF_LIBRARY}: {_figures(len(came_out))} not count here, of which {better} would be better with gossip, and "
        f"{worse} worse."
    ]
    spegel = next((it for it in tallies if it.rival == SPEGEL), None)
    if spegel is not None and (every := sum(not answer.question.felt for answer, _ in spegel.answers)):
        less, more = (len(spegel.of(it, felt=False)) for it in (Outcome.WORSE, Outcome.BETTER))
        found.append(
            f"Spegel, whose DHT is in Go, costs less than gossip in {less} of {every} costs"
            f"{f', and more in {more}' if more else ''}."
        )
    return found


def guide(figures: Figures, answers: Sequence[Answer]) -> Sequence[tuple[str, str]]:
    """How to read the figures: what is to be read, and what it means."""
    pull = next((it for it in answers if (it.trial.scenario, it.question.key) == _PULL), None)
    mine = pull.get(OURS) if pull is not None else None
    found = [] if pull is None or mine is None else [_download(pull.trial, mine)]
    found += [
        (
            f"1.00 {TIMES} of the image (U)",
            "the registry sends as many bytes as the image has. Where nodes share nothing, it sends the image to each",
        ),
        _range(figures.repeats),
        ("> 15 s", "more than 15 s: it still went on when the bench stopped looking, or pulls failed"),
        ("10MB-4", "an image of 10 MiB in 4 layers; the names are those of Spegel's benchmark"),
        (
            "pulled by containerd",
            "containerd pulls, as in a cluster. Otherwise the client is the bench's own, which asks for the same",
        ),
        ("mirror", "what the runtime of a node asks before the registry: an agent of Skvaller, a Spegel, or a cache"),
        (
            "home",
            "with gossip, the node that fetches a piece of the image from the registry and sends it to all others",
        ),
    ]
    return found


def scenarios(figures: Figures) -> Sequence[tuple[str, str]]:
    """The scenarios that were measured, with what happens in each."""
    known = dict.fromkeys(trial.scenario for trial in figures.trials if trial.modes)
    return [(name, words) for name, words in SCENARIOS.items() if name in known]


def _sent(trial: Trial, mode: str) -> Spread | None:
    return trial.get(mode, "upstream")


def _pull(trial: Trial, mode: str, sent: Spread | None) -> str:
    """What the registry sends, and when the last node is done."""
    parts = [] if sent is None else [f"the registry sends the image {_times(sent)}"]
    if (ratio := trial.get(mode, "ratio")) is not None:
        remark = f" ({words})" if (words := trial.remark(mode, "ratio")) else ""
        more = "more than " * ratio.is_bound
        parts.append(
            f"the last of {trial.nodes} nodes has it after {more}{shown(ratio.median, '.2f')} times the time of one "
            f"download{remark}"
        )
    return ", and ".join(parts)


def _times(sent: Spread) -> str:
    low, high = _ONCE
    return "once" if low <= sent.median <= high else f"{shown(sent.median, '.2f')} times"


def _figures(number: int) -> str:
    return "1 figure does" if number == 1 else f"{number} figures do"


def _download(trial: Trial, ratio: Spread) -> tuple[str, str]:
    """The first figure of all, and what it says."""
    percent = round(100 * (ratio.median - 1))
    far = "as long as" if percent == 0 else f"{abs(percent)} % {'longer' if percent > 0 else 'shorter'} than"
    ideal, link = trial.get(OURS, "ideal_s"), trial.number("link")
    parts = [] if ideal is None else [f"{shown(ideal.median, '.1f')} s"]
    parts += [f"at {link / 1e6:.4g} Mbit/s"] if link is not None else []
    aside = f" ({' '.join(parts)})" if parts else ""
    term = f"{shown(ratio.median, '.2f')} {TIMES} of one download (R)"
    return term, f"{far} one node alone needs for the image{aside}"


def _range(repeats: Sequence[int]) -> tuple[str, str]:
    if not repeats or repeats[-1] < 2:
        return "a figure", "was measured in one run, so its spread is not known"
    times = f"{repeats[0]} to {repeats[-1]}" if repeats[0] != repeats[-1] else f"{repeats[0]}"
    return "a figure (with a range)", f"the middle of {times} runs, with the least and the most of them"
