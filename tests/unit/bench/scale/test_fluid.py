"""Flows over links: fair rates, nothing lost, and what passes bytes on is never ahead of where it gets them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scale.fluid import Flow, Water, share


def test_flows_on_one_link_have_equal_rates() -> None:
    flows = [Flow(10, [(0, 1.0)]) for _ in range(4)]
    share(flows, [100.0])
    assert [flow.rate for flow in flows] == [25.0] * 4


def test_what_one_flow_cannot_use_goes_to_the_others() -> None:
    narrow, wide, other = Flow(10, [(0, 1.0), (1, 1.0)]), Flow(10, [(0, 1.0)]), Flow(10, [(0, 1.0)])
    share([narrow, wide, other], [90.0, 10.0])
    assert [flow.rate for flow in (narrow, wide, other)] == [10.0, 40.0, 40.0]


def test_a_weight_stands_for_as_many_transfers() -> None:
    many, one = Flow(10, [(0, 9.0)]), Flow(10, [(0, 1.0)])
    share([many, one], [100.0])
    assert (many.rate, one.rate) == (10.0, 10.0)


def test_what_has_passed_on_all_that_came_is_as_slow_as_its_feeder() -> None:
    feeder = Flow(10, [(0, 1.0)])
    fed = Flow(10, [(1, 1.0)], feeder)
    free = Flow(10, [(1, 1.0)])
    share([feeder, fed, free], [5.0, 100.0])
    assert (feeder.rate, fed.rate, free.rate) == (5.0, 5.0, 95.0)


def test_what_lags_behind_its_feeder_catches_up_and_then_keeps_its_pace() -> None:
    water, ends = Water(), dict[str, float]()
    upstream, link = water.link(10.0), water.link(100.0)
    feeder = water.start(Flow(100, [(upstream, 1.0)]), lambda: ends.update(feeder=water.now))
    water.at(5.0, lambda: _start(water, Flow(100, [(link, 1.0)], feeder), ends))
    water.run()
    assert ends == {"feeder": pytest.approx(10.0), "fed": pytest.approx(10.0)}


def _start(water: Water, flow: Flow, ends: dict[str, float]) -> None:
    water.start(flow, lambda: ends.update(fed=water.now))


def test_times_of_two_downloads_of_which_one_ends_first() -> None:
    water, ends = Water(), list[float]()
    link = water.link(10.0)
    for size in (50.0, 100.0):
        water.start(Flow(size, [(link, 1.0)]), lambda: ends.append(water.now))
    water.run()
    assert ends == [pytest.approx(10.0), pytest.approx(15.0)]  # 5 a second each, then one has all 10
    assert water.carried[link] == pytest.approx(150.0)


def test_a_flow_that_never_ends_is_an_error() -> None:
    water = Water()
    water.start(Flow(1.0, [(water.link(0.0), 1.0)]), lambda: None)
    with pytest.raises(ValueError, match="never ends"):
        water.run()


_USES = st.dictionaries(st.integers(0, 3), st.sampled_from([0.5, 1.0, 3.0, 40.0]), min_size=1)


@settings(max_examples=30, deadline=None)
@given(st.lists(_USES, min_size=1, max_size=12), st.lists(st.sampled_from([1.0, 7.0, 100.0]), min_size=4, max_size=4))
def test_rates_are_max_min_fair(uses: list[dict[int, float]], capacities: list[float]) -> None:
    flows = [Flow(1.0, list(used.items())) for used in uses]
    share(flows, capacities)
    load = [math.fsum(flow.rate * dict(flow.uses).get(link, 0.0) for flow in flows) for link in range(4)]
    for link, capacity in enumerate(capacities):
        assert load[link] <= capacity * (1 + 1e-9)
    for flow in flows:  # each is stopped by a full link, on which nobody is faster
        full = [link for link, _ in flow.uses if load[link] >= capacities[link] * (1 - 1e-9)]
        assert any(
            flow.rate >= other.rate * (1 - 1e-9)
            for link in full
            for other in [max((it for it in flows if link in dict(it.uses)), key=lambda it: it.rate)]
        )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 2), st.booleans()), min_size=1, max_size=10),
    st.sampled_from([0.0, 0.5]),
)
def test_every_byte_moves_once_whatever_the_grain(flows: list[tuple[int, int, bool]], grain_s: float) -> None:
    water = Water(grain_s=grain_s)
    links = [water.link(capacity) for capacity in (3.0, 5.0, 11.0)]
    expected, running, done = [0.0, 0.0, 0.0], list[Flow](), list[Flow]()
    for size, link, is_fed in flows:
        feeder = running[-1] if is_fed and running else None
        moved = float(size) if feeder is None else feeder.size
        expected[link] += moved
        flow = Flow(moved, [(links[link], 1.0)], feeder)
        running.append(water.start(flow, lambda flow=flow: done.append(flow)))  # type: ignore[misc]
    water.run()
    assert water.carried == [pytest.approx(value) for value in expected]
    assert len(done) == len(running)
    assert all(done.index(flow.feeder) <= done.index(flow) for flow in running if flow.feeder is not None)


def test_time_goes_forward() -> None:
    water, seen = Water(), list[float]()
    link = water.link(1.0)
    for number in range(20):
        water.at(number % 7 * 1.5, lambda: seen.append(water.now))
        water.start(Flow(1.0 + number, [(link, 1.0)]), lambda: seen.append(water.now))
    water.run()
    assert all(one <= other for one, other in pairwise(seen))
