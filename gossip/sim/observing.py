"""What the invariants are shown of a node."""

import hashlib

from ..core.directory.replica import Replica
from ..core.node import Node
from .host import Host
from .invariants import Observation, Version


class Observer:
    """Makes observations; filters that have not changed since the last one are not hashed again."""

    def __init__(self) -> None:
        self._hidden: dict[str, int] = {}
        self._filters: dict[tuple[str, str], tuple[Version, bytes]] = {}

    def observe(self, host: Host, node: Node, now: float) -> Observation:
        """What a host's node believes now."""
        members = tuple(node.view.members())
        filters = {}
        for member in members:
            replica = node.view.replica(member.name)
            assert replica is not None
            filters[member.name] = self._hashed(host.name, member.name, replica)
        own = node.view.published
        known = self._filters.get((host.name, host.name))
        if known is None or known[0] != own.version:
            shown = sum(key in own.filter for key in host.keys)
            self._hidden[host.name] = len(host.keys) - shown - node.view.unpublished
        return Observation(
            me=node.view.me,
            run=host.run,
            members=members,
            filters=filters,
            filter=self._hashed(host.name, host.name, own),
            hidden=self._hidden[host.name],
            waiting=node.view.waiting,
            next_deadline=node.next_deadline(),
            now=now,
        )

    def _hashed(self, observer: str, name: str, replica: Replica) -> tuple[Version, bytes]:
        """A filter's version and hash, as the same object until the version changes."""
        known = self._filters.get((observer, name))
        if known is None or known[0] != replica.version:
            known = (replica.version, hashlib.blake2b(replica.filter.packed(), digest_size=8).digest())
            self._filters[observer, name] = known
        return known
