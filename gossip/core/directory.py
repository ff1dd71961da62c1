"""Everybody's filters, and the answer to "who may hold this key".

A `Replica` is one member's filter with its version and its newest keys. `Rows` hold the filters of one size turned by
90 degrees: for each position one bitmap of members, so that a lookup over all of them is 11 short ANDs, and usually
two, for it stops at zero. There is one `Rows` per filter size in use. Members that are not alive keep their bits but do
not count.
"""

import enum
import heapq
import struct
import sys
from typing import Final, Literal

from .bloom import POSITIONS, Filter, split_keys
from .messages import KEY_BYTES, Entry, Ops
from .wire import BITS_LOG2_MIN

_HALVES: Final = struct.Struct("<II")
_STEPS: Final = tuple(range(1, POSITIONS + 1))
_WORD_BYTES: Final = 8
_WORD_BITS: Final = 64
_WORD: Final = (1 << _WORD_BITS) - 1


class Replica:
    """One member's filter at one version.

    Args:
        epoch: the run of the member.
        generation: counts the member's rebuilds; each starts with an empty filter.
        bits_log2: size of the filter.
        log_keys: newest keys to keep for the repair of others.
    """

    def __init__(self, epoch: int, generation: int, bits_log2: int, log_keys: int) -> None:
        self.epoch = epoch
        self.generation = generation
        self.sequence = 0
        self.filter = Filter(bits_log2)
        self._log = bytearray()
        self._log_max_bytes = log_keys * KEY_BYTES

    @property
    def version(self) -> tuple[int, int, int]:
        """(epoch, generation, sequence); of two the greater is newer."""
        return (self.epoch, self.generation, self.sequence)

    def entry(self, name: str, incarnation: int) -> Entry:
        """The version as messages state it."""
        return Entry(name, self.epoch, incarnation, self.generation, self.sequence)

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
        missing = (self.sequence - sequence) * KEY_BYTES
        if not 0 <= missing <= len(self._log):
            return None
        return bytes(self._log[len(self._log) - missing :])

    def load(self, sequence: int, bits: bytes) -> None:
        """Replace the filter by a snapshot, at that sequence."""
        self.sequence = sequence
        self.filter = Filter(self.filter.bits_log2, bits)
        self._log.clear()


class Rows:
    """The filters of one size, bit-sliced: row i is the bitmap of the members whose filter has bit i.

    All rows stand in one bytearray, each an integer of `width` bytes in the machine's order: up to 64 members a row is
    read by one index into a view, which is twice as fast as a slice. A member is a slot, a bit in every row; slots of
    members that went are used again, and the width doubles when all are taken.
    """

    def __init__(self, bits_log2: int) -> None:
        self._rows = 1 << bits_log2
        self._width = 1
        self._flat = bytearray(self._rows)
        self._view: memoryview | None = memoryview(self._flat)
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = [None] * 8
        self._free = list(range(8))
        self._counted = 0

    def __len__(self) -> int:
        return len(self._slots)

    def replace(self, name: str, bits: bytes | bytearray) -> None:
        """Set a member's whole column; a new member gets a slot, and counts."""
        slot = self._slots.get(name)
        if slot is None:
            slot = self._take_slot(name)
            if not any(bits):  # the column of a free slot is empty already
                return
        column, bit = self._column(slot), 1 << (slot & 7)
        others = self._flat[column :: self._width].translate(_CLEAR[bit])
        ours = b"".join(map(_SPREAD[bit].__getitem__, bits))
        merged = int.from_bytes(others, "little") | int.from_bytes(ours, "little")
        self._flat[column :: self._width] = merged.to_bytes(self._rows, "little")

    def set(self, name: str, positions: list[int]) -> None:
        """Set some bits of a member that has a slot."""
        slot = self._slots[name]
        flat, width, column, bit = self._flat, self._width, self._column(slot), 1 << (slot & 7)
        for position in positions:
            flat[position * width + column] |= bit

    def drop(self, name: str) -> None:
        """Free a member's slot."""
        slot = self._slots.pop(name)
        self._names[slot] = None
        heapq.heappush(self._free, slot)
        self._counted &= ~(1 << slot)
        column = self._column(slot)
        self._flat[column :: self._width] = self._flat[column :: self._width].translate(_CLEAR[1 << (slot & 7)])

    def count(self, name: str, counted: bool) -> None:
        """Let a member's filter count in lookups, or not."""
        bit = 1 << self._slots[name]
        self._counted = self._counted | bit if counted else self._counted & ~bit

    def lookup(self, position: int, step: int) -> list[str]:
        """The counted members whose filters have all positions of the hash (`position`, `step`).

        The hash is computed modulo 2**32, of which every filter size is a divisor: nothing needs to be cut off here.
        """
        if self._view is None:
            return self._lookup_wide(position, step)
        if self._width > _WORD_BYTES:
            return self._lookup_two_words(position, step)
        view, mask, found = self._view, self._rows - 1, self._counted
        for i in _STEPS:
            found &= view[position & mask]
            if not found:
                return []
            position += step
            step += i
        return self._members(found)

    def _lookup_two_words(self, position: int, step: int) -> list[str]:
        """The same for rows of two words, whichever of them the machine puts first."""
        view, mask, counted = self._view, 2 * self._rows - 2, self._counted
        assert view is not None
        first, second = counted & _WORD, counted >> _WORD_BITS
        if sys.byteorder == "big":
            first, second = second, first
        position, step = 2 * position, 2 * step
        for i in _STEPS:
            row = position & mask
            first &= view[row]
            second &= view[row + 1]
            if not first and not second:
                return []
            position += step
            step += 2 * i
        if sys.byteorder == "big":
            first, second = second, first
        return self._members(second << _WORD_BITS | first)

    def _lookup_wide(self, position: int, step: int) -> list[str]:
        flat, width, mask, found = self._flat, self._width, self._rows - 1, self._counted
        for i in _STEPS:
            start = (position & mask) * width
            found &= int.from_bytes(flat[start : start + width], sys.byteorder)
            if not found:
                return []
            position += step
            step += i
        return self._members(found)

    def _members(self, bitmap: int) -> list[str]:
        names = []
        while bitmap:
            low = bitmap & -bitmap
            name = self._names[low.bit_length() - 1]
            assert name is not None
            names.append(name)
            bitmap ^= low
        return names

    def _column(self, slot: int) -> int:
        """The byte of a row in which a slot's bit is."""
        return slot >> 3 if sys.byteorder == "little" else self._width - 1 - (slot >> 3)

    def _take_slot(self, name: str) -> int:
        if not self._free:
            self._widen()
        slot = heapq.heappop(self._free)
        self._names[slot] = name
        self._slots[name] = slot
        self._counted |= 1 << slot
        return slot

    def _widen(self) -> None:
        narrow, width = self._flat, self._width
        self._width = 2 * width
        self._flat = bytearray(self._rows * self._width)
        shift = 0 if sys.byteorder == "little" else width
        for byte in range(width):
            self._flat[byte + shift :: self._width] = narrow[byte::width]
        self._free += range(len(self._names), 2 * len(self._names))
        self._names += [None] * len(self._names)
        self._view = memoryview(self._flat).cast(_FORMATS[self._width]) if self._width in _FORMATS else None


_FORMATS: Final[dict[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "Q"}
# For each bit of a byte: a table that clears it, and one that spreads a filter's byte over eight rows.
_CLEAR: Final = {1 << b: bytes(value & ~(1 << b) for value in range(256)) for b in range(8)}
_SPREAD: Final = {1 << b: [bytes((value >> i & 1) << b for i in range(8)) for value in range(256)] for b in range(8)}


class Applied(enum.Enum):
    """What became of an op or a snapshot."""

    NEW = "it brought something new"
    KNOWN = "all of it was known"
    GAP = "something before it is missing"


class Directory:
    """The filters of all other members.

    Args:
        log_keys: newest keys kept per member, for repairs.
    """

    def __init__(self, log_keys: int) -> None:
        self._log_keys = log_keys
        self._replicas: dict[str, Replica] = {}
        self._rows: dict[int, Rows] = {}
        self._hidden: set[str] = set()

    def replica(self, name: str) -> Replica | None:
        """A member's filter."""
        return self._replicas.get(name)

    def begin(self, name: str, epoch: int) -> None:
        """Start with an empty filter for a member's run, unless it is this run's already."""
        known = self._replicas.get(name)
        if known is None or known.epoch != epoch:
            self._put(name, Replica(epoch, 0, BITS_LOG2_MIN, self._log_keys))

    def apply(self, ops: Ops) -> Applied:
        """Add the keys of an op that is the next one of its filter, or overlaps it."""
        known = self._replicas.get(ops.name)
        if known is None or ops.epoch != known.epoch:
            return Applied.KNOWN if known and ops.epoch < known.epoch else Applied.GAP
        if ops.generation < known.generation:
            return Applied.KNOWN
        if ops.generation > known.generation:
            return self._begin_generation(ops)
        if ops.end <= known.sequence:
            return Applied.KNOWN
        if ops.start > known.sequence or ops.bits_log2 != known.filter.bits_log2:
            return self._begin_generation(ops) if known.sequence == 0 else Applied.GAP
        positions = known.extend(ops.keys[(known.sequence - ops.start) * KEY_BYTES :])
        self._rows[ops.bits_log2].set(ops.name, positions)
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

    def forget(self, name: str) -> None:
        """Drop a member's filter."""
        replica = self._replicas.pop(name, None)
        if replica is not None:
            self._drop_row(name, replica)
            self._hidden.discard(name)

    def count(self, name: str, counted: bool) -> None:
        """Let a member count in lookups, or not."""
        (self._hidden.discard if counted else self._hidden.add)(name)
        self._rows[self._replicas[name].filter.bits_log2].count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The names of counted members that may hold the key of at least 8 bytes. Microseconds of local memory."""
        position, step = _HALVES.unpack_from(key)
        found: list[str] = []
        for rows in self._rows.values():
            found += rows.lookup(position, step)
        return found

    def _begin_generation(self, ops: Ops) -> Applied:
        if ops.start != 0:
            return Applied.GAP
        replica = Replica(ops.epoch, ops.generation, ops.bits_log2, self._log_keys)
        replica.extend(ops.keys)
        self._put(ops.name, replica)
        return Applied.NEW

    def _put(self, name: str, replica: Replica) -> None:
        known = self._replicas.get(name)
        if known is not None and known.filter.bits_log2 != replica.filter.bits_log2:
            self._drop_row(name, known)
        self._replicas[name] = replica
        size = replica.filter.bits_log2
        if size not in self._rows:
            self._rows[size] = Rows(size)
        self._rows[size].replace(name, replica.filter.bits)
        self._rows[size].count(name, name not in self._hidden)

    def _drop_row(self, name: str, replica: Replica) -> None:
        size = replica.filter.bits_log2
        self._rows[size].drop(name)
        if not self._rows[size]:
            del self._rows[size]
