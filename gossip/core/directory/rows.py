"""Bloom filters of one size, bit-sliced: for each position one bitmap of members.

A lookup in all of them is 8 short ANDs, and usually fewer, because it stops at zero. But a row takes dozens of bytes,
however few members have a filter of that size: one filter of 2**22 bits would cost 32 MiB.
"""

from collections.abc import Sequence
from typing import Final

from .filters import Filter
from .positions import HALVES, STEPS
from .slots import Slots

_POINTER_BYTES: Final = 8
_CACHED_SLOTS: Final = 8
"""With so few slots all rows are integers below 257, which Python has once."""
_SLOTS_PER_DIGIT: Final = 30
_INTEGER_BYTES, _DIGIT_BYTES = 24, 4

# For each value of a byte: which of its bits are set.
_ONES: Final = [tuple(bit for bit in range(8) if value >> bit & 1) for value in range(256)]


class Rows:
    """The index of Bloom filters of one size: row i is the bitmap of the members whose filter has bit i.

    A member is a slot, a bit in every row. Rows are Python's integers: with 100 members one takes 56 bytes instead of
    13, but is read three times as fast as from a flat array. Without members there are no rows.
    """

    def __init__(self, bits_log2: int) -> None:
        self._size = 1 << bits_log2
        self._mask = self._size - 1
        self._rows: list[int] = []
        self._slots = Slots()

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def memory_bytes(self) -> int:
        """What the rows take at most: each may be an integer of its own, as long as there are slots."""
        return len(self._rows) * _row_bytes(self._slots.width)

    def growth_bytes(self, known: Filter | None, filled: Filter) -> int:
        """By how much that grows at most with one member more; a filter in place of another takes its rows."""
        return self._size * _row_bytes(self._slots.next_width) - self.memory_bytes if known is None else 0

    def extension_bytes(self, key_count: int) -> int:
        """Nothing: all rows are there."""
        return 0

    def add(self, name: str, filled: Filter) -> None:
        """Give a new member a slot with the bits of its filter; it counts in lookups."""
        if not self._rows:
            self._rows = [0] * self._size
        self._slots.take(name)
        self._flip(name, filled.packed())

    def replace(self, name: str, known: Filter, filled: Filter) -> None:
        """Invert a member's bits where two filters differ."""
        one, other = known.packed(), filled.packed()
        difference = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
        self._flip(name, difference.to_bytes(len(one), "little"))

    def set(self, name: str, positions: Sequence[int]) -> None:
        """Set some bits of a member."""
        rows, bit = self._rows, 1 << self._slots[name]
        for position in positions:
            rows[position] |= bit

    def drop(self, name: str, known: Filter) -> None:
        """Free the slot of a member whose filter is known."""
        self._flip(name, known.packed())
        self._slots.give_back(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member's filter counts in lookups."""
        self._slots.count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The counted members whose filters have all positions of the key."""
        rows, mask, found = self._rows, self._mask, self._slots.counted
        position, step = HALVES.unpack_from(key)
        for i in STEPS:
            found &= rows[position & mask]
            if not found:
                return []
            position += step
            step += i
        return self._slots.names(found)

    def _flip(self, name: str, bits: bytes) -> None:
        """Invert a member's bits at all positions that are set in `bits`; about 0.1 us for each of those."""
        rows, bit = self._rows, 1 << self._slots[name]
        if bits == bytes(len(bits)):  # as those of a new member are
            return
        for index, byte in enumerate(bits):
            if byte:
                for offset in _ONES[byte]:
                    rows[8 * index + offset] ^= bit


def _row_bytes(slots: int) -> int:
    """What one row takes at most."""
    own = 0 if slots <= _CACHED_SLOTS else _INTEGER_BYTES + _DIGIT_BYTES * (1 + slots // _SLOTS_PER_DIGIT)
    return _POINTER_BYTES + own
