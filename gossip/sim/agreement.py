"""What the nodes of a cluster agree on, and who lacks what."""

from ..core.directory import Replica
from ..core.members import State
from .cluster import Cluster


def converged(cluster: Cluster) -> bool:
    """Whether all running nodes agree on each other, on who is gone, and on all filters."""
    nodes = cluster.nodes
    names = {node.name for node in nodes}
    for node in nodes:
        alive = {member.name for member in node.members() if member.state is State.ALIVE}
        if alive != names - {node.name} or any(member.state is State.SUSPECT for member in node.members()):
            return False
    return len({node.fingerprint for node in nodes}) <= 1


def separated(cluster: Cluster) -> list[tuple[str, str]]:
    """(observer, other) for each running node that does not believe in another one: never met, dead, or gone."""
    return [
        (observer.name, other.name)
        for observer in cluster.nodes
        for other in cluster.nodes
        if observer is not other
        if (member := observer.member(other.name)) is None or not member.live
    ]


def stale_filters(cluster: Cluster) -> list[tuple[str, str]]:
    """(observer, holder) for each running node whose copy of a running node's filter is not that node's own."""
    return [
        (observer.name, holder.name)
        for observer in cluster.nodes
        for holder in cluster.nodes
        if observer is not holder and not _same(observer.directory.replica(holder.name), holder.replica)
    ]


def missing_keys(cluster: Cluster) -> list[tuple[str, str, bytes]]:
    """(observer, holder, key) for each key that a running node does not see at a running holder."""
    return [
        (observer.name, holder.name, key)
        for observer in cluster.nodes
        for holder in cluster.running
        if observer.name != holder.name and not observer.is_left_out(holder.name, cluster.clock.now)
        for key in holder.keys
        if holder.name not in {member.name for member in observer.holders(key)}
    ]


def _same(copy: Replica | None, original: Replica) -> bool:
    return copy is not None and copy.version == original.version and copy.filter.bits == original.filter.bits
