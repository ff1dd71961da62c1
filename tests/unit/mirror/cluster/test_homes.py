"""Homes: everybody computes the same ones, they carry even loads, and a failure moves what it has to."""

from collections import Counter
from itertools import groupby
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE, Ring, home_piece_size, piece_size, turned_key
from mirror.oci.digest import Digest

NAMES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=40, unique=True)
KEYS = st.binary(min_size=32, max_size=32)
PIECES = st.integers(0, 600)


@pytest.mark.parametrize(
    ("size", "piece"),
    [
        (0, 4 * MEBIBYTE),
        (1, 4 * MEBIBYTE),
        (4 * MEBIBYTE, 4 * MEBIBYTE),
        (4 * MEBIBYTE + 1, MEBIBYTE),
        (512 * MEBIBYTE - 1, MEBIBYTE),
        (512 * MEBIBYTE, 2 * MEBIBYTE),
        (1024 * MEBIBYTE - 1, 2 * MEBIBYTE),
        (2048 * MEBIBYTE, 8 * MEBIBYTE),
        (4096 * MEBIBYTE - 1, 8 * MEBIBYTE),
        (4096 * MEBIBYTE, 16 * MEBIBYTE),
        (10**12, 16 * MEBIBYTE),
    ],
)
def test_a_piece_is_a_256th_of_the_blob_in_bounds(size: int, piece: int) -> None:
    assert piece_size(size) == piece


@given(st.integers(4 * MEBIBYTE + 1, 2**44))
def test_pieces_are_powers_of_two_and_not_too_many(size: int) -> None:
    piece = piece_size(size)
    assert piece.bit_count() == 1
    assert MEBIBYTE <= piece <= 16 * MEBIBYTE
    assert piece == 16 * MEBIBYTE or size / piece <= 512


@pytest.mark.parametrize(
    ("size", "homes", "piece"),
    [
        (2_500_000, 8, 312_500 // 4096 * 4096 + 4096),
        (2_500_000, 2, 1_250_000 // 2 // 4096 * 4096 + 4096),
        (10_000_000, 8, 10_000_000 // 16 // 4096 * 4096 + 4096),
        (500, 8, 128 * 1024),
        (0, 3, 128 * 1024),
        (2_500_000, 1, 4 * MEBIBYTE),
        (32 * MEBIBYTE, 8, MEBIBYTE),
        (32 * MEBIBYTE - 1, 8, MEBIBYTE),
        (100 * MEBIBYTE + 17, 8, MEBIBYTE),
        (4096 * MEBIBYTE, 20, 16 * MEBIBYTE),
    ],
)
def test_a_blob_of_few_pieces_is_cut_so_that_all_homes_have_equally_many(size: int, homes: int, piece: int) -> None:
    """The same in every version, as the ring is: members that cut a blob in two ways ask upstream for it twice."""
    assert home_piece_size(size, homes) == piece


@given(st.integers(0, 2**44), st.integers(1, 100))
def test_no_home_has_much_more_to_send_than_another(size: int, homes: int) -> None:
    unit = home_piece_size(size, homes)
    assert 128 * 1024 <= unit <= piece_size(size)
    count, last = divmod(size, unit)
    loads = [(count // homes + (home < count % homes)) * unit + last * (home == count % homes) for home in range(homes)]
    assert sum(loads) == size
    assert max(loads) <= max(1.3 * size / homes, unit if unit == 128 * 1024 else 0)


@given(KEYS, NAMES, PIECES, st.randoms(use_true_random=False))
def test_all_who_see_the_same_members_agree_whatever_order_they_list_them_in(
    key: bytes, names: list[str], piece: int, chance: Random
) -> None:
    shuffled = [*names, *chance.sample(names, len(names) // 2)]
    chance.shuffle(shuffled)
    assert Ring.of(key, names) == Ring.of(key, shuffled)
    assert list(Ring.of(key, names).homes(piece)) == list(Ring.of(key, shuffled).homes(piece))


@given(KEYS, NAMES, PIECES)
def test_the_homes_of_a_piece_are_all_members_each_once(key: bytes, names: list[str], piece: int) -> None:
    ring = Ring.of(key, names)
    assert len(ring) == len(names)
    assert sorted(ring.homes(piece)) == sorted(names)


@given(KEYS, NAMES, PIECES)
def test_any_n_pieces_in_a_row_have_n_different_homes(key: bytes, names: list[str], first: int) -> None:
    ring = Ring.of(key, names)
    assert {next(ring.homes(first + step)) for step in range(len(names))} == set(names)


@given(KEYS, NAMES.filter(lambda names: len(names) > 2), st.data())
def test_a_failure_moves_that_members_pieces_only_and_spreads_them_evenly(
    key: bytes, names: list[str], data: st.DataObject
) -> None:
    ring, failed = Ring.of(key, names), data.draw(st.sampled_from(names))
    turns = 3 * (len(names) - 1)
    moved: Counter[str] = Counter()
    for piece in range(turns * len(names)):
        home, second, *_ = ring.homes(piece)
        heir = next(name for name in ring.homes(piece) if name != failed)
        assert heir == (second if home == failed else home)
        moved[heir] += home == failed
    assert {moved[name] for name in names if name != failed} == {3}


@given(KEYS, NAMES.filter(lambda names: len(names) > 3), st.data())
def test_two_failures_leave_every_other_member_a_share_of_their_pieces(
    key: bytes, names: list[str], data: st.DataObject
) -> None:
    ring = Ring.of(key, names)
    failed = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))
    heirs = Counter(
        next(name for name in ring.homes(piece) if name not in failed) for piece in range(len(names) * (len(names) - 1))
    )
    assert heirs.keys() == set(names) - set(failed)
    assert max(heirs.values()) <= 2 * min(heirs.values())


def test_different_contents_have_different_rings() -> None:
    names = [f"node-{number}" for number in range(8)]
    rings = [Ring.of(Digest.of(b"%d" % number).key, names) for number in range(200)]
    firsts = Counter(ring.members[0] for ring in rings)
    assert firsts.keys() == set(names)
    assert max(firsts.values()) < 60


def test_a_ring_is_the_same_in_every_version() -> None:
    """Nodes of two versions have to agree: whoever changes this moves every piece while a cluster is upgraded."""
    ring = Ring.of(bytes(32), ["a", "b", "c", "d"])
    assert ring.members == ("a", "d", "c", "b")
    assert list(ring.homes(0)) == ["a", "d", "c", "b"]
    assert list(ring.homes(5)) == ["d", "b", "a", "c"]


WINDOW_S = 600.0
YEAR_2026 = 1_780_000_000.0


def first(key: bytes, names: list[str], unix_s: float) -> str:
    return Ring.of(turned_key(key, unix_s, WINDOW_S), names).members[0]


def test_a_name_that_is_first_on_a_tags_ring_is_so_for_one_window_and_then_as_often_as_any() -> None:
    key, others = bytes(range(32)), [f"node-{number}" for number in range(19)]
    chosen = next(name for name in (f"x{i}" for i in range(10_000)) if first(key, [*others, name], YEAR_2026) == name)
    windows = [first(key, [*others, chosen], YEAR_2026 + turn * WINDOW_S) for turn in range(1, 1001)]
    assert windows.count(chosen) < 100  # 50 are expected; 100 are 7 standard deviations more
    assert max(len(list(run)) for name, run in groupby(windows) if name == chosen) <= 5
    assert {*windows} == {*others, chosen}


@given(KEYS, st.floats(0, 1e10))
def test_a_tags_ring_turns_once_in_a_window(key: bytes, unix_s: float) -> None:
    keys = [turned_key(key, unix_s + part * WINDOW_S / 50, WINDOW_S) for part in range(51)]
    assert len({*keys}) == 2
    assert [*dict.fromkeys(keys)] == sorted({*keys}, key=keys.index)


def test_clocks_that_differ_by_seconds_disagree_about_a_tags_home_for_seconds_only() -> None:
    key, names = bytes(range(32)), [f"node-{number}" for number in range(20)]
    late_s, step_s = 6.0, 3.0
    moments = [YEAR_2026 + step * step_s for step in range(int(10 * WINDOW_S / step_s))]
    apart = sum(first(key, names, at) != first(key, names, at - late_s) for at in moments)
    assert apart <= 10 * late_s / step_s


def test_tags_do_not_turn_all_at_once() -> None:
    keys = [Digest.of(bytes([number])).key for number in range(200)]
    turned = [turned_key(key, YEAR_2026, WINDOW_S) != turned_key(key, YEAR_2026 + 60, WINDOW_S) for key in keys]
    assert 0 < sum(turned) < 60  # 20 are expected
