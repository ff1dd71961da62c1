"""Large simulated clusters of real nodes, and what is measured on them.

If thousands of nodes joined one by one, that would take longer than the measurements. So all nodes know each other from
the start: each has the records of all others as if it had heard them, and accepts their runs. The times of their full
exchanges are spread evenly, as in a cluster that has been up for long.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.core.config import GossipConfig
from gossip.core.membership.member import State
from gossip.core.membership.statements import alive_message
from gossip.core.node import Node
from gossip.core.timers import Timer
from gossip.sim.clock import TIMER
from gossip.sim.cluster import Cluster
from gossip.sim.keys import keys_of
from gossip.sim.network import CALM, Weather

from ..report import BenchError

IP_BYTES: Final = 28  # of IPv4 and UDP, so that rates are those of the IP layer, as in the bench beside serf
_SETTLE_S: Final = 3.0  # simulated seconds after each measurement, until no rumour is sent any more
_STEP_S: Final = 0.002  # simulated seconds between two looks at who sees a key or a join
_POLL_S: Final = 0.02  # the same for deaths, which take a thousand times longer
_WITHIN_S: Final = 120.0  # simulated seconds after which something that somebody does not see is an error
_APART_S: Final = 0.3  # simulated seconds between two keys or joins, so that they do not share packets
_KILLS_APART_S: Final = 0.7  # the same for deaths; not a multiple of the probe interval
BLOBS: Final = 12  # blobs of an image
WAVE_S: Final = 60.0  # simulated seconds in which every node pulls an image in a wave of pulls
_STALL_S: Final = 5.0  # simulated seconds for which a node stands still
_LOSS: Final = 0.1  # share of datagrams lost meanwhile
_KEY: Final = bytes(range(32))


def acquainted(size: int, config: GossipConfig, seed: int) -> Cluster:
    """A sealed cluster in which every node knows all others, and no rumour is under way."""
    with _without_garbage_collection():
        roomy = replace(config, members_max=max(config.members_max, 2 * size))
        cluster = Cluster(seed, roomy, keys=(_KEY,), checked=False)
        for number in range(size):
            cluster.start(f"n{number}")
        nodes, ciphers = cluster.nodes, dict[bytes, AESGCM]()
        records = [alive_message(node.view.me) for node in nodes]
        for node in nodes:
            for record in records:
                if record.name != node.view.name:
                    node.membership.believe(record, 0.0)
            _settle(node, nodes, ciphers)
            node.context.timers.set(Timer.SYNC, cluster.rng.random() * sync_pause_s(config, size))
    cluster.run(_SETTLE_S)
    return cluster


def sync_pause_s(config: GossipConfig, size: int) -> float:
    """Time between two full exchanges that one node begins in a cluster of a size, seconds."""
    return config.sync_interval_s * max(1, (size - 1).bit_length() - 4)


def _settle(node: Node, nodes: Sequence[Node], ciphers: dict[bytes, AESGCM]) -> None:
    """Put the parts of a node into the state that they have after a long time in the cluster."""
    node.context.rumours.clear()
    node.events()
    node.seal.ciphers = ciphers  # each would derive the same ones, so all share them
    guard = node.inbox.guard
    for other in nodes:
        if other is not node:
            guard.asked(other.seal.run)
            guard.believe(other.seal.run)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Freeze what is alive now: otherwise each later garbage collection would look at it, for seconds."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


# Who knows, and when


@dataclass(slots=True)
class Watch:
    """How long it takes others to see something.

    Args:
        at: when it happened, s.
        unseen: those that do not see it yet.
        sees: whether one does.
        times: how long it took each of those that do, s.
    """

    at: float
    unseen: list[Node]
    sees: Callable[[Node], bool]
    times: list[float] = field(default_factory=list)

    def look(self, now: float) -> None:
        """Note who sees it by now."""
        still = [node for node in self.unseen if not self.sees(node)]
        self.times += [now - self.at] * (len(self.unseen) - len(still))
        self.unseen = still


def _follow(cluster: Cluster, begin: Callable[[int], Watch], count: int, apart_s: float, step_s: float) -> list[Watch]:
    """Let things happen, some time apart, and watch each until everybody sees it.

    Raises:
        BenchError: somebody does not within 120 s.
    """
    watches = [begin(0)]
    next_at, give_up_at = cluster.clock.now + apart_s, cluster.clock.now + count * apart_s + _WITHIN_S
    while len(watches) < count or any(watch.unseen for watch in watches):
        if len(watches) < count and cluster.clock.now >= next_at:
            watches.append(begin(len(watches)))
            next_at += apart_s
        cluster.run(step_s)
        for watch in watches:
            watch.look(cluster.clock.now)
        if cluster.clock.now > give_up_at:
            raise BenchError(f"somebody has not seen what happened {_WITHIN_S:.0f} s ago")
    cluster.run(_SETTLE_S)
    return watches


def keys(cluster: Cluster, count: int, at_once: int, weather: Weather = CALM) -> list[list[float]]:
    """How long it takes each of the others to see a key, s, for each of some keys."""
    cluster.network.weather = weather
    found: list[Watch] = []
    nodes = cluster.nodes

    def advertise(_: int) -> Watch:
        holder = cluster.rng.choice(nodes)
        (key,) = keys_of(cluster.rng.getrandbits(32), 0, 1)
        watch = Watch(
            cluster.clock.now, [node for node in nodes if node is not holder], lambda node: bool(node.view.holders(key))
        )
        cluster.advertise(holder.view.name, [key])
        return watch

    for flight in _flights(count, at_once):
        found += _follow(cluster, advertise, flight, _APART_S, _STEP_S)
    cluster.network.weather = CALM
    return [watch.times for watch in found]


def joins(cluster: Cluster, count: int, at_once: int) -> list[float]:
    """How long it takes until all others see that a node has joined, s, for each of some nodes."""
    names = (f"j{number}" for number in range(count))
    found: list[Watch] = []

    def start(_: int) -> Watch:
        name, nodes = next(names), cluster.nodes
        watch = Watch(cluster.clock.now, nodes, lambda node: _state(node, name) is State.ALIVE)
        cluster.start(name, [cluster.rng.choice(nodes).view.name])
        return watch

    for flight in _flights(count, at_once):
        found += _follow(cluster, start, flight, _APART_S, _STEP_S)
    return [max(watch.times) for watch in found]


def kills(cluster: Cluster, count: int, at_once: int) -> list[float]:
    """How long it takes until all others believe a killed node dead, s, for each of some nodes."""
    found: list[Watch] = []
    for flight in _flights(count, at_once):
        victims = cluster.rng.sample([node.view.name for node in cluster.nodes], flight)
        survivors = [node for node in cluster.nodes if node.view.name not in victims]
        found += _follow(cluster, partial(_kill, cluster, victims, survivors), flight, _KILLS_APART_S, _POLL_S)
        for victim in victims:
            cluster.start(victim, [survivors[0].view.name])
        cluster.run(_SETTLE_S)
    return [max(watch.times) for watch in found]


def _kill(cluster: Cluster, victims: list[str], survivors: list[Node], number: int) -> Watch:
    name = victims[number]
    watch = Watch(cluster.clock.now, survivors, lambda node: _state(node, name) is State.DEAD)
    cluster.crash(name)
    return watch


def _flights(count: int, at_once: int) -> Iterator[int]:
    for first in range(0, count, at_once):
        yield min(at_once, count - first)


def _state(node: Node, name: str) -> State | None:
    member = node.view.member(name)
    return member.state if member is not None else None


# What it costs


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a node sends, per second: bytes of datagrams with IP headers and of streams without, and datagrams."""

    bytes: float
    stream_bytes: float
    packets: float


def traffic(cluster: Cluster, duration_s: float) -> Traffic:
    """What is sent within some time, per node."""
    happened, share = cluster.journal.happened, duration_s * len(cluster.running)
    before = happened.copy()
    cluster.run(duration_s)
    packets, sent, streamed = (happened[what] - before[what] for what in ("datagrams", "bytes", "stream bytes"))
    return Traffic((sent + packets * IP_BYTES + streamed) / share, streamed / share, packets / share)


def wave(cluster: Cluster, warm_s: float, duration_s: float) -> Traffic:
    """The same while all pull an image: 12 blobs per node and minute, each advertised when it is complete."""
    names, rng = [node.view.name for node in cluster.nodes], cluster.rng
    rate = len(names) * BLOBS / WAVE_S
    ends_at = cluster.clock.now + warm_s + duration_s

    def pull() -> None:
        if cluster.clock.now < ends_at:
            cluster.advertise(rng.choice(names), keys_of(rng.getrandbits(32), 0, 1))
            cluster.clock.at(cluster.clock.now + rng.expovariate(rate), TIMER, pull)

    pull()
    cluster.run(warm_s)
    found = traffic(cluster, duration_s)
    cluster.run(_SETTLE_S)
    return found


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Nodes that some node declared dead, of those that were healthy and of those that were stalled.

    Args:
        healthy: of those that were healthy.
        stalled: of those that were stalled for 5 s.
        stalls: how often one was stalled.
        hours: of all healthy nodes together.
    """

    healthy: int
    stalled: int
    stalls: int
    hours: float


def stalls(cluster: Cluster, rounds: int) -> Verdicts:
    """A quarter of the nodes are stalled for 5 s, one after the other, and a tenth of all datagrams is lost."""
    names = [node.view.name for node in cluster.nodes]
    cluster.network.weather = Weather(loss=_LOSS)
    healthy = stalled = 0
    count = max(1, len(names) // 4)
    for _ in range(rounds):
        chosen = set(cluster.rng.sample(names, count))
        for name in sorted(chosen):
            cluster.pause(name, _STALL_S)
        before = len(cluster.journal.failures)
        cluster.run(_STALL_S + 1.0)
        dead = {name for _, name in cluster.journal.failures[before:]}
        healthy += len(dead - chosen)
        stalled += len(dead & chosen)
    cluster.network.weather = CALM
    return Verdicts(healthy, stalled, count * rounds, (len(names) - count) * rounds * (_STALL_S + 1.0) / 3600)
