"""Pulls of whole blobs from who has announced them: all at once everything comes from upstream."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scale.whole import Whole
from bench.scale.world import MBIT, WAVES, World

_MIB = 2**20


def _world(nodes: int, zones: int = 1, layers: tuple[int, ...] = (16 * _MIB,) * 4) -> World:
    return World(nodes=nodes, zones=zones, layers=layers, link=100 * MBIT, upstream=100 * MBIT)


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_all_at_once_everybody_asks_upstream(nodes: int) -> None:
    world = _world(nodes)
    ledger = Whole(world).play("at once")
    assert ledger.upstream_share == nodes
    assert ledger.ratio(world.ideal_s) == pytest.approx(nodes)
    assert ledger.members_bytes == 0


def test_in_a_rolling_wave_only_the_first_batch_asks_upstream() -> None:
    world = _world(10)
    ledger = Whole(world).play("rolling")
    assert ledger.upstream_share == 2
    assert ledger.seconds[0] == pytest.approx(2 * world.ideal_s, rel=0.01)
    assert ledger.members_bytes == pytest.approx(8 * world.image)


@settings(max_examples=8, deadline=None)
@given(
    nodes=st.integers(1, 12), zones=st.integers(1, 3), layers=st.lists(st.integers(1, 5 * _MIB), min_size=1, max_size=4)
)
@pytest.mark.parametrize("wave", WAVES)
def test_every_node_gets_every_byte_once(wave: str, nodes: int, zones: int, layers: list[int]) -> None:
    world = _world(nodes, zones, tuple(layers))
    whole = Whole(world)
    ledger = whole.play(wave)
    assert ledger.upstream_share >= 1
    assert ledger.upstream_bytes + ledger.members_bytes == pytest.approx(nodes * world.image)
    assert whole.water.carried[0] == pytest.approx(ledger.upstream_bytes)
    assert ledger.requests == nodes * len(layers)
