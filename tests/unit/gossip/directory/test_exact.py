"""Sets of keys in the place of Bloom filters: the same rules for replicas, within the same bounds."""

import random
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.directory.bloom import BloomRules
from gossip.core.directory.exact import ExactFilter, ExactRules, KeyTable
from gossip.core.directory.filters import split_keys
from gossip.core.directory.replicas import Applied, Directory
from gossip.core.errors import WireError
from gossip.core.events import Rejected
from gossip.core.messages import Chunk, Entry, FilterKind, Offer, Ops
from gossip.core.packets.codec import BITS_LOG2_EXACT, CHUNK_MAX_BYTES
from gossip.core.streams.purpose import Purpose
from tests.unit.gossip.conversing import KEYRINGS, NOW, acquainted, address, converse, node
from tests.unit.gossip.directory.sharing import keys as keys_of

EPOCH, ROOMY, MIB = 7, 1 << 30, 1 << 20
EXACT = ExactRules(22)
FEW_KEYS = st.lists(st.sampled_from([bytes((number % 3, *bytes(6), number)) for number in range(12)]), max_size=20)


def exact(keys: bytes) -> ExactFilter:
    filled = ExactFilter()
    for key in split_keys(keys):
        filled.add(key)
    return filled


def directory(max_bytes: int = ROOMY, members: Sequence[str] = ("a",), members_max: int = 64) -> Directory:
    made = Directory(EXACT, log_keys=4, max_bytes=max_bytes, members_max=members_max)
    for name in members:
        made.begin(name, EPOCH)
    return made


def take_in(seen: Directory, name: str, count: int, seed: int = 1) -> None:
    seen.begin(name, EPOCH)
    seen.install(Entry(name, EPOCH, 0, 1, count), exact_of(count, seed))


def exact_of(count: int, seed: int = 1) -> ExactFilter:
    return ExactFilter(sorted(random.Random(seed).getrandbits(64) for _ in range(count)))


def is_blank(seen: Directory, name: str) -> bool:
    replica = seen.replica(name)
    assert replica is not None
    return replica.blank


# One set


@given(FEW_KEYS, st.binary(min_size=8, max_size=8))
def test_what_was_added_is_in_and_nothing_else(added: list[bytes], other: bytes) -> None:
    filled = exact(b"".join(added))
    assert all(key in filled and key + bytes(24) in filled for key in added)
    assert (other in filled) == (other in added)


@given(FEW_KEYS, st.randoms(use_true_random=False))
def test_sets_of_the_same_keys_are_the_same_and_travel_unchanged(added: list[bytes], rng: random.Random) -> None:
    packed = exact(b"".join(added)).packed()
    assert packed == b"".join(sorted(added))
    rng.shuffle(added)
    assert exact(b"".join(added)).packed() == packed
    assert EXACT.unpack(BITS_LOG2_EXACT, len(added), packed).packed() == packed
    assert len(packed) == EXACT.packed_bytes(BITS_LOG2_EXACT, len(added))


@pytest.mark.parametrize(
    ("key_count", "packed"),
    [
        pytest.param(2, bytes(8), id="less than its keys"),
        pytest.param(1, bytes(16), id="more than its keys"),
        pytest.param(1, bytes(9), id="half a key"),
        pytest.param(2, b"b" * 8 + b"a" * 8, id="out of order"),
    ],
)
def test_junk_in_the_place_of_a_set_is_refused(key_count: int, packed: bytes) -> None:
    with pytest.raises(WireError) as refused:
        EXACT.unpack(BITS_LOG2_EXACT, key_count, packed)
    assert refused.value.reason == "filter"


@pytest.mark.parametrize(
    ("rules", "bits_log2", "key_count"),
    [
        pytest.param(EXACT, 14, 10, id="a Bloom filter"),
        pytest.param(EXACT, BITS_LOG2_EXACT, 1 << 21, id="more keys than any node has"),
        pytest.param(BloomRules(16, 22), BITS_LOG2_EXACT, 10, id="keys, where Bloom filters are published"),
    ],
)
def test_what_no_member_of_this_cluster_publishes_is_refused(
    rules: ExactRules | BloomRules, bits_log2: int, key_count: int
) -> None:
    with pytest.raises(WireError) as refused:
        rules.check(bits_log2, key_count)
    assert refused.value.reason == "filter"


# The table


@given(st.integers(1, 15), st.randoms(use_true_random=False))
def test_table_has_the_keys_of_each_member(members: int, rng: random.Random) -> None:
    """Against one set per member, while members come and go, and keys that differ in their last bits only."""
    table, sets = KeyTable(), dict[str, ExactFilter]()
    pool = [(rng.getrandbits(1) << 63 | rng.getrandbits(3)).to_bytes(8, "big") for _ in range(12)]

    def some() -> ExactFilter:
        return exact(b"".join(rng.sample(pool, rng.randrange(8))))

    for number in range(members):
        sets[f"m{number}"] = some()
        table.add(f"m{number}", sets[f"m{number}"])
        if number % 7 == 3:
            gone = rng.choice(list(sets))
            table.drop(gone, sets.pop(gone))
        if sets and number % 5 == 3:
            changed, other = rng.choice(list(sets)), some()
            table.replace(changed, sets[changed], other)
            sets[changed] = other
    for name in rng.sample(list(sets), len(sets) // 2):
        table.set(name, sets[name].add(pool[0]))
    left_out = rng.choice([*sets, None])
    if left_out is not None:
        table.count(left_out, False)
    for key in (*pool, rng.randbytes(8)):
        assert sorted(table.holders(key)) == sorted(it for it in sets if key in sets[it] and it != left_out)
    assert len(table) == len(sets)


# Replicas


def test_ops_snapshots_and_generations_follow_the_rules_of_all_filters() -> None:
    seen, first, second = directory(), keys_of(1, 2), keys_of(2, 3)
    ops = Ops("a", EPOCH, 0, BITS_LOG2_EXACT, 0, first)
    assert seen.apply(ops) is Applied.NEW
    assert seen.apply(ops) is Applied.KNOWN
    assert seen.apply(Ops("a", EPOCH, 0, BITS_LOG2_EXACT, 5, second)) is Applied.GAP
    assert seen.apply(Ops("a", EPOCH, 0, BITS_LOG2_EXACT, 0, first + second)) is Applied.NEW
    assert all(seen.holders(key) == ["a"] for key in split_keys(first + second))
    assert seen.install(Entry("a", EPOCH, 0, 1, 2), exact(first)) is Applied.NEW
    assert [seen.holders(key) for key in split_keys(first + second)] == [["a"]] * 2 + [[]] * 3


def test_set_that_grows_large_is_looked_into_by_itself() -> None:
    seen, held = directory(members=("a", "b")), keys_of(1, 17_000)
    for start in range(0, 17_000, 1000):
        for name in "ab" if start < 3000 else "a":
            ops = Ops(name, EPOCH, 0, BITS_LOG2_EXACT, start, held[8 * start : 8 * (start + 1000)])
            assert seen.apply(ops) is Applied.NEW
    assert [seen.lookup.is_indexed(name) for name in "ab"] == [False, True]
    assert [sorted(seen.holders(held[8 * at : 8 * at + 8])) for at in (0, 2999, 3000, 16_999)] == [
        ["a", "b"],
        ["a", "b"],
        ["a"],
        ["a"],
    ]
    take_in(seen, "a", 10)
    assert seen.lookup.is_indexed("a")
    assert seen.holders(held[:8]) == ["b"]


# Bounds of memory


@pytest.mark.parametrize(("members", "count"), [(10, 100), (2, 3000), (1, 20_000)])
def test_memory_is_what_is_said_at_most_and_is_given_back(members: int, count: int) -> None:
    seen, large, small = directory(), exact_of(count).numbers, exact_of(count // 10, seed=2).numbers
    tracemalloc.start()
    try:
        for generation, numbers, step in ((1, large, 1), (2, small, 2)):
            for number in range(0, members, step):
                name = f"m{number}"
                seen.begin(name, EPOCH)
                seen.install(Entry(name, EPOCH, 0, generation, len(numbers)), ExactFilter(numbers))
        took, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took <= seen.memory_bytes + 64 * 1024
    for name in ("a", *(f"m{number}" for number in range(members))):
        seen.forget(name)
    assert (seen.memory_bytes, seen.lookup.indexes) == (0, {})


@pytest.mark.parametrize("count", [10_000, 30_000])
def test_hundred_members_with_large_sets_stay_within_the_bound(count: int) -> None:
    bound, large = 8 * MIB, exact_of(count)
    seen = directory(bound, members_max=128)
    for number in range(100):
        seen.begin(f"m{number}", EPOCH)
        seen.install(Entry(f"m{number}", EPOCH, 0, 1, count), ExactFilter(large.numbers))
        assert seen.memory_bytes <= bound
    assert 0 < seen.blanks < 100


def test_sets_that_grow_by_news_stay_within_the_bound_and_large_ones_give_way() -> None:
    bound = MIB
    seen = directory(bound, members=[f"m{number}" for number in range(30)])
    take_in(seen, "large", 20_000)
    for start in range(0, 3000, 500):
        for number in range(30):
            ops = Ops(f"m{number}", EPOCH, 0, BITS_LOG2_EXACT, start, keys_of(start + number, 500))
            assert seen.apply(ops) is Applied.NEW
            assert seen.memory_bytes <= bound
    assert is_blank(seen, "large")
    assert 1 < seen.blanks < 31, "some have room to the end"
    versions = [replica.version for number in range(30) if (replica := seen.replica(f"m{number}")) is not None]
    assert versions == [(EPOCH, 0, 3000)] * 30, "also of those for which there was no room"


def test_expected_sets_grow_within_their_share_only() -> None:
    seen = directory(MIB)
    for number in range(20):
        seen.expect(f"x{number}", EPOCH)
        for start in range(0, 2000, 1000):
            seen.apply(Ops(f"x{number}", EPOCH, 0, BITS_LOG2_EXACT, start, keys_of(start + number, 1000)))
    before = directory(MIB).memory_bytes
    assert seen.memory_bytes - before <= MIB // 8
    kept = seen.replica("x0")
    assert kept is not None
    assert kept.sequence == 2000


# Nodes


def test_set_beyond_the_setting_is_refused_and_its_version_is_known() -> None:
    one = node(0, filters=FilterKind.EXACT, filter_bits_log2_max=14)
    acquainted(one, node(1))
    entry = Entry("n1", 1, 0, 1, 300)
    with pytest.raises(WireError, match="256 are allowed"):
        one.dissemination.check_filter(entry, BITS_LOG2_EXACT, NOW)
    replica = one.view.replica("n1")
    assert replica is not None
    assert (replica.version, replica.blank) == (entry.filter_version, True)


@KEYRINGS
def test_set_of_several_chunks_is_fetched(keys: Sequence[bytes]) -> None:
    one, other = (node(number, keys, filters=FilterKind.EXACT) for number in (0, 1))
    held = split_keys(keys_of(1, 10_000))
    acquainted(one, other)
    one.advertise(held, NOW)
    while one.view.unpublished:
        one.tick(NOW)
    assert len(one.view.published.filter.packed()) > CHUNK_MAX_BYTES
    other.dissemination.hear_offer(Offer(one.view.published.entry("n0", 0)), address(0), NOW)
    other.tick(NOW + 0.4)
    (fetch,) = [exchange for exchange in other.dials() if exchange.purpose is Purpose.FETCH]
    converse(fetch, one.answer(address(1)))
    copy = other.view.replica("n0")
    assert copy is not None
    assert (copy.version, copy.filter.packed()) == (one.view.published.version, one.view.published.filter.packed())
    assert all(other.view.holders(key) for key in held)
    assert not any(other.view.holders(key) for key in split_keys(keys_of(2, 1000)))


def test_nodes_with_different_kinds_take_nothing_of_each_other() -> None:
    one, other = node(0, filters=FilterKind.EXACT), node(1)
    one.join([address(1)], NOW)
    one.advertise(split_keys(keys_of(1, 5)), NOW)
    (exchange,) = one.dials()
    half = other.answer(address(0))
    with pytest.raises(WireError) as refused:
        converse(exchange, half)
    assert refused.value.reason == "kind"
    one.context.outbox.send(address(1), [Offer(Entry("n0", 1, 0, 0, 5))])
    for datagram in one.datagrams():
        other.receive(datagram.payload, address(0), NOW)
    assert {event.reason for event in other.events() if isinstance(event, Rejected)} == {"kind"}
    assert other.view.members() == []


def test_chunk_beyond_the_keys_that_it_states_ends_the_conversation() -> None:
    one = node(0, filters=FilterKind.EXACT)
    acquainted(one, node(1))
    entry = Entry("n1", 1, 0, 1, 2)
    rules = one.dissemination.rules
    assert rules.packed_bytes(BITS_LOG2_EXACT, 2) == 16
    with pytest.raises(WireError) as refused:
        one.dissemination.install(entry, BITS_LOG2_EXACT, Chunk(entry, BITS_LOG2_EXACT, 0, bytes(24)).bits, NOW)
    assert refused.value.reason == "filter"
