"""Everybody's filters, and lookups in them."""

import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.directory.bloom import SLICED_MAX_LOG2, BloomFilter, BloomRules
from gossip.core.directory.filters import split_keys
from gossip.core.directory.memory import MemberFilters
from gossip.core.directory.replica import Replica
from gossip.core.directory.replicas import Applied, Directory
from gossip.core.directory.rows import Rows
from gossip.core.messages import Entry, Ops

EPOCH, ROOMY = 7, 1 << 30
BLOOM = BloomRules(16, 22)


FIRST = Ops("a", EPOCH, 0, 14, 0, bytes(range(16)))


SECOND = Ops("a", EPOCH, 0, 14, 2, bytes(range(100, 108)))


def directory() -> Directory:
    made = Directory(BLOOM, log_keys=4, max_bytes=ROOMY, members_max=64)
    made.begin("a", EPOCH)
    return made


def sees(seen: Directory, ops: Ops) -> bool:
    return all("a" in seen.holders(key) for key in split_keys(ops.keys))


def test_ops_in_order_are_new_once() -> None:
    seen = directory()
    assert [seen.apply(ops) for ops in (FIRST, SECOND, SECOND, FIRST)] == [
        Applied.NEW,
        Applied.NEW,
        Applied.KNOWN,
        Applied.KNOWN,
    ]
    assert sees(seen, FIRST)
    assert sees(seen, SECOND)
    replica = seen.replica("a")
    assert replica is not None
    assert replica.version == (EPOCH, 0, 3)


def test_an_op_after_a_gap_waits_for_what_is_missing() -> None:
    seen = directory()
    seen.apply(FIRST)
    assert seen.apply(replace(SECOND, start=3)) is Applied.GAP
    assert not sees(seen, SECOND)


def test_of_an_op_that_overlaps_the_rest_is_taken() -> None:
    seen = directory()
    seen.apply(FIRST)
    both = replace(FIRST, keys=FIRST.keys + SECOND.keys)
    assert seen.apply(both) is Applied.NEW
    assert sees(seen, SECOND)


@pytest.mark.parametrize(
    ("ops", "applied"),
    [
        (replace(FIRST, epoch=EPOCH - 1), Applied.KNOWN),
        (replace(FIRST, epoch=EPOCH + 1), Applied.GAP),
        (replace(FIRST, name="stranger"), Applied.GAP),
        (replace(FIRST, generation=1), Applied.NEW),
        (replace(FIRST, generation=1, start=2), Applied.GAP),
    ],
)
def test_ops_of_other_runs_members_and_generations(ops: Ops, applied: Applied) -> None:
    assert directory().apply(ops) is applied


def test_a_new_generation_forgets_the_old_keys() -> None:
    seen = directory()
    seen.apply(FIRST)
    seen.apply(replace(SECOND, generation=1, bits_log2=15, start=0))
    assert sees(seen, SECOND)
    assert not any(seen.holders(key) for key in split_keys(FIRST.keys))
    assert seen.apply(FIRST) is Applied.KNOWN


def test_a_snapshot_replaces_what_is_older_and_nothing_else() -> None:
    seen = directory()
    seen.apply(FIRST)
    filled = BloomFilter(15)
    filled.add(SECOND.keys)
    assert seen.install(Entry("a", EPOCH, 0, 2, 5), BloomFilter(15, bytes(filled.bits))) is Applied.NEW
    assert seen.install(Entry("a", EPOCH, 0, 2, 4), BloomFilter(15, bytes(4096))) is Applied.KNOWN
    assert seen.install(Entry("a", EPOCH + 1, 0, 0, 9), BloomFilter(14, bytes(2048))) is Applied.GAP
    assert sees(seen, SECOND)


def test_one_that_does_not_count_is_not_found_until_it_counts_again() -> None:
    seen = directory()
    seen.apply(FIRST)
    seen.count("a", False)
    assert not sees(seen, FIRST)
    seen.apply(SECOND)
    assert not sees(seen, SECOND)
    seen.count("a", True)
    assert sees(seen, FIRST)
    assert sees(seen, SECOND)


def test_a_repair_is_given_as_far_back_as_the_log_goes() -> None:
    seen = directory()
    seen.apply(FIRST)
    seen.apply(SECOND)
    replica = seen.replica("a")
    assert replica is not None
    assert replica.since(2) == SECOND.keys
    assert replica.since(0) == FIRST.keys + SECOND.keys
    seen.apply(Ops("a", EPOCH, 0, 14, 3, bytes(24)))
    assert replica.since(0) is None


@given(st.integers(1, 140), st.randoms(use_true_random=False))
def test_rows_are_the_filters_seen_from_the_side(members: int, rng: random.Random) -> None:
    """Against one filter per member, while members come and go and filters change altogether."""
    rows, filters = Rows(14), dict[str, BloomFilter]()
    for number in range(members):
        filled = filters[f"m{number}"] = _some_filter(rng)
        rows.add(f"m{number}", filled)
        if number % 7 == 3:
            gone = rng.choice(list(filters))
            rows.drop(gone, filters.pop(gone))
        if filters and number % 5 == 3:
            changed, other = rng.choice(list(filters)), _some_filter(rng)
            rows.replace(changed, filters[changed], other)
            filters[changed] = other
    shared = rng.randbytes(8)
    for name in rng.sample(list(filters), len(filters) // 2):
        rows.set(name, filters[name].add(shared))
    for key in (shared, rng.randbytes(8)):
        assert sorted(rows.holders(key)) == sorted(name for name in filters if key in filters[name])


def _some_filter(rng: random.Random) -> BloomFilter:
    filled = BloomFilter(14)
    for _ in range(rng.randrange(3)):
        filled.add(rng.randbytes(8))
    return filled


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from((14, 15)), st.integers(0, 9)), max_size=20))
def test_lookups_agree_with_the_filters_whatever_was_installed(installed: list[tuple[str, int, int]]) -> None:
    """Generations of the same and of another size replace each other, and members are forgotten."""
    seen = Directory(BLOOM, log_keys=4, max_bytes=ROOMY, members_max=64)
    keys = [bytes((number,)) * 8 for number in range(10)]
    for generation, (name, bits_log2, number) in enumerate(installed, 1):
        if number == 0:
            seen.forget(name)
        seen.begin(name, EPOCH)
        filled = BloomFilter(bits_log2)
        filled.add(keys[number])
        assert (
            seen.install(Entry(name, EPOCH, 0, generation, 1), BloomFilter(bits_log2, bytes(filled.bits)))
            is Applied.NEW
        )
    for key in keys:
        replicas = {name: seen.replica(name) for name in "abc"}
        assert sorted(seen.holders(key)) == [name for name, it in replicas.items() if it and key in it.filter]


# Bounds of memory


def filled(bits_log2: int, seed: int = 1) -> bytes:
    """A filter of that size with a third of its bits set."""
    rng = random.Random(seed)
    return (rng.getrandbits(1 << bits_log2) & rng.getrandbits(1 << bits_log2)).to_bytes(1 << (bits_log2 - 3), "little")


def take_in(seen: Directory, name: str, bits_log2: int, keys: int = 1000) -> None:
    seen.begin(name, EPOCH)
    seen.install(Entry(name, EPOCH, 0, 1, keys), BloomFilter(bits_log2, filled(bits_log2)))


def test_large_filter_costs_its_bytes_and_no_rows() -> None:
    seen = Directory(BLOOM, log_keys=4, max_bytes=ROOMY, members_max=64)
    tracemalloc.start()
    try:
        take_in(seen, "a", 22)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2 * (1 << 19), "rows for it would be 32 MiB"
    assert grown <= seen.memory_bytes + 65536


def test_large_filters_are_looked_into_like_small_ones() -> None:
    seen = Directory(BLOOM, log_keys=4, max_bytes=ROOMY, members_max=64)
    keys = [random.Random(number).randbytes(8) for number in range(50)]
    for name, bits_log2 in (("small", 14), ("large", 20), ("larger", 22)):
        holding = BloomFilter(bits_log2)
        for key in keys:
            holding.add(key)
        seen.begin(name, EPOCH)
        seen.install(Entry(name, EPOCH, 0, 1, 50), BloomFilter(bits_log2, bytes(holding.bits)))
    assert all(sorted(seen.holders(key)) == ["large", "larger", "small"] for key in keys)
    seen.count("large", False)
    assert all(sorted(seen.holders(key)) == ["larger", "small"] for key in keys)
    seen.count("large", True)
    late = random.Random("late").randbytes(8)
    assert seen.apply(Ops("large", EPOCH, 1, 20, 50, late)) is Applied.NEW
    assert seen.holders(late) == ["large"]
    seen.forget("larger")
    assert all(sorted(seen.holders(key)) == ["large", "small"] for key in keys)


@pytest.mark.parametrize("bits_log2", [18, 22])
def test_a_thousand_members_with_the_largest_filters_stay_within_the_bound(bits_log2: int) -> None:
    seen, bound = Directory(BLOOM, log_keys=1024, max_bytes=40 << 20, members_max=1000), 40 << 20
    bits = bytes(1 << (bits_log2 - 4)) + filled(10) + bytes((1 << (bits_log2 - 4)) - 128)
    for number in range(1000):
        seen.begin(f"m{number}", EPOCH)
        seen.install(Entry(f"m{number}", EPOCH, 0, 1, 30_000), BloomFilter(bits_log2, bits))
        assert seen.memory_bytes <= bound
    assert seen.blanks > 0
    for number in range(1000):
        seen.forget(f"m{number}")
    assert (seen.memory_bytes, seen.lookup.indexes) == (0, {})


def test_large_filters_give_way_to_small_ones_and_keep_their_versions() -> None:
    seen = Directory(BLOOM, log_keys=4, max_bytes=4 << 20, members_max=64)
    for number in range(8):
        take_in(seen, f"greedy{number}", 22)
    for number in range(20):
        take_in(seen, f"honest{number}", 16)
    honest = [seen.replica(f"honest{number}") for number in range(20)]
    assert not any(replica is None or replica.blank for replica in honest)
    greedy = [seen.replica(f"greedy{number}") for number in range(8)]
    assert {replica.version for replica in greedy if replica is not None} == {(EPOCH, 1, 1000)}
    assert seen.memory_bytes <= 4 << 20
    take_in(seen, "late and greedy", 22)
    assert not any(replica is None or replica.blank for replica in honest)


def test_expected_filter_is_kept_apart_until_its_member_is_there() -> None:
    seen = Directory(BLOOM, log_keys=4, max_bytes=ROOMY, members_max=64)
    seen.expect("a", EPOCH)
    assert seen.apply(FIRST) is Applied.NEW
    assert not sees(seen, FIRST)
    seen.begin("a", EPOCH)
    assert sees(seen, FIRST)
    seen.expect("a", EPOCH + 1)
    assert sees(seen, FIRST), "what a member holds stays until its next run is there"


def test_expected_filters_take_a_share_of_the_memory_only_and_give_it_back() -> None:
    seen = Directory(BLOOM, log_keys=4, max_bytes=8 << 20, members_max=64)
    for number in range(20):
        seen.expect(f"x{number}", EPOCH)
        seen.install(Entry(f"x{number}", EPOCH, 0, 1, 100), BloomFilter(20, filled(20)))
    assert [seen.replica(f"x{number}") is not None for number in (0, 6, 19)] == [True, True, True]
    assert [version_of(seen, f"x{number}")[1] for number in (0, 6, 19)] == [1, 1, 0], "no room: nothing came"
    assert seen.memory_bytes <= 1 << 20
    for number in range(20):
        seen.forget(f"x{number}")
    assert seen.memory_bytes == 0


def test_filters_of_members_never_give_way_to_those_who_have_yet_to_be_members() -> None:
    seen = crowded(max_bytes=4 << 20)
    before = [is_blank(seen, f"m{number}") for number in range(30)]
    for number in range(1000):
        seen.expect(f"x{number}", EPOCH)
        seen.apply(Ops(f"x{number}", EPOCH, 0, 14, 0, bytes(8)))
    assert [is_blank(seen, f"m{number}") for number in range(30)] == before
    assert seen.memory_bytes <= 4 << 20


def test_of_bit_sliced_filters_one_gives_way_at_once_and_else_the_new_one_is_blank() -> None:
    seen = crowded(max_bytes=4 << 20)
    for number in range(8):
        blank, late = seen.blanks, f"late{number}"
        take_in(seen, late, 17)
        assert seen.blanks - blank <= 1 + is_blank(seen, late)
        assert version_of(seen, late) == (EPOCH, 1, 1000)
        assert seen.memory_bytes <= 4 << 20
    assert not is_blank(seen, late), "enough have given way by now"


def test_full_directory_keeps_what_replaces_a_filter_of_the_same_size() -> None:
    seen = crowded(max_bytes=4 << 20)
    kept = [name for number in range(30) if not is_blank(seen, name := f"m{number}")]
    for name in kept:
        assert seen.install(Entry(name, EPOCH, 0, 2, 1000), BloomFilter(18, filled(18))) is Applied.NEW
    assert not any(is_blank(seen, name) for name in kept)


def crowded(max_bytes: int) -> Directory:
    """A directory that has no room for one more filter of the largest size that is bit-sliced."""
    seen = Directory(BLOOM, log_keys=4, max_bytes=max_bytes, members_max=64)
    for number in range(30):
        take_in(seen, f"m{number}", 18)
    assert 0 < seen.blanks < 30
    return seen


def is_blank(seen: Directory, name: str) -> bool:
    replica = seen.replica(name)
    assert replica is not None
    return replica.blank


def version_of(seen: Directory, name: str) -> tuple[int, int, int]:
    replica = seen.replica(name)
    assert replica is not None
    return replica.version


def test_no_filter_gives_way_to_one_for_which_there_is_no_room_even_so() -> None:
    filters = MemberFilters(1024 * 1024, 8, BLOOM.index)
    filters.put("large", Replica(1, 1, BloomFilter(SLICED_MAX_LOG2 + 1), 8))
    filters.put(
        "small", Replica(1, 1, BloomFilter(SLICED_MAX_LOG2), 8)
    )  # the rows of lookups would be larger than all that may be
    kept = {name: filters.get(name) for name in ("large", "small")}
    assert {name: replica is not None and replica.blank for name, replica in kept.items()} == {
        "large": False,
        "small": True,
    }
