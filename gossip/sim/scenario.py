"""Random faults by seed, then calm, then everybody must agree.

    python -m gossip.sim --seed 17

replays a run and prints its trace.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from ..core.config import GossipConfig
from .cluster import Cluster
from .invariants import InvariantError
from .network import CALM, Weather

_FAULTS_FOR_S = 30.0
_CALM_FOR_S = 60.0
_KEYS_SEEN_S = 5.0  # probes that were under way when the network calmed may still make suspects


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went.

    Args:
        seed: of the run.
        settled_s: simulated time from calm to agreement.
        cluster: as it was at the end.
    """

    seed: int
    settled_s: float
    cluster: Cluster


def sim_config(label: str = "sim") -> GossipConfig:
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


def storm(seed: int) -> Report:
    """Run a cluster through random faults.

    Raises:
        InvariantError: a rule was broken, or the cluster did not agree in time; the message says how to replay.
    """
    cluster = Cluster(seed, sim_config())
    try:
        _rage(cluster)
        settled_s = _settle(cluster)
    except AssertionError as error:
        story = "\n".join(cluster.trace[-30:])
        raise InvariantError(f"{error}\nreplay: python -m gossip.sim --seed {seed}\n{story}") from error
    return Report(seed, settled_s, cluster)


def keys_of(seed: int, first: int, count: int) -> list[bytes]:
    """Some keys of 32 bytes."""
    return [hashlib.sha256(f"{seed}/{first + i}".encode()).digest() for i in range(count)]


def _rage(cluster: Cluster) -> None:
    rng = cluster.rng
    size = rng.randint(3, 8)
    cluster.network.weather = Weather(
        loss=rng.choice((0.0, 0.05, 0.1, 0.3)),
        duplication=rng.choice((0.0, 0.1)),
        delay_s=0.0002,
        jitter_s=rng.choice((0.0005, 0.005, 0.05)),
    )
    for i in range(size):
        cluster.start(f"n{i}", seeds=["n0"] if i else [])
        cluster.run(rng.random() * 0.2)
    until = cluster.network.now + _FAULTS_FOR_S
    while cluster.network.now < until:
        name, fault = rng.choice(_FAULTS)
        if fault(cluster):
            cluster.happened[name] += 1
        cluster.run(rng.expovariate(1.0))


def _settle(cluster: Cluster) -> float:
    cluster.network.weather = CALM
    cluster.network.mend()
    cluster.run(max(0.0, max(host.paused_until for host in cluster.hosts.values()) - cluster.network.now))
    cluster.trace.append(f"{cluster.network.now:9.3f} calm")
    settled_s = cluster.run_until(cluster.converged, _CALM_FOR_S, every_s=0.1)
    if settled_s is None:
        raise InvariantError(f"no agreement {_CALM_FOR_S} s after the network calmed")
    if cluster.run_until(lambda: not cluster.missing_keys(), _KEYS_SEEN_S, every_s=0.5) is None:
        observer, holder, key = cluster.missing_keys()[0]
        raise InvariantError(f"{observer} does not see that {holder} holds {key.hex()}")
    return settled_s


def _some(cluster: Cluster) -> str | None:
    names = [host.name for host in cluster.running if host.paused_until <= cluster.network.now]
    return cluster.rng.choice(names) if names else None


def _crash(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is None or len(cluster.running) <= 2:
        return False
    cluster.crash(name)
    return True


def _restart(cluster: Cluster) -> bool:
    down = [host.name for host in cluster.hosts.values() if host.node is None]
    if not down:
        return False
    cluster.start(cluster.rng.choice(down), seeds=[host.name for host in cluster.running][:2])
    return True


def _bounce(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is None:
        return False
    cluster.crash(name)
    cluster.start(name, seeds=[host.name for host in cluster.running if host.name != name][:2])
    return True


def _join(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is None or len(cluster.hosts) >= 12:
        return False
    cluster.start(f"n{len(cluster.hosts)}", seeds=[name])
    return True


def _leave(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is None or len(cluster.running) <= 2:
        return False
    cluster.leave(name)
    return True


def _pause(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is not None:
        cluster.pause(name, cluster.rng.choice((0.3, 1.0, 3.0, 8.0)))
    return name is not None


def _split(cluster: Cluster) -> bool:
    names = list(cluster.hosts)
    cluster.rng.shuffle(names)
    middle = cluster.rng.randint(1, len(names) - 1)
    cluster.split([names[:middle], names[middle:]])
    return True


def _cut(cluster: Cluster) -> bool:
    one, other = cluster.rng.sample(list(cluster.hosts.values()), 2)
    cluster.network.cut(one.address, other.address)
    return True


def _mend(cluster: Cluster) -> bool:
    cluster.network.mend()
    return True


def _advertise(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is not None:
        count = cluster.rng.choice((1, 12, 150, 400))
        cluster.advertise(name, keys_of(cluster.rng.getrandbits(32), 0, count))
    return name is not None


def _withdraw(cluster: Cluster) -> bool:
    name = _some(cluster)
    held = list(cluster.hosts[name].keys or ()) if name else []
    if name is None or not held:
        return False
    cluster.withdraw(name, held[: cluster.rng.randint(1, len(held))])
    return True


def _update(cluster: Cluster) -> bool:
    name = _some(cluster)
    if name is not None:
        cluster.update(name, cluster.rng.randbytes(8))
    return name is not None


_FAULTS: tuple[tuple[str, Callable[[Cluster], bool]], ...] = (
    ("crash", _crash),
    ("restart", _restart),
    ("restart", _restart),
    ("bounce", _bounce),
    ("join", _join),
    ("leave", _leave),
    ("pause", _pause),
    ("split", _split),
    ("one-way cut", _cut),
    ("mend", _mend),
    ("mend", _mend),
    ("advertise", _advertise),
    ("advertise", _advertise),
    ("withdraw", _withdraw),
    ("update", _update),
)
