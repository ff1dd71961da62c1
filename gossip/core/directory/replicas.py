"""The filters of all members, and the answer to "who may hold this key".

A `Replica` is one member's filter with its version and its newest keys. Members that are not alive keep their bits but
do not count in lookups (module `lookup`).

All of it has one bound of memory. A filter for which there is no room is *blank* here: its version is known, so that
this node's view is equal to that of others, and lookups never find that member. Large filters give way to small ones:
nobody can keep out what others hold by claiming to hold much.
"""

import enum
from typing import Final

from ..messages import KEY_BYTES, Entry, Ops
from ..packets.codec import BITS_LOG2_MIN
from .bloom import Filter, split_keys
from .lookup import Lookup

_REPLICA_BYTES: Final = 1024
"""Bytes of a replica's objects, besides its filter and its log."""
_EXPECTED_SHARE: Final = 1 / 4
"""The share of the memory that may be taken by filters of those who have not proven that they are there."""


class Replica:
    """One member's filter at one version.

    Args:
        epoch: the run of the member.
        generation: counts the member's rebuilds; each starts with an empty filter.
        bits_log2: size of the filter.
        log_keys: newest keys to keep for the repair of others.

    `blank` says that only the version is known, for want of memory: no key seems to be in the filter.
    """

    def __init__(self, epoch: int, generation: int, bits_log2: int, log_keys: int) -> None:
        self.epoch = epoch
        self.generation = generation
        self.sequence = 0
        self.filter = Filter(bits_log2)
        self.blank = False
        self._log = bytearray()
        self._log_max_bytes = log_keys * KEY_BYTES

    @property
    def version(self) -> tuple[int, int, int]:
        """(epoch, generation, sequence); of two the greater is newer."""
        return (self.epoch, self.generation, self.sequence)

    def entry(self, name: str, incarnation: int) -> Entry:
        """The version as messages state it."""
        return Entry(name, self.epoch, incarnation, self.generation, self.sequence)

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return _REPLICA_BYTES + len(self.filter.bits) + self._log_max_bytes

    def extend(self, keys: bytes) -> list[int]:
        """Add keys. Returns the positions of their bits."""
        positions: list[int] = []
        for key in split_keys(keys):
            positions += self.filter.add(key)
        self.sequence += len(keys) // KEY_BYTES
        self._log += keys
        del self._log[: max(0, len(self._log) - self._log_max_bytes)]
        return positions

    def since(self, sequence: int) -> bytes | None:
        """The keys added after `sequence`, or None if the log does not reach back that far."""
        if self.blank:
            return None
        missing = (self.sequence - sequence) * KEY_BYTES
        if not 0 <= missing <= len(self._log):
            return None
        return bytes(self._log[len(self._log) - missing :])

    def load(self, sequence: int, bits: bytes) -> None:
        """Replace the filter by a snapshot, at that sequence."""
        self.sequence = sequence
        self.filter = Filter(self.filter.bits_log2, bits)
        self._log.clear()

    def erase(self) -> None:
        """Keep the version only."""
        self.blank = True
        self.filter = Filter(BITS_LOG2_MIN)
        self._log = bytearray()


class Applied(enum.Enum):
    """What became of an op or a snapshot."""

    NEW = "something in it was new"
    KNOWN = "all of it was known"
    GAP = "something before it is missing"


class Directory:
    """The filters of all other members, and of those who have yet to prove that they are there.

    Args:
        log_keys: newest keys kept per member, for repairs.
        max_bytes: bound of the memory that all of it takes.
    """

    def __init__(self, log_keys: int, max_bytes: int) -> None:
        self._log_keys = log_keys
        self._max_bytes = max_bytes
        self._replicas: dict[str, Replica] = {}
        self._replicas_bytes = 0
        self._expected: set[str] = set()
        self._expected_bytes = 0
        self.lookup = Lookup()

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return self._replicas_bytes + self.lookup.memory_bytes

    @property
    def blanks(self) -> int:
        """Members of which only the version is known, for want of memory."""
        return sum(replica.blank for replica in self._replicas.values())

    def replica(self, name: str) -> Replica | None:
        """A member's filter."""
        return self._replicas.get(name)

    def expect(self, name: str, epoch: int) -> None:
        """Take in the filter of one who is not a member yet; lookups do not find it. A member's own is left alone."""
        if name not in self._replicas:
            self._expected.add(name)
        if name in self._expected and self._is_new(name, epoch):
            self._put(name, self._empty(epoch))

    def begin(self, name: str, epoch: int) -> None:
        """A member is there: start with an empty filter for its run, unless there is one of this run already."""
        if name in self._expected:
            self._expected.discard(name)
            self._expected_bytes -= self._replicas[name].memory_bytes
        if self._is_new(name, epoch):
            self._put(name, self._empty(epoch))
        elif name not in self.lookup:
            self._put(name, self._replicas[name])

    def apply(self, ops: Ops) -> Applied:
        """Add the keys of an op, if it follows what is known of that filter or overlaps with it."""
        known = self._replicas.get(ops.name)
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
        positions = known.extend(ops.keys[(known.sequence - ops.start) * KEY_BYTES :])
        if ops.name in self.lookup:
            self.lookup.set(ops.name, positions)
        return Applied.NEW

    def install(self, entry: Entry, bits_log2: int, bits: bytes) -> Applied:
        """Replace a filter by a newer snapshot."""
        known = self._replicas.get(entry.name)
        if known is None or known.epoch != entry.epoch:
            return Applied.GAP
        if known.version >= entry.filter_version:
            return Applied.KNOWN
        replica = Replica(entry.epoch, entry.generation, bits_log2, self._log_keys)
        replica.load(entry.sequence, bits)
        self._put(entry.name, replica)
        return Applied.NEW

    def note_version(self, name: str, version: tuple[int, int, int]) -> bool:
        """A filter of that version is not to be taken in: it is blank from now on. Returns whether that is news."""
        known, (epoch, generation, sequence) = self._replicas.get(name), version
        if known is None or known.epoch != epoch or known.version >= version:
            return False
        replica = Replica(epoch, generation, BITS_LOG2_MIN, self._log_keys)
        replica.sequence, replica.blank = sequence, True
        self._put(name, replica)
        return True

    def forget(self, name: str) -> None:
        """Drop a filter, whoever's it is, and give its memory back; unknown names are fine."""
        self._remove(name)
        self._expected.discard(name)
        self.lookup.drop(name)

    def forget_expected(self, name: str) -> None:
        """Drop the filter of one who did not prove to be there; a member's is left alone."""
        if name in self._expected:
            self.forget(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts in lookups."""
        self.lookup.count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The names of counted members that may hold the key of at least 8 bytes. Microseconds of local memory."""
        return self.lookup.holders(key)

    def _begin_generation(self, ops: Ops) -> Applied:
        if ops.start != 0:
            return Applied.GAP
        replica = Replica(ops.epoch, ops.generation, ops.bits_log2, self._log_keys)
        replica.extend(ops.keys)
        self._put(ops.name, replica)
        return Applied.NEW

    def _is_new(self, name: str, epoch: int) -> bool:
        known = self._replicas.get(name)
        return known is None or known.epoch != epoch

    def _empty(self, epoch: int) -> Replica:
        return Replica(epoch, 0, BITS_LOG2_MIN, self._log_keys)

    # Memory

    def _put(self, name: str, replica: Replica) -> None:
        """Take a replica in, in place of the one before; it is blank if there is no room for it."""
        self._remove(name)
        expected = name in self._expected
        if not self._make_room(replica, expected):
            replica.erase()
        self._replicas[name] = replica
        self._replicas_bytes += replica.memory_bytes
        if expected:
            self._expected_bytes += replica.memory_bytes
        else:
            self.lookup.put(name, replica.filter)

    def _remove(self, name: str) -> None:
        known = self._replicas.pop(name, None)
        if known is not None:
            self._replicas_bytes -= known.memory_bytes
            if name in self._expected:
                self._expected_bytes -= known.memory_bytes

    def _make_room(self, replica: Replica, expected: bool) -> bool:
        """Whether there is room for a replica, perhaps after larger ones have given way."""
        smallest = replica.filter.bits_log2 == BITS_LOG2_MIN  # what is blank takes as much
        needed = replica.memory_bytes
        if expected:
            return smallest or self._expected_bytes + needed <= _EXPECTED_SHARE * self._max_bytes
        while self.memory_bytes + needed + self.lookup.growth_bytes(replica.filter.bits_log2) > self._max_bytes:
            largest = max(self._replicas, key=lambda name: len(self._replicas[name].filter.bits), default=None)
            if largest is None or len(self._replicas[largest].filter.bits) <= len(replica.filter.bits):
                return smallest
            self._erase(largest)
        return True

    def _erase(self, name: str) -> None:
        replica = self._replicas[name]
        self._remove(name)
        replica.erase()
        self._put(name, replica)
