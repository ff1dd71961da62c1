"""Where the filters of members are kept, and those of others who have yet to be members, each within a bound of memory.

A member's filter for which there is no room is *blank*: its version is known, so that this node's view is equal to that
of others, and lookups never find that member. Large filters give way to small ones: nobody can keep out what others
hold by claiming to hold much. Those who have yet to prove that they are there have memory of their own, so that nobody
can push out a member's filter by inventing others.
"""

from collections.abc import Callable

from ..messages import KEY_BYTES
from .filters import Index
from .lookup import Lookup
from .replica import REPLICA_BYTES, Replica


class MemberFilters:
    """The filters of members, and lookups in them.

    Args:
        max_bytes: bound of the memory; at least `REPLICA_BYTES` for each member.
        members_max: how many members there may be. The version of each is known, whatever the others' filters take.
        make_index: makes an empty index for filters of one size.
    """

    def __init__(self, max_bytes: int, members_max: int, make_index: Callable[[int], Index]) -> None:
        self._max_bytes = max_bytes
        self._members_max = members_max
        self._replicas: dict[str, Replica] = {}
        self._replicas_bytes = 0
        self.lookup = Lookup(make_index)

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return self._replicas_bytes + self.lookup.memory_bytes

    @property
    def blanks(self) -> int:
        """Members of which only the version is known, for want of memory."""
        return sum(replica.blank for replica in self._replicas.values())

    def get(self, name: str) -> Replica | None:
        """A member's filter."""
        return self._replicas.get(name)

    def put(self, name: str, replica: Replica) -> None:
        """Keep a filter, in place of the one before; it is blank if there is no room for it."""
        self._remove(name)

        def needed() -> int:
            return replica.memory_bytes + self.lookup.growth_bytes(name, replica.filter)

        if not replica.blank and not self._make_room(name, replica, needed):
            replica.erase()
        self._replicas[name] = replica
        self._replicas_bytes += replica.memory_bytes
        if replica.blank:
            self.lookup.empty(name)
        else:
            self.lookup.put(name, replica.filter)

    def extend(self, name: str, keys: bytes) -> bool:
        """Add keys to a member's filter; it is blank from then on if there is no room for them."""
        replica, key_count = self._replicas[name], len(keys) // KEY_BYTES

        def needed() -> int:
            return replica.filter.growth_bytes(key_count) + self.lookup.extension_bytes(name, key_count)

        if needed() and not self._make_room(name, replica, needed):
            self._erase(name)
        self._replicas_bytes -= replica.memory_bytes
        positions = replica.extend(keys)
        self._replicas_bytes += replica.memory_bytes
        self.lookup.set(name, positions)
        return True

    def drop(self, name: str) -> None:
        """Keep nothing of that name; unknown names are fine."""
        self._remove(name)
        self.lookup.drop(name)

    def _remove(self, name: str) -> None:
        known = self._replicas.pop(name, None)
        if known is not None:
            self._replicas_bytes -= known.memory_bytes

    def _make_room(self, name: str, replica: Replica, needed: Callable[[], int]) -> bool:
        """Whether there is room for a filter, perhaps after larger ones have given way; none does so in vain."""
        if self._fits(name, needed()):
            return True
        larger = self._larger(replica.filter.memory_bytes)
        freed = sum(self._replicas[other].memory_bytes - REPLICA_BYTES for other in larger)
        if not self._fits(name, needed() - freed):
            return False
        for other in larger:
            self._erase(other)
            if self._fits(name, needed()):
                return True
        return False

    def _larger(self, filter_bytes: int) -> list[str]:
        """Whose filters may give way to one that takes so much, the largest first.

        To take one out of an index takes up to 25 ms, so that at most one of them gives way at once.
        """
        sizes = {other: replica.filter.memory_bytes for other, replica in self._replicas.items()}
        larger = sorted(
            (other for other, size in sizes.items() if size > filter_bytes), key=sizes.__getitem__, reverse=True
        )
        indexed = next((at for at, other in enumerate(larger) if self.lookup.is_indexed(other)), len(larger))
        return larger[: indexed + 1]

    def _fits(self, name: str, needed_bytes: int) -> bool:
        """Whether there is room for so much for a member, besides the versions of all others that may come."""
        known = len(self._replicas) + (name not in self._replicas)
        return self.memory_bytes + needed_bytes + REPLICA_BYTES * (self._members_max - known) <= self._max_bytes

    def _erase(self, name: str) -> None:
        replica = self._replicas[name]
        self._replicas_bytes -= replica.memory_bytes
        replica.erase()
        self._replicas_bytes += replica.memory_bytes
        self.lookup.empty(name)


class ExpectedFilters:
    """The filters of those who have yet to prove that they are there, in memory of their own.

    Args:
        max_bytes: bound of that memory; a filter for which there is no room is not taken in.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.memory_bytes = 0
        self._epochs: dict[str, int] = {}
        self._replicas: dict[str, Replica] = {}

    def epoch(self, name: str) -> int | None:
        """The run that is expected of that name."""
        return self._epochs.get(name)

    def get(self, name: str) -> Replica | None:
        """The filter that came, if one did."""
        return self._replicas.get(name)

    def add(self, name: str, epoch: int) -> None:
        """Expect a run; the filter of another run of that name is dropped."""
        if self._epochs.get(name) != epoch:
            self.take(name)
            self._epochs[name] = epoch

    def take(self, name: str) -> Replica | None:
        """Expect that name no longer. Returns the filter that came, if one did."""
        self._epochs.pop(name, None)
        return self._remove(name)

    def put(self, name: str, replica: Replica) -> bool:
        """Keep a filter, in place of the one before. Returns whether there is room for it."""
        known = self._replicas.get(name)
        freed = 0 if known is None else known.memory_bytes
        if self.memory_bytes - freed + replica.memory_bytes > self.max_bytes:
            return False
        self._remove(name)
        self._replicas[name] = replica
        self.memory_bytes += replica.memory_bytes
        return True

    def extend(self, name: str, keys: bytes) -> bool:
        """Add keys to a filter. Returns whether there is room for them; if not, nothing of it is kept."""
        replica = self._replicas[name]
        if self.memory_bytes + replica.filter.growth_bytes(len(keys) // KEY_BYTES) > self.max_bytes:
            self._remove(name)
            return False
        self.memory_bytes -= replica.memory_bytes
        replica.extend(keys)
        self.memory_bytes += replica.memory_bytes
        return True

    def _remove(self, name: str) -> Replica | None:
        known = self._replicas.pop(name, None)
        if known is not None:
            self.memory_bytes -= known.memory_bytes
        return known
