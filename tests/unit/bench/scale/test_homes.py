"""Pulls by homes in the fluid model: upstream once, every byte once, and small cases that a hand can compute."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scale.homes import Homes
from bench.scale.world import MBIT, WAVES, Ledger, World
from mirror.cluster.homes import Ring, home_piece_size

_MIB = 2**20
_PIECE = 128 * 1024
"""Bytes of a blob that is never cut."""


def _world(nodes: int, layers: tuple[int, ...] = (16 * _MIB,) * 4, zones: int = 1, **more: float) -> World:
    return World(nodes=nodes, layers=layers, zones=zones, link=100 * MBIT, upstream=100 * MBIT, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("nodes", [1, 2, 4, 8])
def test_where_pieces_are_spread_evenly_all_have_the_image_in_the_ideal_time(nodes: int) -> None:
    world = _world(nodes, (16 * _MIB,))
    ledger = Homes(world).play("at once")
    assert ledger.ratio(world.ideal_s) == pytest.approx(1.0)
    assert ledger.upstream_share == pytest.approx(1.0)
    assert ledger.sent_most_bytes == pytest.approx((nodes - 1) / nodes * world.image)


def test_one_piece_has_one_home_which_sends_it_to_all_others() -> None:
    world = _world(5, (_PIECE,))
    ledger = Homes(world).play("at once")
    # The home sends four copies over its link, while the piece comes: as long as four downloads.
    assert ledger.ratio(world.ideal_s) == pytest.approx(4.0)
    assert ledger.sent_most_bytes == 4 * world.image


def test_homes_of_several_layers_are_those_of_the_ring() -> None:
    world = _world(8, (_PIECE,) * 3)
    homes = [Ring.of(world.key(layer), world.names()).members[0] for layer in range(3)]
    most = max(homes.count(name) for name in homes)
    ledger = Homes(world).play("at once")
    assert ledger.sent_most_bytes == pytest.approx(most * 7 * _PIECE)
    assert ledger.ratio(world.ideal_s) == pytest.approx(max(1.0, most * 7 / 3))


def test_a_thin_upstream_is_the_only_bottleneck() -> None:
    world = World(nodes=8, layers=(16 * _MIB,), link=100 * MBIT, upstream=20 * MBIT)
    assert Homes(world).play("at once").ratio(world.ideal_s) == pytest.approx(1.0)


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("make", [lambda world: Homes(world), lambda world: Homes(world, exact_max=0)])
@settings(max_examples=8, deadline=None)
@given(
    nodes=st.integers(1, 20),
    zones=st.integers(1, 4),
    layers=st.lists(st.integers(1, 9 * _MIB), min_size=1, max_size=4),
    spread_s=st.sampled_from([0.0, 0.3, 5.0]),
    seed=st.integers(0, 5),
)
def test_upstream_sends_the_image_once_and_every_node_gets_it_once(
    make: Callable[[World], Homes], wave: str, nodes: int, zones: int, layers: list[int], spread_s: float, seed: int
) -> None:
    world = _world(nodes, tuple(layers), zones, spread_s=spread_s, seed=seed)
    homes = make(world)
    ledger = homes.play(wave)
    assert ledger.upstream_share == pytest.approx(1.0)
    assert ledger.upstream_bytes + ledger.members_bytes == pytest.approx(nodes * world.image)
    assert ledger.cross_bytes <= ledger.members_bytes + 1
    assert (zones > 1) or not ledger.cross_bytes
    assert homes.water.carried[0] == pytest.approx(world.image)  # what left upstream's link


def test_pieces_cost_a_request_each() -> None:
    world = _world(4, (16 * _MIB,))
    ledger = Homes(world).play("at once")
    assert ledger.requests == 4 * 16 * _MIB / home_piece_size(16 * _MIB, 4)


def test_crowds_and_single_nodes_agree() -> None:
    world = _world(24, (6 * _MIB,) * 2, spread_s=0.2)
    alone, together = (Homes(world, exact_max=most).play("at once") for most in (24, 0))
    assert together.ratio(world.ideal_s) == pytest.approx(alone.ratio(world.ideal_s), rel=0.05)
    assert together.sent_most_bytes == pytest.approx(alone.sent_most_bytes, rel=0.05)


def test_homes_in_each_zone_cross_to_every_other_zone_once() -> None:
    world = _world(12, (12 * _MIB,) * 2, zones=3)
    flat, zoned = (Homes(world, by_zone=by_zone).play("at once") for by_zone in (False, True))
    assert flat.cross_share == pytest.approx(12 * 2 / 3)
    assert zoned.cross_share == pytest.approx(2.0)
    assert zoned.upstream_share == pytest.approx(1.0)


def test_a_rolling_wave_takes_what_the_first_batch_has() -> None:
    world = _world(10)
    ledger = Homes(world).play("rolling")
    assert ledger.upstream_share == pytest.approx(1.0)
    assert len(ledger.seconds) == 5
    assert ledger.ratio(world.ideal_s) <= 1.0 + 1e-6


def test_the_same_seed_gives_the_same() -> None:
    def play(seed: int) -> Ledger:
        return Homes(_world(12, (_PIECE,) * 3, 2, seed=seed)).play("at once")

    assert play(3) == play(3)
    assert len({play(seed).ratio(1.0) for seed in range(5)}) > 1
