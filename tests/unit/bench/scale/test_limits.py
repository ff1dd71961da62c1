"""Budgets, and the lines that say when they are spent."""

import pytest

from bench.gossip.crowd import Traffic
from bench.gossip.growth import Growth, Line, copies, records
from bench.gossip.results import Calm, Spread
from bench.report import Samples
from bench.scale.limits import NODES_MAX, Budget, members_known


@pytest.mark.parametrize(("slope", "limit", "at"), [(1.0, 100.0, 101), (2.0, 100.0, 51), (0.5, 1.0, 3)])
def test_a_budget_is_spent_at_the_first_number_of_nodes_that_costs_more(slope: float, limit: float, at: int) -> None:
    assert Budget("it", limit, "B", lambda size: slope * size).spent_at() == at


def test_a_budget_that_is_never_spent() -> None:
    assert Budget("it", 1e12, "B", float).spent_at() is None
    assert Budget("it", NODES_MAX - 1.0, "B", float).spent_at() == NODES_MAX


def test_zones_bound_what_a_node_knows() -> None:
    assert members_known(100, 100) == 100
    assert members_known(10_000, 100) == 100 + 3 * 99
    assert members_known(80, 100) == 80


def _calm(size: int) -> Calm:
    """As if each cost were exactly what it is said to grow with."""
    sent = Traffic(5 + 2 * records(size), 0.0, 1 + 3 * records(size))
    wave = Traffic(10 + 4 * copies(size), 0.0, 6 * copies(size))
    return Calm(
        sent, 0.1 * records(size), 1000 + 7 * size, Spread([]), Spread([]), Samples(), wave, copies(size), Samples()
    )


def test_lines_through_two_sizes_give_all_others() -> None:
    growth = Growth({100: _calm(100), 500: _calm(500), 1000: _calm(1000)})
    for size in (300, 500, 10_000):
        expected = _calm(size)
        assert growth.memory.at(size) == pytest.approx(expected.node_bytes)
        assert growth.idle.at(size) == pytest.approx(expected.idle.bytes)
        assert growth.wave_packets.at(size) == pytest.approx(expected.wave.packets)
        assert growth.wave_cpu.at(size) == pytest.approx(expected.wave_cpu_share)
        assert growth.wave.at(size) == pytest.approx(growth.wave.counted(expected))


def test_a_line_through_two_points() -> None:
    line = Line.through((2.0, 10.0), (4.0, 20.0))
    assert (line.start, line.slope, line.at(6.0)) == (0.0, 5.0, 30.0)
