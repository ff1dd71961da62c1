"""How long the clients of a run took, as figures."""

import statistics
from collections.abc import Mapping, Sequence

from .clients import Client, Pull
from .scene import Outcome
from .turns import AT_LEAST


def times(outcome: Outcome, ideal_s: float, patience_s: float) -> Mapping[str, float]:
    """Figures of how long the clients took, each from its own start.

    A pull that failed has not ended: the times of its run's last client are at least those for which clients are waited
    for, and are marked as such. Otherwise a mode in which most pulls fail would look fast by the few that do not.

    Args:
        outcome: of the run, in which at least one client counts.
        ideal_s: what one client alone needs, seconds.
        patience_s: for how long a client is waited for at least, seconds.

    Returns:
        Seconds, and ratios in ideal times.
    """
    counted = _pulls(outcome.counted)
    failed = [pull for pull in counted if pull.errors]
    found = {
        "client_errors": float(sum(len(pull.errors) for pull in counted)),
        "pulls_failed": float(len(failed)),
        "pulls_counted": float(len(counted)),
    }
    if done := sorted(pull.seconds for pull in counted if not pull.errors):
        found |= {"first_s": done[0], "median_s": statistics.median(done)}
    found |= _last(counted, patience_s, seconds="last_s", ratio="ratio", ideal_s=ideal_s)
    if outcome.batches and not failed:
        spans = [_span_s(_pulls(batch)) for batch in outcome.batches]
        found |= {"all_s": sum(spans), "ratio": sum(spans) / len(spans) / ideal_s}
    if outcome.late:
        found |= _last(_pulls(outcome.late), patience_s, seconds="late_s", ratio="late_ratio", ideal_s=ideal_s)
    if outcome.apart:
        found |= _last(_pulls(outcome.apart), patience_s, seconds="apart_s")
    if outcome.fault_at is not None:
        finished_at = max(pull.finished_at for pull in counted)
        found |= _marked("after_fault_s", max(0.0, finished_at - outcome.fault_at), failed)
    return found


def _last(
    pulls: Sequence[Pull], patience_s: float, *, seconds: str, ratio: str | None = None, ideal_s: float = 1.0
) -> Mapping[str, float]:
    """How long the last of some pulls took, under these names."""
    failed = [pull for pull in pulls if pull.errors]
    last_s = max(pull.seconds for pull in pulls)
    if failed:
        last_s = max(last_s, patience_s)
    found = _marked(seconds, last_s, failed)
    return found if ratio is None else {**found, **_marked(ratio, last_s / ideal_s, failed)}


def _marked(name: str, value: float, failed: Sequence[Pull]) -> Mapping[str, float]:
    """A figure, which is a bound if pulls have failed."""
    return {name: value, f"{name}{AT_LEAST}": 1.0} if failed else {name: value}


def _span_s(pulls: Sequence[Pull]) -> float:
    """From the start of the first to the end of the last."""
    return max(pull.finished_at for pull in pulls) - min(pull.started_at for pull in pulls)


def _pulls(clients: Sequence[Client]) -> Sequence[Pull]:
    for client in clients:
        assert client.pull is not None, f"{client.host.name} never got the signal to pull"
    return [client.pull for client in clients if client.pull is not None]
