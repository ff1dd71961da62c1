"""Clusters under random faults, by seed. A failure prints the command that replays it."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from gossip.core.members import Address, Member, State
from gossip.sim.cluster import Cluster
from gossip.sim.invariants import Checker, InvariantError, Observation
from gossip.sim.network import Weather
from gossip.sim.scenario import keys_of, sim_config, storm

SEEDS = range(80)
GROUP = 10


@pytest.fixture(scope="module")
def fired() -> Counter[str]:
    """What the network and the fates did, over all storms of this module."""
    return Counter()


@pytest.mark.parametrize("first", SEEDS[::GROUP])
def test_storms_break_no_rule_and_end_in_agreement(first: int, fired: Counter[str]) -> None:
    for seed in range(first, first + GROUP):
        report = storm(seed)
        fired.update(report.cluster.happened)
        fired.update(report.cluster.network.fired)


def test_the_storms_were_storms(fired: Counter[str]) -> None:
    """Runs after the storms above: a fault that never fired proves nothing."""
    for fault in ("lost", "duplicated", "cut", "crash", "restart", "bounce", "join", "leave", "pause", "split",
                  "one-way cut", "advertise", "withdraw", "update"):  # fmt: skip
        assert fired[fault] > 20, fault


def replayed(hash_seed: str) -> str:
    command = [sys.executable, "-m", "gossip.sim", "--seed", "3"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout


def test_a_seed_is_a_run_under_any_hash_seed() -> None:
    trace = replayed("1")
    assert trace == replayed("2")
    assert "calm" in trace
    assert storm(3).cluster.digest in trace


def test_keys_are_known_to_all_within_two_seconds_at_a_tenth_of_loss() -> None:
    for seed in range(5):
        cluster = Cluster(seed, sim_config(), Weather(loss=0.1, duplication=0.05, delay_s=0.0005, jitter_s=0.002))
        for number in range(20):
            cluster.start(f"n{number}", seeds=["n0"] if number else [])
            cluster.run(0.05)
        assert cluster.run_until(cluster.converged, 30.0) is not None
        for number in range(20):
            cluster.advertise(f"n{number}", keys_of(seed, number, 12))
        assert cluster.run_until(partial(_all_known, cluster), 2.0, 0.1) is not None, f"seed {seed}"


def _all_known(cluster: Cluster) -> bool:
    return not cluster.missing_keys()


def test_sides_of_a_long_partition_find_each_other_again() -> None:
    cluster = Cluster(5, sim_config())
    for number in range(6):
        cluster.start(f"n{number}", seeds=["n0"] if number else [])
        cluster.run(0.1)
    cluster.split([["n0", "n1", "n2"], ["n3", "n4", "n5"]])
    cluster.advertise("n4", keys_of(1, 0, 30))
    cluster.run(3600.0)
    assert {member.name for member in cluster.hosts["n0"].node.members() if member.state is State.ALIVE} == {"n1", "n2"}  # type: ignore[union-attr]

    cluster.network.mend()

    assert cluster.run_until(cluster.converged, 15.0) is not None
    assert cluster.run_until(partial(_all_known, cluster), 5.0) is not None


def seen(**changes: object) -> Observation:
    """What a node `a` sees that knows `b`, nothing wrong with it."""
    me = Member("a", Address("10.0.0.1", 1), 1, 0, State.ALIVE, b"", changed_at=0.0)
    other = Member("b", Address("10.0.0.2", 1), 1, 3, State.ALIVE, b"", changed_at=0.0)
    version = (1, 0, 5)
    plain = Observation(me, (other,), {"b": (version, b"b")}, (version, b"a"), 0, 1.0, 0.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def checker() -> Checker:
    """One that has seen `b` itself, then `a`, both in order."""
    fresh = Checker()
    plain = seen()
    fresh.check(replace(plain, me=plain.members[0], members=(), filters={}, filter=((1, 0, 5), b"b")))
    fresh.check(plain)
    return fresh


ME, OTHER = seen().me, seen().members[0]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (seen(me=replace(ME, epoch=0)), "went back"),
        (seen(me=replace(ME, state=State.LEFT)), "believes itself"),
        (seen(members=(replace(OTHER, incarnation=2),)), "went back on b"),
        (seen(members=(replace(OTHER, name="ghost"),)), "never was"),
        (seen(members=(replace(OTHER, incarnation=4),)), "ahead of b itself"),
        (seen(members=(replace(OTHER, state=State.LEFT),)), "invented the goodbye"),
        (seen(members=(replace(OTHER, metadata=b"other"),)), "two records of b"),
        (seen(filter=((1, 0, 4), b"a")), "version went back"),
        (seen(filters={"b": ((1, 0, 6), b"b")}), "newer than b's own"),
        (seen(filters={"b": ((1, 0, 5), b"x")}), "two filters of b"),
        (seen(waiting=10_000), "rumours wait"),
        (seen(next_deadline=None), "never wants to run"),
    ],
)
def test_every_rule_can_be_broken(wrong: Observation, rule: str) -> None:
    judge = checker()
    judge.check(seen())
    with pytest.raises(InvariantError, match=rule):
        judge.check(wrong)
