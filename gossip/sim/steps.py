"""What scenarios have in common: forming a cluster, calming the network, and waiting with a limit."""

from collections.abc import Callable
from functools import partial

from ..core.config import GossipConfig
from .agreement import converged
from .cluster import Cluster
from .faults import mend
from .invariants import InvariantError
from .network import CALM

Figures = dict[str, list[float]]
"""What a run measured: for each name, with its unit, the values."""


def hasty(label: str = "sim") -> GossipConfig:
    """Settings under which a run of a minute shows everything that takes a day otherwise."""
    return GossipConfig(
        label=label,
        probe_interval_s=0.5,
        probe_timeout_s=0.2,
        suspicion_mult=3,
        sync_interval_s=10.0,
        heal_interval_s=3.0,
        rebuild_quiet_s=5.0,
        rebuild_pause_s=1.0,
        log_keys=256,
        snapshot_over_keys=256,
        gossip_to_dead_s=10.0,
    )


def form(cluster: Cluster, size: int, *, apart_s: float = 0.1) -> None:
    """Start nodes `n0` and so on, one after the other, up to `apart_s` apart; all know the address of `n0`."""
    for number in range(size):
        cluster.start(f"n{number}", ["n0"] if number else [])
        cluster.run(cluster.rng.random() * apart_s)


def formed(cluster: Cluster, size: int) -> None:
    """The same, and wait until all agree."""
    form(cluster, size, apart_s=0.02)
    within(cluster, partial(converged, cluster), 30.0, "a new cluster agrees")


def calm(cluster: Cluster) -> None:
    """No loss, no cuts; and let all wake up who stand still."""
    cluster.network.weather = CALM
    mend(cluster)
    cluster.run(max(0.0, max(host.paused_until for host in cluster.hosts.values()) - cluster.clock.now))
    cluster.journal.remark("calm")


def within(
    cluster: Cluster, condition: Callable[[], bool], limit_s: float, what: str, *, every_s: float = 0.05
) -> float:
    """Let time pass until something is so. Returns how long that took, s.

    Raises:
        InvariantError: it took longer than `limit_s`.
    """
    took_s = cluster.clock.run_until(condition, limit_s, every_s)
    if took_s is None:
        raise InvariantError(f"{what}: not so after {limit_s:g} s")
    return took_s


def require(rule: bool, what: str) -> None:
    """Raise unless something is as it must be.

    Raises:
        InvariantError: it is not.
    """
    if not rule:
        raise InvariantError(what)
