"""The filters of all members, and the answer to "who may hold this key".

A `Replica` is one member's filter with its version and its newest keys. Members that are not alive keep their bits but
do not count in lookups (module `lookup`). All of it has one bound of memory (module `memory`).
"""

import enum
from typing import Final

from ..messages import KEY_BYTES, Entry, Ops
from .filters import NO_FILTER, Filter, FilterRules
from .memory import ExpectedFilters, MemberFilters
from .replica import Replica

_EXPECTED_SHARE: Final = 1 / 8
"""The share of the memory for the filters of those who have not proven that they are there: 100 with 10,000 keys."""


class Applied(enum.Enum):
    """What became of an op or a snapshot."""

    NEW = "something in it was new"
    KNOWN = "all of it was known"
    GAP = "something before it is missing"


class Directory:
    """The filters of all other members, and of those who have yet to prove that they are there.

    Args:
        rules: of the kind of filters that members publish.
        log_keys: newest keys kept per member, for repairs.
        max_bytes: bound of the memory that all of it takes; at least twice `REPLICA_BYTES` for each member.
        members_max: how many members there may be. The version of each is known, whatever the others' filters take.
    """

    def __init__(self, rules: FilterRules, log_keys: int, max_bytes: int, members_max: int) -> None:
        self._rules = rules
        self._log_keys = log_keys
        self._expected = ExpectedFilters(int(_EXPECTED_SHARE * max_bytes))
        self._members = MemberFilters(max_bytes - self._expected.max_bytes, members_max, rules.index)
        self.lookup = self._members.lookup

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return self._members.memory_bytes + self._expected.memory_bytes

    @property
    def blanks(self) -> int:
        """Members of which only the version is known, for want of memory."""
        return self._members.blanks

    def replica(self, name: str) -> Replica | None:
        """The filter of a member, or of one who is expected."""
        return self._members.get(name) or self._expected.get(name)

    def expect(self, name: str, epoch: int) -> None:
        """Take in the filter of one who is not a member yet, when it comes; lookups do not find it.

        A member's own is left alone.
        """
        if self._members.get(name) is None:
            self._expected.add(name, epoch)

    def begin(self, name: str, epoch: int) -> None:
        """A member is there: start with an empty filter for its run, unless there is one of this run already."""
        early = self._expected.take(name)
        known = self._members.get(name)
        if known is None or known.epoch != epoch:
            self._members.put(name, early if early is not None and early.epoch == epoch else self._empty(epoch))

    def apply(self, ops: Ops) -> Applied:
        """Add the keys of an op, if it follows what is known of that filter or overlaps with it."""
        known = self._known(ops.name, ops.epoch)
        if known is None or ops.epoch != known.epoch:
            return Applied.KNOWN if known and ops.epoch < known.epoch else Applied.GAP
        if ops.generation < known.generation:
            return Applied.KNOWN
        if ops.generation > known.generation:
            return self._begin_generation(ops)
        if ops.end <= known.sequence:
            return Applied.KNOWN
        if known.blank:
            known.sequence = ops.end
            return Applied.NEW
        if ops.start > known.sequence or ops.bits_log2 != known.filter.bits_log2:
            return self._begin_generation(ops) if known.sequence == 0 else Applied.GAP
        keys = ops.keys[(known.sequence - ops.start) * KEY_BYTES :]
        kept = self._expected if self._members.get(ops.name) is None else self._members
        return Applied.NEW if kept.extend(ops.name, keys) else Applied.GAP

    def is_next(self, ops: Ops) -> bool:
        """Whether nothing is missing before an op: it begins a filter, or goes on with the one that is known."""
        known = self.replica(ops.name)
        same = known is not None and (known.epoch, known.generation) == (ops.epoch, ops.generation)
        return ops.start == 0 or (known is not None and same and ops.start <= known.sequence)

    def install(self, entry: Entry, filled: Filter) -> Applied:
        """Replace a filter by a newer snapshot."""
        known = self._known(entry.name, entry.epoch)
        if known is None or known.epoch != entry.epoch:
            return Applied.GAP
        if known.version >= entry.filter_version:
            return Applied.KNOWN
        replica = Replica(entry.epoch, entry.generation, filled, self._log_keys)
        replica.sequence = entry.sequence
        self._put(entry.name, replica)
        return Applied.NEW

    def note_version(self, name: str, version: tuple[int, int, int]) -> bool:
        """A filter of that version is not to be taken in: it is blank from now on. Returns whether that is news."""
        epoch, generation, sequence = version
        known = self._known(name, epoch)
        if known is None or known.epoch != epoch or known.version >= version:
            return False
        replica = Replica(epoch, generation, NO_FILTER, self._log_keys)
        replica.erase()
        replica.sequence = sequence
        self._put(name, replica)
        return True

    def forget(self, name: str) -> None:
        """Drop a filter, whoever's it is, and give its memory back; unknown names are fine."""
        self._members.drop(name)
        self._expected.take(name)

    def forget_expected(self, name: str) -> None:
        """Drop the filter of one who did not prove to be there; a member's is left alone."""
        self._expected.take(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts in lookups."""
        self.lookup.count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The names of counted members that may hold the key of at least 8 bytes. Microseconds of local memory."""
        return self.lookup.holders(key)

    def _known(self, name: str, epoch: int) -> Replica | None:
        """The filter that something was heard of; an empty one if it is the first that is heard of who is expected."""
        known = self.replica(name)
        if known is None and self._expected.epoch(name) == epoch:
            known = self._empty(epoch)
            if not self._expected.put(name, known):
                return None
        return known

    def _begin_generation(self, ops: Ops) -> Applied:
        if ops.start != 0:
            return Applied.GAP
        replica = Replica(ops.epoch, ops.generation, self._rules.empty(ops.bits_log2), self._log_keys)
        replica.extend(ops.keys)
        self._put(ops.name, replica)
        return Applied.NEW

    def _empty(self, epoch: int) -> Replica:
        return Replica(epoch, 0, self._rules.empty(self._rules.smallest), self._log_keys)

    def _put(self, name: str, replica: Replica) -> None:
        if self._expected.epoch(name) is None:
            self._members.put(name, replica)
        else:
            self._expected.put(name, replica)
