"""What agents are asked by HTTP alone: with and without the line to the hub, while a tag moves, and by a crowd."""

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import Final

from testbed.hub import Counts

from ..asking import Answer, Asker
from .settings import CROWD, FRESH_S, LATE_S, PASSES, PERIODS
from .stage import TAG, WATCHED, Stage

_LOOK_S: Final = 0.1
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """What the line means to those who ask.

    Args:
        plugged_ms: times of manifests by tag that is believed without a question, with the line, in ms.
        unplugged_ms: the same without it.
        old_plugged_ms: times of manifests by a tag that upstream is to be asked of, with the line, in ms.
        old_unplugged_ms: the same without it.
        errors: answers that were not 200.
        first_s: time of the answer by which it is found out that the hub is away, s.
        unknown_s: times of answers about images that nobody knows, after that, s.
        unknown_statuses: of these answers.
    """

    plugged_ms: Sequence[float]
    unplugged_ms: Sequence[float]
    old_plugged_ms: Sequence[float]
    old_unplugged_ms: Sequence[float]
    errors: int
    first_s: float
    unknown_s: Sequence[float]
    unknown_statuses: Sequence[int]


@dataclass(frozen=True, slots=True)
class Moved:
    """How a tag is followed.

    Args:
        still: what the hub was asked while it did not move, in `PERIODS` times.
        seen_s: time from the move until each node says so, by node, s; those that never did are missing.
    """

    still: Counts
    seen_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many first requests at once.

    Args:
        counts: what the hub was asked.
        statuses: of the answers.
        slowest_s: time of the last answer, s.
    """

    counts: Counts
    statuses: Sequence[int]
    slowest_s: float


def outage(stage: Stage) -> Outage:
    """Ask all nodes for what they know, with and without the line; and for what nobody knows, without it."""
    with ExitStack() as stack:
        askers = _askers(stage, stack)
        known = [_manifest(repository) for repository in stage.images]
        old = _manifest(f"{WATCHED}-old")
        stage.image(f"{WATCHED}-old", 1000)
        for ask, path in product(askers, [*known, old]):
            ask.ask("GET", path)
        plugged, old_plugged = _passes(askers, known), _old(askers, old)
        for ask, path in product(askers, known):  # fresh again, for as long as what follows takes
            ask.ask("GET", path)
        with stage.line.away():
            first = askers[0].ask("GET", _manifest("library/nowhere"))
            unknown = [ask.ask("GET", _manifest(f"library/nowhere{n}")) for n, ask in enumerate(askers)]
            unplugged, old_unplugged = _passes(askers, known), _old(askers, old)
    answers = [*plugged, *unplugged, *old_plugged, *old_unplugged]
    return Outage(
        _ms(plugged), _ms(unplugged), _ms(old_plugged), _ms(old_unplugged),
        sum(answer.status != 200 for answer in answers),
        first.seconds,
        [answer.seconds for answer in unknown],
        [answer.status for answer in unknown],
    )  # fmt: skip


def moved(stage: Stage) -> Moved:
    """Let clients on all nodes ask for a tag again and again, and move it."""
    repository = f"{WATCHED}-moving"
    stage.image(repository, 1000)
    new = stage.image(f"{WATCHED}-new", 1001)
    path, stop, meant = _manifest(repository), threading.Event(), new.read(new.manifest)
    seen: dict[str, float] = {}
    moved_at = float("inf")

    def watch(name: str, asker: Asker) -> None:
        while not stop.wait(_LOOK_S):
            answer = asker.ask("GET", path)
            if answer.body == meant:
                seen.setdefault(name, answer.answered_at - moved_at)

    with ExitStack() as stack, ThreadPoolExecutor(len(stage.nodes)) as threads:
        askers = _askers(stage, stack)
        for asker in askers:
            asker.ask("GET", path)
        watching = [threads.submit(watch, node.name, asker) for node, asker in zip(stage.nodes, askers, strict=True)]
        try:
            time.sleep(FRESH_S)  # the nodes asked one after the other: from now on their times are those of the watch
            before = stage.hub.counts()
            time.sleep(FRESH_S * PERIODS)
            still = stage.hub.counts() - before
            stage.hub.hold(new, repository, TAG)
            moved_at = time.monotonic()
            deadline = moved_at + FRESH_S + LATE_S
            while len(seen) < len(stage.nodes) and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
        finally:
            stop.set()
        for task in watching:
            task.result()
    return Moved(still, seen)


def crowd(stage: Stage) -> Crowd:
    """Many clients ask all nodes at the same moment for a tag that nobody has ever asked for."""
    repository = "library/crowded"
    stage.image(repository, 1000)
    before, start = stage.hub.counts(), threading.Barrier(CROWD)

    def ask(number: int) -> Answer:
        node = stage.nodes[number % len(stage.nodes)]
        asker = Asker(node, stage.mode.asked(node), _PATIENCE_S)
        try:
            asker.ask("GET", "/v2/")  # it has its connection
            start.wait(_PATIENCE_S)
            return asker.ask("GET", _manifest(repository))
        finally:
            asker.close()

    with ThreadPoolExecutor(CROWD) as threads:
        answers = list(threads.map(ask, range(CROWD)))
    counts = stage.hub.counts() - before
    return Crowd(counts, [answer.status for answer in answers], max(answer.seconds for answer in answers))


def p50(times_ms: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(times_ms)


def _manifest(repository: str) -> str:
    return f"/v2/{repository}/manifests/{TAG}?ns=docker.io"


def _askers(stage: Stage, stack: ExitStack) -> list[Asker]:
    askers = [Asker(node, stage.mode.asked(node), _PATIENCE_S) for node in stage.nodes]
    for asker in askers:
        stack.callback(asker.close)
    return askers


def _passes(askers: Sequence[Asker], paths: Sequence[str]) -> list[Answer]:
    return [asker.ask("GET", path) for _ in range(PASSES) for asker, path in product(askers, paths)]


def _old(askers: Sequence[Asker], path: str) -> list[Answer]:
    """Ask for a tag whenever its time is over."""
    answers = []
    for _ in range(PASSES):
        time.sleep(FRESH_S)
        answers += [asker.ask("GET", path) for asker in askers]
    return answers


def _ms(answers: Sequence[Answer]) -> list[float]:
    return [1000 * answer.seconds for answer in answers]
