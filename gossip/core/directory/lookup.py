"""Filters as lookups read them: small ones bit-sliced, large ones one by one.

`Rows` hold the filters of one size bit-sliced: for each position one bitmap of members. A lookup in all of them is then
8 short ANDs, and usually fewer, because it stops at zero. But a row takes dozens of bytes, however few members have a
filter of that size: one filter of 2**22 bits would cost 32 MiB. So large filters are kept as they are, and a lookup
looks into one after the other, which takes about 1 us each. To take one in is then one assignment, however large it is.
"""

import heapq
from typing import Final

from .bloom import HALVES, STEPS, Filter

SLICED_MAX_LOG2: Final = 18
"""Filters of up to this many bits, for 10,900 keys, are bit-sliced. One that is full sets 100,000 bits in 10 ms; if it
were larger, that would be a stall."""
_POINTER_BYTES: Final = 8
_CACHED_SLOTS: Final = 8
"""With so few slots all rows are integers below 257, which Python has once."""
_SLOTS_PER_DIGIT: Final = 30
_INTEGER_BYTES, _DIGIT_BYTES = 24, 4

# For each value of a byte: which of its bits are set.
_ONES: Final = [tuple(bit for bit in range(8) if value >> bit & 1) for value in range(256)]


class Rows:
    """The filters of one size, bit-sliced: row i is the bitmap of the members whose filter has bit i.

    A member is a slot, a bit in every row; slots of forgotten members are used again. Rows are Python's integers: with
    100 members one takes 56 bytes instead of 13, but is read three times as fast as from a flat array.
    """

    def __init__(self, bits_log2: int) -> None:
        self._mask = (1 << bits_log2) - 1
        self._rows = [0] * (1 << bits_log2)
        self._slots: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self._counted = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def memory_bytes(self) -> int:
        """What the rows take at most: each may be an integer of its own, as long as there are slots."""
        return len(self._rows) * _row_bytes(len(self._names))

    def grown_bytes(self) -> int:
        """What the rows take at most with one member more."""
        return len(self._rows) * _row_bytes(len(self._names) + (not self._free))

    def add(self, name: str, bits: bytes | bytearray) -> None:
        """Give a new member a slot with the bits of its filter; it counts in lookups."""
        if not self._free:
            self._free.append(len(self._names))
            self._names.append("")
        slot = heapq.heappop(self._free)
        self._names[slot] = name
        self._slots[name] = slot
        self._counted |= 1 << slot
        self.flip(name, bits)

    def flip(self, name: str, bits: bytes | bytearray) -> None:
        """Invert a member's bits at all positions that are set in `bits`; about 0.1 us for each of those."""
        rows, bit = self._rows, 1 << self._slots[name]
        if bits == bytes(len(bits)):  # as those of a new member are
            return
        for index, byte in enumerate(bits):
            if byte:
                for offset in _ONES[byte]:
                    rows[8 * index + offset] ^= bit

    def set(self, name: str, positions: list[int]) -> None:
        """Set some bits of a member."""
        rows, bit = self._rows, 1 << self._slots[name]
        for position in positions:
            rows[position] |= bit

    def drop(self, name: str, bits: bytes | bytearray) -> None:
        """Free the slot of a member whose filter has these bits."""
        self.count(name, False)
        self.flip(name, bits)
        heapq.heappush(self._free, self._slots.pop(name))

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member's filter counts in lookups."""
        bit = 1 << self._slots[name]
        self._counted = self._counted | bit if counted else self._counted & ~bit

    def lookup(self, position: int, step: int) -> list[str]:
        """The counted members whose filters have all positions of the key with these halves."""
        rows, mask, found = self._rows, self._mask, self._counted
        for i in STEPS:
            found &= rows[position & mask]
            if not found:
                return []
            position += step
            step += i
        return self._members(found)

    def _members(self, bitmap: int) -> list[str]:
        names = []
        while bitmap:
            slot = bitmap.bit_length() - 1
            names.append(self._names[slot])
            bitmap ^= 1 << slot
        return names


class Lookup:
    """The filters in which lookups look, of any sizes.

    `rows` are the bit-sliced ones, by the logarithm of their size.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Rows] = {}
        self._large: dict[str, Filter] = {}
        self._filters: dict[str, Filter] = {}
        self._uncounted: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._filters

    @property
    def memory_bytes(self) -> int:
        """What the rows take at most, without the filters themselves."""
        return sum(rows.memory_bytes for rows in self.rows.values())

    def growth_bytes(self, name: str, bits_log2: int) -> int:
        """By how much the rows grow at most when a member's filter of that size comes."""
        known = self._filters.get(name)
        if bits_log2 > SLICED_MAX_LOG2 or (known is not None and known.bits_log2 == bits_log2):
            return 0
        rows = self.rows.get(bits_log2)
        return (1 << bits_log2) * _row_bytes(1) if rows is None else rows.grown_bytes() - rows.memory_bytes

    def put(self, name: str, filled: Filter) -> None:
        """Let lookups look into a member's filter, in place of the one that it had."""
        known, size = self._filters.get(name), filled.bits_log2
        if known is not None and known.bits_log2 == size <= SLICED_MAX_LOG2:
            self.rows[size].flip(name, _difference(known.bits, filled.bits))
        else:
            self._drop(name)
            if size > SLICED_MAX_LOG2:
                self._large[name] = filled
            else:
                if size not in self.rows:
                    self.rows[size] = Rows(size)
                self.rows[size].add(name, filled.bits)
        self._filters[name] = filled
        self.count(name, name not in self._uncounted)

    def set(self, name: str, positions: list[int]) -> None:
        """Some bits of a member's filter were set; one into which lookups do not look is fine."""
        known = self._filters.get(name)
        if known is not None and known.bits_log2 <= SLICED_MAX_LOG2:
            self.rows[known.bits_log2].set(name, positions)

    def empty(self, name: str) -> None:
        """A member's filter is not here: lookups do not find it until there is another; unknown names are fine."""
        self._drop(name)
        self._filters.pop(name, None)

    def drop(self, name: str) -> None:
        """Look into a member's filter no more; unknown names are fine."""
        self.empty(name)
        self._uncounted.discard(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts in lookups."""
        (self._uncounted.discard if counted else self._uncounted.add)(name)
        known = self._filters.get(name)
        if known is not None and known.bits_log2 <= SLICED_MAX_LOG2:
            self.rows[known.bits_log2].count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The names of counted members that may hold the key of at least 8 bytes."""
        position, step = HALVES.unpack_from(key)
        found: list[str] = []
        for rows in self.rows.values():
            found += rows.lookup(position, step)
        if self._large:
            found += [name for name, it in self._large.items() if key in it and name not in self._uncounted]
        return found

    def _drop(self, name: str) -> None:
        known = self._filters.get(name)
        if known is None:
            return
        if known.bits_log2 > SLICED_MAX_LOG2:
            del self._large[name]
            return
        rows = self.rows[known.bits_log2]
        rows.drop(name, known.bits)
        if not rows:
            del self.rows[known.bits_log2]


def _row_bytes(slots: int) -> int:
    """What one row takes at most."""
    own = 0 if slots <= _CACHED_SLOTS else _INTEGER_BYTES + _DIGIT_BYTES * (1 + slots // _SLOTS_PER_DIGIT)
    return _POINTER_BYTES + own


def _difference(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """The bits that are set in one of two filters of the same size only."""
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")
