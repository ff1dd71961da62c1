"""Random faults of every kind, then calm, then everybody agrees."""

from functools import partial
from typing import Final

from .agreement import converged, missing_keys, separated, stale_filters
from .cluster import Cluster
from .faults import FAULTS, any_weather, inject_fault
from .steps import Figures, calm, form, within

_FAULTS_FOR_S: Final = 30.0
_EQUAL_S: Final = 2.0
_HEALED_S: Final = 15.0
_AGREE_S: Final = 60.0  # who crashed just before the calm is yet to be found dead by nodes that doubt themselves

MUST_HAPPEN: Final = (
    *(name for name, _, _ in FAULTS),
    *("lost", "duplicated", "overtaken", "cut", "split in three"),
    *("MemberJoined", "MemberUpdated", "MemberSuspected", "MemberRecovered", "MemberFailed", "MemberLeft", "Refuted"),
    *("Paused", "BroadcastReceived", "new generation", "rejected: replay", "epoch raised"),
    *("stream: sync", "stream: fetch", "stream: probe"),
)
"""Faults, and what should come of them: over many seeds each has to happen, or the storms prove nothing."""


def storm(cluster: Cluster) -> Figures:
    """Random faults of every kind for 30 s; when the network calms, all views become equal.

    Two seconds later every node's copy of every other's filter is that node's own. Pairs are excepted of which one held
    the other for dead when the network calmed: those have to find each other first, which may take 15 s.
    """
    rng = cluster.rng
    cluster.network.weather = any_weather(rng)
    form(cluster, rng.randint(3, 8), apart_s=0.2)
    until = cluster.clock.now + _FAULTS_FOR_S
    while cluster.clock.now < until:
        inject_fault(cluster)
        cluster.run(rng.expovariate(1.0))
    calm(cluster)
    _seed_the_lost(cluster)
    apart = set(separated(cluster))
    apart |= {(other, one) for one, other in apart}
    equal = "filters are equal, but for pairs of which one held the other for dead at the calm"
    equal_s = within(cluster, lambda: set(stale_filters(cluster)) <= apart, _EQUAL_S, equal)
    healed_s = equal_s + within(
        cluster, lambda: not separated(cluster), _HEALED_S, "nobody holds a running one for dead"
    )
    agree_s = healed_s + within(cluster, partial(converged, cluster), _AGREE_S, "all agree")
    within(cluster, lambda: not missing_keys(cluster), _EQUAL_S, "every key is seen")
    return {"filters equal, s": [equal_s], "partitions healed, s": [healed_s], "all agree, s": [agree_s]}


def _seed_the_lost(cluster: Cluster) -> None:
    """Who knows nobody, and has the addresses only of hosts that moved or went, is given new ones by its operator."""
    for node in cluster.nodes:
        if not any(member.live for member in node.view.members()):
            cluster.rejoin(node.view.name, [other.view.name for other in cluster.nodes if other is not node][:3])
            cluster.journal.happened["seeded anew"] += 1
