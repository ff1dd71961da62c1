"""Nodes that come back under their names at other addresses, as pods do: one after the other, or cut off at once."""

import pytest

from gossip import GossipConfig, State
from gossip.sim.cluster import Cluster

NAMES = [f"n{number}" for number in range(6)]


def settled(seed: int) -> Cluster:
    cluster = Cluster(seed, GossipConfig())
    for name in NAMES:
        cluster.start(name, seeds=[each for each in NAMES if each in cluster.hosts])
    cluster.run(5)
    return cluster


def states(cluster: Cluster, of: str) -> set[State | None]:
    """What the others believe of a node."""
    views = [host.node.view for name, host in cluster.hosts.items() if name != of and host.node is not None]
    return {next((it.state for it in view.members() if it.name == of), None) for view in views}


def everybody_sees_all(cluster: Cluster) -> bool:
    places = {name: host.address for name, host in cluster.hosts.items()}
    return all(
        {it.name: it.address for it in node.view.members() if it.state is State.ALIVE}
        == {name: place for name, place in places.items() if name != node.view.me.name}
        for node in cluster.nodes
    )


@pytest.mark.parametrize("seed", range(3))
def test_all_nodes_are_replaced_one_after_the_other_and_nobody_is_suspected(seed: int) -> None:
    cluster = settled(seed)
    for name in NAMES:
        cluster.leave(name)
        cluster.run(3)
        assert states(cluster, name) == {State.LEFT}
        cluster.move(name)
        cluster.start(name, seeds=[each for each in NAMES if each != name])
        for _ in range(20):
            cluster.run(0.1)
            assert states(cluster, name) <= {State.LEFT, State.ALIVE}
        assert everybody_sees_all(cluster)


@pytest.mark.parametrize("seed", range(3))
def test_node_that_was_cut_off_and_is_back_elsewhere_at_once_is_believed_within_seconds(seed: int) -> None:
    cluster = settled(seed)
    cluster.crash("n3")
    cluster.move("n3")
    cluster.start("n3", seeds=["n0"])
    for _ in range(40):
        cluster.run(0.1)
        assert State.DEAD not in states(cluster, "n3")
        assert all(node.view.gave_way_to is None for node in cluster.nodes)
    assert everybody_sees_all(cluster)
