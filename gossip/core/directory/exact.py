"""Sets of the keys themselves: 8 bytes a key, and no strange key seems to be in.

They are there to compare Bloom filters with. A key is seen as the one bit that it sets in a filter of 2**64 bits, of
which only the numbers of set bits are kept, in ascending order. 8 bytes of a sha256 are never equal by chance.
"""

import struct
import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ..errors import Rejection, WireError
from ..messages import KEY_BYTES
from ..packets.codec import BITS_LOG2_EXACT, BITS_LOG2_MAX
from .filters import Filter
from .slots import Slots

_NUMBER: Final = struct.Struct(">Q")
"""A key as a number."""
_KEY_BITS_LOG2: Final = 6
"""64 bits a key: in place of a Bloom filter of so many bits a set of keys takes as much memory."""
_TOGETHER_MAX: Final = 16_384
"""Keys of a set that lookups read together with others. To take so many in, or out, takes 10 ms; more would be a
stall."""
_BUCKETS_LOG2: Final = 12
"""Numbers with the same first 12 bits are in one bucket: 250 of them with a million in all, so that one more is put in
between within a microsecond."""
_SLOT_BITS: Final = 12
"""Bits of a word for the member's slot, in place of those that the bucket tells: `members_max` is 4,096 at most."""
_REST_BITS: Final = 64 - _BUCKETS_LOG2
_REST: Final = (1 << _REST_BITS) - 1
_SLOT: Final = (1 << _SLOT_BITS) - 1
_BUCKET_BYTES: Final = 80 + 64
"""An array's own bytes, and what it has in reserve besides a sixteenth of its length."""


class ExactFilter:
    """A set of keys.

    Args:
        numbers: its keys as numbers, in ascending order.
    """

    bits_log2 = BITS_LOG2_EXACT

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.numbers = array("Q", numbers)

    @property
    def together(self) -> bool:
        """Whether it is small enough to be in a table with others."""
        return len(self.numbers) <= _TOGETHER_MAX

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return _array_bytes(len(self.numbers))

    def growth_bytes(self, key_count: int) -> int:
        """By how much that grows at most with so many keys more."""
        return _array_bytes(len(self.numbers) + key_count) - self.memory_bytes

    def __contains__(self, key: bytes) -> bool:
        number: int = _NUMBER.unpack_from(key)[0]
        at = bisect_left(self.numbers, number)
        return at < len(self.numbers) and self.numbers[at] == number

    def add(self, key: bytes) -> list[int]:
        """Add a key, also one that is in already: a set has as many keys as were added. Returns its number."""
        number: int = _NUMBER.unpack(key)[0]
        insort(self.numbers, number)
        return [number]

    def packed(self) -> bytes:
        """Its keys, in ascending order."""
        return _big_endian(self.numbers).tobytes()


@dataclass(frozen=True, slots=True)
class ExactRules:
    """How sets of keys are checked and made.

    Args:
        bits_log2_max: the largest set has as many bits as the largest Bloom filter, 64 a key.
    """

    bits_log2_max: int

    @property
    def smallest(self) -> int:
        """All sets have this size: that of a filter in which each key has a bit of its own."""
        return BITS_LOG2_EXACT

    @property
    def room(self) -> int:
        """How many keys the largest set has room for."""
        return 1 << (self.bits_log2_max - _KEY_BITS_LOG2)

    def size_for(self, key_count: int) -> int:
        """The same for all."""
        return BITS_LOG2_EXACT

    def is_outgrown(self, bits_log2: int, key_count: int) -> bool:
        """Never: a set grows with its keys."""
        return False

    def packed_bytes(self, bits_log2: int, key_count: int) -> int:
        """The length of a set as it travels."""
        return key_count * KEY_BYTES

    def check(self, bits_log2: int, key_count: int) -> None:
        """Refuse Bloom filters, and sets with more keys than any node has.

        Raises:
            WireError: it is one of these.
        """
        if bits_log2 != BITS_LOG2_EXACT:
            raise WireError(Rejection.FILTER, f"a Bloom filter of 2**{bits_log2} bits, where keys are published")
        if key_count > 1 << (BITS_LOG2_MAX - _KEY_BITS_LOG2):
            raise WireError(Rejection.FILTER, f"a set of {key_count} keys, more than any node has")

    def excess(self, bits_log2: int, key_count: int) -> str:
        """By what a set is larger than this node's settings allow, in words."""
        return "" if key_count <= self.room else f"a set of {key_count} keys, where {self.room} are allowed"

    def empty(self, bits_log2: int) -> ExactFilter:
        """A set without keys."""
        return ExactFilter()

    def unpack(self, bits_log2: int, key_count: int, packed: bytes) -> ExactFilter:
        """A set that came over a stream.

        Raises:
            WireError: it does not have that many keys, or they are not in ascending order.
        """
        if len(packed) != key_count * KEY_BYTES:
            raise WireError(Rejection.FILTER, f"{len(packed)} bytes for {key_count} keys")
        numbers = array("Q", packed)
        numbers = _big_endian(numbers)
        if any(one > other for one, other in pairwise(numbers)):
            raise WireError(Rejection.FILTER, "a set of keys that are not in ascending order")
        return ExactFilter(numbers)

    def index(self, bits_log2: int) -> "KeyTable":
        """An empty table."""
        return KeyTable()


class KeyTable:
    """The index of sets of keys: for each key of each member one word, with the key and the member's slot.

    Words are sorted within buckets, so that those of one key follow each other. The bucket stands for the key's first
    bits, a word has the others and the slot: nothing of a key is lost.
    """

    def __init__(self) -> None:
        self._buckets: list[array[int] | None] = []
        self._slots = Slots()
        self._words = self._in_use = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def memory_bytes(self) -> int:
        """What the table takes at most."""
        return _table_bytes(self._in_use, self._words) if self._buckets else 0

    def growth_bytes(self, known: Filter | None, filled: Filter) -> int:
        """By how much that grows at most with a member's set, perhaps in place of one that is known."""
        more = len(_numbers(filled)) - (0 if known is None else len(_numbers(known)))
        return self._with(max(0, more)) - self.memory_bytes

    def extension_bytes(self, key_count: int) -> int:
        """By how much that grows at most with so many keys more."""
        return self._with(key_count) - self.memory_bytes

    def add(self, name: str, filled: Filter) -> None:
        """Give a new member a slot, with its keys; it counts in lookups."""
        if not self._buckets:
            self._buckets = [None] * (1 << _BUCKETS_LOG2)
        self._slots.take(name)
        self.set(name, _numbers(filled))

    def replace(self, name: str, known: Filter, filled: Filter) -> None:
        """Put the keys of one set in the place of those of the other."""
        before, after = set(_numbers(known)), set(_numbers(filled))
        self._unset(name, before - after)
        self.set(name, after - before)

    def set(self, name: str, positions: Iterable[int]) -> None:
        """Add keys of a member, as numbers; those that it has already are fine."""
        slot, buckets = self._slots[name], self._buckets
        for number in positions:
            word = (number & _REST) << _SLOT_BITS | slot
            bucket = buckets[number >> _REST_BITS]
            if bucket is None:
                bucket = buckets[number >> _REST_BITS] = array("Q")
                self._in_use += 1
            at = bisect_left(bucket, word)
            if at == len(bucket) or bucket[at] != word:
                bucket.insert(at, word)
                self._words += 1

    def drop(self, name: str, known: Filter) -> None:
        """Free the slot of a member whose set is known."""
        self._unset(name, _numbers(known))
        self._slots.give_back(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member's keys count in lookups."""
        self._slots.count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The counted members that have the key."""
        number: int = _NUMBER.unpack_from(key)[0]
        bucket = self._buckets[number >> _REST_BITS]
        if bucket is None:
            return []
        first = (number & _REST) << _SLOT_BITS
        found, counted, name_of = list[str](), self._slots.counted, self._slots.name
        for word in bucket[bisect_left(bucket, first) :]:
            slot = word - first
            if slot > _SLOT:
                break
            if counted >> slot & 1:
                found.append(name_of(slot))
        return found

    def _unset(self, name: str, numbers: Iterable[int]) -> None:
        """Remove keys of a member; those that it does not have are fine."""
        slot, buckets, touched = self._slots[name], self._buckets, set[int]()
        for number in numbers:
            word, at_bucket = (number & _REST) << _SLOT_BITS | slot, number >> _REST_BITS
            bucket = buckets[at_bucket]
            if bucket is None:
                continue
            at = bisect_left(bucket, word)
            if at < len(bucket) and bucket[at] == word:
                del bucket[at]
                self._words -= 1
                touched.add(at_bucket)
        for at_bucket in touched:
            left = buckets[at_bucket]
            buckets[at_bucket] = left[:] if left else None  # an array never gives back what it had
            self._in_use -= not left

    def _with(self, more: int) -> int:
        """What the table takes at most with so many words more."""
        return _table_bytes(min(self._in_use + more, 1 << _BUCKETS_LOG2), self._words + more)


def _numbers(filled: Filter) -> Sequence[int]:
    """The keys of a set; a table has no other filters."""
    assert isinstance(filled, ExactFilter)
    return filled.numbers


def _table_bytes(buckets: int, words: int) -> int:
    return (8 << _BUCKETS_LOG2) + buckets * _BUCKET_BYTES + (words + (words >> 4)) * 8


def _array_bytes(length: int) -> int:
    """What an array of that length takes at most, which grows by a sixteenth when it is full."""
    return _BUCKET_BYTES + (length + (length >> 4)) * 8


def _big_endian(numbers: "array[int]") -> "array[int]":
    """The same numbers, with their bytes in the order in which they travel; or back."""
    turned = numbers[:]
    if sys.byteorder == "little":
        turned.byteswap()
    return turned
