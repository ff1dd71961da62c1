"""A Kademlia of random ids: buckets, and lookups that find the closest nodes."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scale import dht
from bench.scale.kademlia import ID_BITS, Overlay, number_of, walk

_IDS = st.sets(st.integers(0, 2**ID_BITS - 1), min_size=1, max_size=60)


@settings(max_examples=20, deadline=None)
@given(_IDS, st.integers(1, 5), st.data())
def test_buckets_are_full_or_have_everybody_of_their_range(ids: set[int], k: int, data: st.DataObject) -> None:
    overlay = Overlay(ids, k)
    node = data.draw(st.sampled_from(sorted(ids)))
    known = overlay.table(node)
    assert len(set(known)) == len(known)
    assert node not in known
    for depth, bucket in enumerate(overlay.buckets(node)):
        inside = [other for other in ids if other != node and ID_BITS - (other ^ node).bit_length() == depth]
        assert set(bucket) <= set(inside)
        assert len(bucket) == min(k, len(inside))
    assert all(ID_BITS - (other ^ node).bit_length() < len(overlay.buckets(node)) for other in ids - {node})


@pytest.mark.parametrize("size", [2, 20, 21, 100, 1000])
def test_a_lookup_finds_the_k_closest(size: int) -> None:
    overlay = Overlay.of(size)
    for number in range(10):
        key, node = number_of(f"key {number}"), overlay.ids[number % size]
        found = overlay.lookup(node, key)
        assert list(found.closest) == heapq.nsmallest(20, overlay.ids, key=lambda other: other ^ key)
        assert not found.is_hit
        assert found.requests <= size - 1


def test_with_k_nodes_all_have_all_records_so_that_a_hit_costs_nothing() -> None:
    overlay, key = Overlay.of(20), number_of("key")
    records = overlay.closest(key)
    assert sorted(records) == overlay.ids
    for node in overlay.ids:
        found = overlay.lookup(node, key, records=records)
        assert (found.requests, found.rounds, found.is_hit) == (0, 0, True)


def test_what_nobody_has_is_asked_of_all_others_in_a_small_cluster() -> None:
    overlay = Overlay.of(8)
    found = overlay.lookup(overlay.ids[0], number_of("nobody has it"))
    assert (found.requests, found.rounds) == (7, 1)


def test_a_hit_ends_the_lookup_early() -> None:
    overlay, key = Overlay.of(500), number_of("key")
    records = overlay.closest(key)
    node = next(it for it in overlay.ids if it not in records)
    hit, miss = overlay.lookup(node, key, records=records), overlay.lookup(node, key)
    assert hit.is_hit
    assert 0 < hit.requests < miss.requests


@pytest.mark.parametrize("size", [5, 20, 100, 1000])
def test_the_formulas_are_near_what_is_simulated(size: int) -> None:
    walked = walk(size, 30)
    assert walked.found == 1.0
    assert dht.table_size(size) == pytest.approx(walked.table, rel=0.1)
    assert dht.rounds(size) == pytest.approx(walked.rounds, rel=0.15)
    assert walked.requests <= dht.requests(size) * 1.02
    assert walked.requests >= 0.75 * dht.requests(size)


def test_records_cost_what_was_measured_beside_spegel() -> None:
    """8 nodes with 305 keys each: 2.1 MB within 15 minutes, and 2,485 B/s in all."""
    figures = {it.key: it.value for it in dht.costs(walk(8, 30), 305, 0.2)}
    assert figures["reprovide"] * dht.REPROVIDE_S == pytest.approx(2.1e6, rel=0.01)
    standing = figures["reprovide"] + figures["regions"] + figures["refresh"] + figures["keepalive"]
    assert standing == pytest.approx(2485, rel=0.1)
    assert figures["records"] == 8 * 305
    assert figures["stale"] == 690
