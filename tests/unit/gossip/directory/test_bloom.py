"""Bloom filters over keys of 8 bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.directory.bloom import BloomFilter, bits_log2_for
from gossip.core.directory.filters import split_keys
from gossip.core.directory.positions import POSITIONS, positions

keys = st.binary(min_size=8, max_size=8)


@given(st.lists(keys, max_size=50), st.integers(14, 18))
def test_what_was_added_is_in(added: list[bytes], bits_log2: int) -> None:
    filled = BloomFilter(bits_log2)
    for key in added:
        filled.add(key)
    assert all(key in filled for key in added)
    assert all(key in BloomFilter(bits_log2, bytes(filled.bits)) for key in added)


@given(keys)
def test_positions_of_a_small_filter_are_the_low_bits_of_a_large_ones(key: bytes) -> None:
    large = positions(key, 26)
    assert len(large) == POSITIONS
    assert positions(key, 14) == [position % 2**14 for position in large]


@pytest.mark.parametrize("count", [100, 1024, 4096])
def test_few_that_were_not_added_seem_to_be_in(count: int) -> None:
    rng = random.Random(count)
    filled = BloomFilter(bits_log2_for(count * 2 // 3, 16))
    for _ in range(count):
        filled.add(rng.randbytes(8))
    assert sum(rng.randbytes(8) in filled for _ in range(40_000)) <= 40  # at capacity theory says 18


@pytest.mark.parametrize(("count", "bits_log2"), [(0, 14), (682, 14), (683, 15), (1365, 15), (1366, 16), (10**9, 26)])
def test_sizes_leave_room_for_half_as_many_again(count: int, bits_log2: int) -> None:
    assert bits_log2_for(count, 16) == bits_log2


def test_a_filter_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        BloomFilter(14, bytes(2047))


def test_keys_that_stand_together_are_split() -> None:
    assert split_keys(bytes(range(24))) == [bytes(range(8)), bytes(range(8, 16)), bytes(range(16, 24))]
