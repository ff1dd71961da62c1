"""What the nodes of a cluster agree on, and who lacks what."""

from ..core.directory.replica import Replica
from ..core.membership.member import State
from .cluster import Cluster


def converged(cluster: Cluster) -> bool:
    """Whether all running nodes agree on each other, on who is gone, and on all filters."""
    nodes = cluster.nodes
    names = {node.view.name for node in nodes}
    for node in nodes:
        alive = {member.name for member in node.view.members() if member.state is State.ALIVE}
        if alive != names - {node.view.name} or any(member.state is State.SUSPECT for member in node.view.members()):
            return False
    return len({node.view.fingerprint for node in nodes}) <= 1


def separated(cluster: Cluster) -> list[tuple[str, str]]:
    """(observer, other) for each running node that does not believe in another one: never met, dead, or gone."""
    return [
        (observer.view.name, other.view.name)
        for observer in cluster.nodes
        for other in cluster.nodes
        if observer is not other
        if (member := observer.view.member(other.view.name)) is None or not member.live
    ]


def stale_filters(cluster: Cluster) -> list[tuple[str, str]]:
    """(observer, holder) for each running node whose copy of a running node's filter is not that node's own."""
    return [
        (observer.view.name, holder.view.name)
        for observer in cluster.nodes
        for holder in cluster.nodes
        if observer is not holder and not _same(observer.view.replica(holder.view.name), holder.view.published)
    ]


def missing_keys(cluster: Cluster) -> list[tuple[str, str, bytes]]:
    """(observer, holder, key) for each key that a running node does not see at a running holder."""
    return [
        (observer.view.name, holder.name, key)
        for observer in cluster.nodes
        for holder in cluster.running
        if observer.view.name != holder.name and not observer.view.is_left_out(holder.name, cluster.clock.now)
        for key in holder.keys
        if holder.name not in {member.name for member in observer.view.holders(key)}
    ]


def _same(copy: Replica | None, original: Replica) -> bool:
    return copy is not None and copy.version == original.version and copy.filter.packed() == original.filter.packed()
