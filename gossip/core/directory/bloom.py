"""Bloom filters over 8-byte keys.

A key is the head of a sha256, so it is its own hash. Its two little-endian halves feed *enhanced* double hashing
(position += step, step += i for i = 1, 2, ..., modulo the size). Plain double hashing has up to 900 times as many false
positives as theory says on filters this small; with enhanced hashing the excess is below 3 in a million from 2 KiB on.
Sizes are powers of two, so that a position in a small filter is the low bits of the position in a larger one.

Source: Dillinger and Manolios, "Bloom Filters in Probabilistic Verification" (FMCAD 2004), section 5.2.
"""

import struct
from typing import Final

from ..messages import KEY_BYTES
from ..packets.codec import BITS_LOG2_MAX, BITS_LOG2_MIN

POSITIONS: Final = 8
"""Bits per key. With 16 bits of filter per key at capacity, 1 strange key in 1,750 seems to be in. With 11 bits, the
optimum, it would be 1 in 2,180, and every lookup and addition a third slower."""
CAPACITY_MIN: Final = 1024
"""Keys for which the smallest filter has room."""
HALVES: Final = struct.Struct("<II")
"""A key as its first position and its first step."""
STEPS: Final = tuple(range(1, POSITIONS + 1))
"""By how much the step grows after each position."""


def positions(key: bytes, bits_log2: int) -> list[int]:
    """The 8 positions of a key in a filter of 2 ** bits_log2 bits."""
    mask = (1 << bits_log2) - 1
    position, step = HALVES.unpack_from(key)
    found = []
    for i in STEPS:
        found.append(position & mask)
        position += step
        step += i
    return found


def bits_log2_for(key_count: int, bits_per_key: int, largest: int = BITS_LOG2_MAX) -> int:
    """The size of a filter that has room for `key_count` keys and half as many again, as a power of two of bits."""
    capacity = max(CAPACITY_MIN, (key_count * 3 + 1) // 2)
    capacity_log2 = (capacity - 1).bit_length()
    return max(BITS_LOG2_MIN, min(largest, capacity_log2 + bits_per_key.bit_length() - 1))


class Filter:
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

    def __contains__(self, key: bytes) -> bool:
        bits = self.bits
        return all(bits[position >> 3] >> (position & 7) & 1 for position in positions(key, self.bits_log2))

    def add(self, key: bytes) -> list[int]:
        """Add a key. Returns its positions."""
        found = positions(key, self.bits_log2)
        for position in found:
            self.bits[position >> 3] |= 1 << (position & 7)
        return found


def split_keys(keys: bytes) -> list[bytes]:
    """Single keys from bytes in which they follow each other."""
    return [keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES)]
