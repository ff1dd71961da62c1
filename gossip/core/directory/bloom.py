"""Bloom filters over 8-byte keys: some 2 bytes a key, and a few strange keys that seem to be in."""

from dataclasses import dataclass
from typing import Final

from ..config import FILTER_BITS_PER_KEY_MAX
from ..errors import Rejection, WireError
from ..packets.codec import BITS_LOG2_MAX, BITS_LOG2_MIN, U32_MAX
from .positions import POSITIONS, positions
from .rows import Rows

SLICED_MAX_LOG2: Final = 18
"""Filters of up to this many bits, for 10,900 keys, are bit-sliced. One that is full sets 100,000 bits in 10 ms; if it
were larger, that would be a stall."""
CAPACITY_MIN: Final = 1024
"""Keys for which the smallest filter has room."""
_BITS_PER_KEY_MIN: Final = 4
"""Bits per key of the fullest filters that are taken in; a node makes them with 8 at least."""
_FULL_SHARE: Final = 0.9
"""The share of bits of such a filter that are set, at most: 86 %. One that has more of them says yes to everything."""


def bits_log2_for(key_count: int, bits_per_key: int, largest: int = BITS_LOG2_MAX) -> int:
    """The size of a filter that has room for `key_count` keys and half as many again, as a power of two of bits."""
    capacity = max(CAPACITY_MIN, (key_count * 3 + 1) // 2)
    capacity_log2 = (capacity - 1).bit_length()
    return max(BITS_LOG2_MIN, min(largest, capacity_log2 + bits_per_key.bit_length() - 1))


class BloomFilter:
    """A set of keys that never says no to a key that it has, and says yes to a few that it does not have.

    Args:
        bits_log2: 14 to 26; the filter has 2 ** bits_log2 bits, bit i is bit i % 8 of byte i // 8.
        bits: its bytes, if it is not empty.
    """

    def __init__(self, bits_log2: int, bits: bytes | None = None) -> None:
        self.bits_log2 = bits_log2
        self.bits = bytearray(bits) if bits is not None else bytearray(1 << (bits_log2 - 3))
        if len(self.bits) != 1 << (bits_log2 - 3):
            raise ValueError(f"a filter of 2**{bits_log2} bits does not have {len(self.bits)} bytes")

    @property
    def together(self) -> bool:
        """Whether it is bit-sliced for lookups."""
        return self.bits_log2 <= SLICED_MAX_LOG2

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return len(self.bits)

    def growth_bytes(self, key_count: int) -> int:
        """Nothing: all its bits are there."""
        return 0

    def __contains__(self, key: bytes) -> bool:
        bits = self.bits
        return all(bits[position >> 3] >> (position & 7) & 1 for position in positions(key, self.bits_log2))

    def add(self, key: bytes) -> list[int]:
        """Add a key. Returns its positions."""
        found = positions(key, self.bits_log2)
        for position in found:
            self.bits[position >> 3] |= 1 << (position & 7)
        return found

    def packed(self) -> bytes:
        """Its bytes."""
        return bytes(self.bits)


@dataclass(frozen=True, slots=True)
class BloomRules:
    """How Bloom filters are sized, checked and made.

    Args:
        bits_per_key: of filters that this node makes, for each slot of their capacity.
        bits_log2_max: the largest filter that this node makes or takes in.
    """

    bits_per_key: int
    bits_log2_max: int

    @property
    def smallest(self) -> int:
        """The size of an empty filter."""
        return BITS_LOG2_MIN

    @property
    def room(self) -> int:
        """How many keys the largest filter has room for: with more it would say yes to everything."""
        return (1 << self.bits_log2_max) // self.bits_per_key

    def size_for(self, key_count: int) -> int:
        """The size of a filter that has room for these keys and half as many again."""
        return bits_log2_for(key_count, self.bits_per_key, self.bits_log2_max)

    def is_outgrown(self, bits_log2: int, key_count: int) -> bool:
        """Whether the keys are more than the capacity, and a larger filter is allowed."""
        return key_count > (1 << bits_log2) // self.bits_per_key and bits_log2 < self.bits_log2_max

    def packed_bytes(self, bits_log2: int, key_count: int) -> int:
        """The length of a filter as it travels."""
        return 1 << (bits_log2 - 3)

    def check(self, bits_log2: int, key_count: int) -> None:
        """Refuse what has more bits than its keys need, or too few for them.

        Raises:
            WireError: it has.
        """
        if key_count > U32_MAX or bits_log2 > bits_log2_for(key_count, FILTER_BITS_PER_KEY_MAX):
            raise WireError(Rejection.FILTER, f"a filter of 2**{bits_log2} bits for {key_count} keys")
        if key_count > (1 << bits_log2) // _BITS_PER_KEY_MIN:
            raise WireError(Rejection.FILTER, f"a filter of only 2**{bits_log2} bits for {key_count} keys")

    def excess(self, bits_log2: int, key_count: int) -> str:
        """By what a filter is larger than this node's settings allow, in words."""
        if bits_log2 <= self.bits_log2_max:
            return ""
        return f"a filter of 2**{bits_log2} bits, where 2**{self.bits_log2_max} are allowed"

    def empty(self, bits_log2: int) -> BloomFilter:
        """A filter without keys."""
        return BloomFilter(bits_log2)

    def unpack(self, bits_log2: int, key_count: int, packed: bytes) -> BloomFilter:
        """A filter that came over a stream.

        Raises:
            WireError: more of its bits are set than its keys can have set, or nearly all.
        """
        ones = int.from_bytes(packed, "little").bit_count()
        if ones > min(POSITIONS * key_count, _FULL_SHARE * (1 << bits_log2)):
            raise WireError(Rejection.FILTER, f"a filter of 2**{bits_log2} bits, {ones} of them set")
        return BloomFilter(bits_log2, packed)

    def index(self, bits_log2: int) -> Rows:
        """An empty bit-sliced table."""
        return Rows(bits_log2)
