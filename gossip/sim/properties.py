"""What the protocol promises in numbers, each as a scenario that fails if the number is not kept."""

from functools import partial
from itertools import cycle
from typing import Final

from ..core.membership.member import State
from ..core.node import Node
from .agreement import converged, missing_keys, separated, stale_filters
from .cluster import Cluster
from .faults import awake, mend, seeds_for, split
from .keys import keys_of
from .network import Weather
from .steps import Figures, calm, form, formed, require, within

_EQUAL_S: Final = 2.0
_SETTLED_S: Final = 2.0
_HEALED_S: Final = 15.0
_KNOWN_S: Final = 2.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0
_STALL_S: Final = 5.0
_WOKE_S: Final = 1.0
_LEAVERS: Final = 10
_GIVES_WAY_S: Final = 15.0


def filters(cluster: Cluster) -> Figures:
    """Keys come and go by the thousand under loss and restarts; 2 s after calm all filters are equal.

    No copy misses a key that its owner advertised before the calm.
    """
    rng = cluster.rng
    cluster.network.weather = Weather(
        loss=rng.random() * 0.3, duplication=rng.choice((0.0, 0.1)), jitter_s=rng.choice((0.0005, 0.005, 0.05))
    )
    form(cluster, rng.randint(3, 12))
    until = cluster.clock.now + 10.0
    while cluster.clock.now < until:
        _stir(cluster)
        cluster.run(rng.expovariate(2.0))
    calm(cluster)
    apart = set(separated(cluster))
    took_s = within(cluster, lambda: set(stale_filters(cluster)) <= apart, _EQUAL_S, "all filters are equal")
    cluster.run(_EQUAL_S - took_s)
    for observer in cluster.nodes:
        for holder in cluster.running:
            copy = observer.view.replica(holder.name)
            missed = sum(key not in copy.filter for key in holder.keys) if copy is not None else len(holder.keys)
            if (observer.view.name, holder.name) not in apart and observer.view.name != holder.name:
                require(not missed, f"{observer.view.name} says no to {missed} keys of {holder.name}")
    return {"filters equal, s": [took_s], "pairs apart at the calm": [float(len(apart))]}


def _stir(cluster: Cluster) -> None:
    rng = cluster.rng
    name, chance = awake(cluster), rng.random()
    down = [host.name for host in cluster.hosts.values() if host.node is None]
    if down and chance < 0.1:
        cluster.start(down[0], seeds_for(cluster, down[0]))
    elif name is None:
        return
    elif chance < 0.2 and len(cluster.running) > 2:
        cluster.crash(name)
        if rng.random() < 0.5:
            cluster.start(name, seeds_for(cluster, name))
    elif chance < 0.7:
        cluster.advertise(name, keys_of(rng.getrandbits(32), 0, rng.choice((1, 12, 150, 3000))))
    elif held := list(cluster.hosts[name].keys):
        cluster.withdraw(name, held[: rng.randint(1, len(held))])


def partition(cluster: Cluster) -> Figures:
    """The network falls into two or three parts for an hour; 15 s after the link's return all agree."""
    parts = cluster.rng.choice((2, 3))
    return {"healed, s": [_split_and_heal(cluster, cluster.rng.randint(4, 9), parts, _HOUR_S)]}


def day(cluster: Cluster) -> Figures:
    """The same after 23 hours: addresses are kept for a day."""
    return {"healed, s": [_split_and_heal(cluster, 4, 2, 23 * _HOUR_S)]}


def _split_and_heal(cluster: Cluster, size: int, parts: int, duration_s: float) -> float:
    rng = cluster.rng
    formed(cluster, size)
    names = list(cluster.hosts)
    rng.shuffle(names)
    sides = [names[part::parts] for part in range(parts)]
    split(cluster, sides)
    cluster.run(duration_s / 2)
    for name in names:
        cluster.advertise(name, keys_of(rng.getrandbits(32), 0, 30))
    cluster.run(duration_s / 2)
    require(len(separated(cluster)) == size**2 - sum(len(side) ** 2 for side in sides), "each side is one, and alone")
    mend(cluster)
    healed_s = within(cluster, partial(converged, cluster), _HEALED_S, "the parts are one again")
    within(cluster, lambda: not missing_keys(cluster), _EQUAL_S, "every key is seen")
    return healed_s


def restart(cluster: Cluster) -> Figures:
    """Ten times all nodes or some restart at once, also at other addresses or in another year: 2 s later all agree.

    Each knows the addresses of all others, as a node does that keeps a snapshot of them.
    """
    rng = cluster.rng
    formed(cluster, rng.randint(3, 12))
    took_s = []
    for _ in range(10):
        names = rng.sample(list(cluster.hosts), rng.choice((1, len(cluster.hosts) // 2, len(cluster.hosts))))
        for name in names:
            cluster.crash(name)
            if rng.random() < 0.3:
                cluster.move(name)
                cluster.journal.happened["moved"] += 1
            if rng.random() < 0.3:
                cluster.hosts[name].clock_ahead_s += rng.choice((-365, -1, 1, 365)) * _DAY_S
                cluster.journal.happened["clock set"] += 1
        cluster.run(rng.choice((0.0, 0.5, 20.0)))
        for name in names:
            cluster.start(name, [other for other in cluster.hosts if other != name])
        took_s.append(within(cluster, partial(converged, cluster), _SETTLED_S, "all are back"))
    return {"settled, s": took_s}


def namesakes(cluster: Cluster) -> Figures:
    """A clone of a running node is started again and again, with any clock: it gives way, the other keeps its place."""
    rng = cluster.rng
    formed(cluster, rng.randint(3, 8))
    cluster.run(10.0)
    cluster.network.weather = Weather(loss=rng.choice((0.0, 0.0, 0.1, 0.3)))
    names, name = list(cluster.hosts), rng.choice(list(cluster.hosts))
    clone, original, took_s = cluster.clone("clone", name), cluster.hosts[name], []
    for _ in range(6):
        clone.clock_ahead_s = rng.choice((-365, -1, 0, 0, 1, 365)) * _DAY_S
        node = cluster.start("clone", rng.sample(names, rng.randint(1, 3))).node
        assert node is not None

        def gave_way(node: Node = node) -> bool:
            require(original.node is not None and original.node.view.gave_way_to is None, f"{name} gave way to a clone")
            if not cluster.network.weather.loss:
                require(not _elsewhere(cluster, name), f"the clone took the place of {name}")
            return node.view.gave_way_to is not None

        took_s.append(within(cluster, gave_way, _GIVES_WAY_S, "the clone gives way"))
        cluster.crash("clone")
        cluster.run(rng.choice((0.0, 1.0, 5.0)))
    calm(cluster)
    within(cluster, lambda: converged(cluster) and not _elsewhere(cluster, name), 30.0, "all know the original")
    return {"gives way, s": took_s}


def _elsewhere(cluster: Cluster, name: str) -> list[str]:
    """Who believes that a node of that name is where it is not."""
    there = cluster.hosts[name].address
    members = [(node.view.name, node.view.member(name)) for node in cluster.nodes if node.view.name != name]
    return [observer for observer, member in members if member is not None and member.address != there]


def leaves(cluster: Cluster) -> Figures:
    """Ten nodes say goodbye while others are killed, with and without loss: nobody reads that as a failure."""
    rng = cluster.rng
    form(cluster, 4 + _LEAVERS)
    within(cluster, partial(converged, cluster), 30.0, "a new cluster agrees")
    cluster.network.weather = Weather(loss=rng.choice((0.0, 0.1, 0.25)), duplication=0.05)
    leavers = [f"n{number}" for number in range(4, 4 + _LEAVERS)]
    for leaver in leavers:
        victim = rng.choice(("n1", "n2", "n3"))
        if cluster.hosts[victim].node is None:
            cluster.start(victim, ["n0"])
        elif rng.random() < 0.5:
            cluster.crash(victim)
            cluster.journal.happened["killed meanwhile"] += 1
        cluster.leave(leaver)
        cluster.run(rng.choice((0.0, 0.1, 1.0, 5.0)))
    calm(cluster)
    cluster.run(30.0)
    misread = [f"{observer} of {name}" for observer, name in cluster.journal.failures if name in leavers]
    require(not misread, f"read as a failure: {misread}")
    for node in cluster.nodes:
        others = [
            member.name for member in node.view.members() if member.name in leavers and member.state != State.LEFT
        ]
        require(not others, f"{node.view.name} does not know that {others} left")
    return {"goodbyes": [float(_LEAVERS)]}


def stalls(cluster: Cluster) -> Figures:
    """For an hour a quarter of the nodes stands still 5 s in turn, at 10 % loss: no healthy node is declared dead.

    Who woke less than a second ago is not counted as healthy: its refutation is under way.
    """
    formed(cluster, 8)
    cluster.network.weather = Weather(loss=0.1, jitter_s=0.002)
    names = list(cluster.hosts)
    cluster.rng.shuffle(names)
    quarters = [names[first::4] for first in range(4)]
    until, deaths_of_stalled, woke = cluster.clock.now + _HOUR_S, 0, set[str]()
    for stalled in cycle(quarters):
        if cluster.clock.now >= until:
            break
        for name in stalled:
            cluster.pause(name, _STALL_S)
        for duration_s, excused in ((_WOKE_S, woke.union(stalled)), (_STALL_S - _WOKE_S, set(stalled))):
            cluster.journal.failures.clear()
            cluster.run(duration_s)
            dead = {name for _, name in cluster.journal.failures}
            require(dead <= excused, f"healthy nodes were declared dead: {sorted(dead - excused)}")
            deaths_of_stalled += len(dead)
        woke = set(stalled)
    return {"stalled nodes declared dead, of 1440 stalls": [float(deaths_of_stalled)]}


def detection(cluster: Cluster) -> Figures:
    """A node is killed: how long until all others know."""
    rng = cluster.rng
    formed(cluster, rng.choice((10, 20)))
    times_s = []
    for _ in range(4):
        cluster.run(5.0 + rng.random())
        victim = rng.choice(list(cluster.hosts))
        cluster.crash(victim)
        known = partial(_known_dead, cluster, victim)
        times_s.append(within(cluster, known, 60.0, f"all know that {victim} is dead", every_s=0.01))
        cluster.start(victim, seeds_for(cluster, victim))
        within(cluster, partial(converged, cluster), _SETTLED_S, f"{victim} is back")
    return {f"N = {len(cluster.hosts)}, s": times_s}


def _known_dead(cluster: Cluster, name: str) -> bool:
    members = [node.view.member(name) for node in cluster.nodes]
    return all(member is not None and member.state is State.DEAD for member in members)


def keys(cluster: Cluster) -> Figures:
    """20 nodes add keys: how long until all others see them, without loss and with 10 %; never more than 2 s."""
    rng = cluster.rng
    formed(cluster, 20)
    figures: Figures = {}
    for loss in (0.0, 0.1):
        cluster.network.weather = Weather(loss=loss, jitter_s=0.0005)
        times_s = figures[f"{loss:.0%} loss, s"] = []
        for _ in range(20):
            cluster.run(rng.random())
            name, fresh = rng.choice(list(cluster.hosts)), keys_of(rng.getrandbits(32), 0, 12)
            cluster.advertise(name, fresh)
            shown = partial(_all_see, cluster, name, fresh)
            times_s.append(within(cluster, shown, _KNOWN_S, f"all see what {name} added", every_s=0.001))
    return figures


def _all_see(cluster: Cluster, holder: str, fresh: list[bytes]) -> bool:
    """Whether all copies have these keys; a holder that is suspected for a moment has them nevertheless."""
    copies = [node.view.replica(holder) for node in cluster.nodes if node.view.name != holder]
    return all(copy is not None and key in copy.filter for copy in copies for key in fresh)
