"""Faults: cuts of the network, and those that happen to clusters in a storm.

Each fault of a storm takes a cluster, and returns whether it could happen.
"""

import random
from collections.abc import Callable, Iterable
from typing import Final

from .cluster import Cluster
from .keys import keys_of
from .network import Delay, Weather

_HOUR_S: Final = 3600.0
_YEAR_S: Final = 365 * 86400.0


def any_weather(rng: random.Random) -> Weather:
    """Up to 30 % of loss, and any delays."""
    return Weather(
        loss=rng.choice((0.0, 0.05, 0.1, 0.2, 0.3)),
        duplication=rng.choice((0.0, 0.1)),
        jitter_s=rng.choice((0.0005, 0.005, 0.05)),
        delay=rng.choice(list(Delay)),
    )


def split(cluster: Cluster, groups: Iterable[Iterable[str]]) -> None:
    """Cut the network between groups of hosts, in both directions."""
    named = [list(group) for group in groups]
    sides = [[cluster.hosts[name].address for name in group] for group in named]
    for one in sides:
        for other in sides:
            if one is not other:
                for source in one:
                    for target in other:
                        cluster.network.cut(source, target)
    cluster.journal.remark("splits: " + " | ".join(" ".join(group) for group in named))


def cut(cluster: Cluster, source: str, target: str) -> None:
    """Cut the network from one host to another, in this one direction."""
    cluster.network.cut(cluster.hosts[source].address, cluster.hosts[target].address)
    cluster.journal.remark(f"cut from {source} to {target}")


def mend(cluster: Cluster) -> None:
    """End all cuts."""
    cluster.network.mend()
    cluster.journal.remark("mended")


def awake(cluster: Cluster) -> str | None:
    """A running node at random that does not stand still."""
    names = [host.name for host in cluster.running if host.paused_until <= cluster.clock.now]
    return cluster.rng.choice(names) if names else None


def seeds_for(cluster: Cluster, name: str) -> list[str]:
    """Three hosts through which a node may join, running ones if there are any."""
    others = sorted(cluster.hosts.values(), key=lambda host: host.node is None)
    return [host.name for host in others if host.name != name][:3]


def _crash(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is None or len(cluster.running) <= 2:
        return False
    cluster.crash(name)
    return True


def _restart(cluster: Cluster) -> bool:
    down = [host.name for host in cluster.hosts.values() if host.node is None]
    if not down:
        return False
    name = cluster.rng.choice(down)
    cluster.start(name, seeds_for(cluster, name))
    return True


def _bounce(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is None:
        return False
    cluster.crash(name)
    cluster.start(name, seeds_for(cluster, name))
    return True


def _move(cluster: Cluster) -> bool:
    """The same name comes back at another address, as a pod does."""
    name = awake(cluster)
    if name is None:
        return False
    cluster.crash(name)
    cluster.move(name)
    cluster.start(name, seeds_for(cluster, name))
    return True


def _clock(cluster: Cluster) -> bool:
    """A host's wall clock, from which the next epoch comes, is set far forward or back; then its node restarts."""
    name = awake(cluster)
    if name is None:
        return False
    cluster.crash(name)
    cluster.hosts[name].clock_ahead_s += cluster.rng.choice((-_YEAR_S, -_HOUR_S, _HOUR_S, _YEAR_S))
    cluster.start(name, seeds_for(cluster, name))
    return True


def _power_cut(cluster: Cluster) -> bool:
    """All nodes, or half of them, go down at once and come back one after the other."""
    names = [host.name for host in cluster.running]
    cluster.rng.shuffle(names)
    if cluster.rng.random() < 0.5:
        names = names[: len(names) // 2]
    for name in names:
        cluster.crash(name)
    for name in names:
        cluster.run(cluster.rng.random() * 0.3)
        cluster.start(name, [other for other in names if other != name][:2] + seeds_for(cluster, name))
    return bool(names)


def _join(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is None or len(cluster.hosts) >= 12:
        return False
    cluster.start(f"n{len(cluster.hosts)}", [name])
    return True


def _leave(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is None or len(cluster.running) <= 2:
        return False
    cluster.leave(name)
    return True


def _pause(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is not None:
        cluster.pause(name, cluster.rng.choice((0.3, 1.0, 3.0, 8.0)))
    return name is not None


def _split(cluster: Cluster) -> bool:
    """The network falls into two or three parts."""
    names = list(cluster.hosts)
    if len(names) < 3:
        return False
    cluster.rng.shuffle(names)
    one, other = sorted(cluster.rng.sample(range(1, len(names)), 2))
    if cluster.rng.random() < 0.5:
        split(cluster, [names[:one], names[one:]])
    else:
        split(cluster, [names[:one], names[one:other], names[other:]])
        cluster.journal.happened["split in three"] += 1
    return True


def _cut(cluster: Cluster) -> bool:
    cut(cluster, *cluster.rng.sample(list(cluster.hosts), 2))
    return True


def _mend(cluster: Cluster) -> bool:
    mend(cluster)
    return True


def _weather(cluster: Cluster) -> bool:
    cluster.network.weather = any_weather(cluster.rng)
    return True


def _advertise(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is not None:
        count = cluster.rng.choice((1, 12, 150, 400, 1500))
        cluster.advertise(name, keys_of(cluster.rng.getrandbits(32), 0, count))
    return name is not None


def _withdraw(cluster: Cluster) -> bool:
    name = awake(cluster)
    held = list(cluster.hosts[name].keys) if name else []
    if name is None or not held:
        return False
    cluster.withdraw(name, held[: cluster.rng.randint(1, len(held))])
    return True


def _update(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is not None:
        cluster.update(name, cluster.rng.randbytes(8))
    return name is not None


def _broadcast(cluster: Cluster) -> bool:
    name = awake(cluster)
    if name is not None:
        cluster.broadcast(name, cluster.rng.randbytes(100))
    return name is not None


def _rotate(cluster: Cluster) -> bool:
    """The next step of changing the keys: install, use, remove."""
    return cluster.rotate_keys()


FAULTS: Final[tuple[tuple[str, int, Callable[[Cluster], bool]], ...]] = (
    ("crash", 2, _crash),
    ("restart", 4, _restart),
    ("bounce", 2, _bounce),
    ("move", 1, _move),
    ("clock", 1, _clock),
    ("power cut", 1, _power_cut),
    ("join", 2, _join),
    ("leave", 2, _leave),
    ("pause", 2, _pause),
    ("split", 2, _split),
    ("one-way cut", 2, _cut),
    ("mend", 4, _mend),
    ("weather", 1, _weather),
    ("advertise", 4, _advertise),
    ("withdraw", 2, _withdraw),
    ("update", 2, _update),
    ("broadcast", 2, _broadcast),
    ("rotate", 2, _rotate),
)


def inject_fault(cluster: Cluster) -> None:
    """Let one fault happen, chosen by weight, and count it."""
    name, _, fault = cluster.rng.choices(FAULTS, [weight for _, weight, _ in FAULTS])[0]
    if fault(cluster):
        cluster.journal.happened[name] += 1
