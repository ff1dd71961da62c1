"""Throughput: what is measured of members, what is concluded from it, and what others say of this node."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE
from mirror.cluster.throughput import SlowReports, Throughput
from mirror.settings import ClusterSettings
from mirror.sources import Role

RING = ["a", "b", "c", "d"]


def measured(rates: dict[str, float], role: Role = Role.HOME, *, samples: int = 3, now: float = 0.0) -> Throughput:
    """What is known after deliveries at some rates, in MiB per second."""
    throughput = Throughput()
    for name, rate in rates.items():
        for _ in range(samples):
            throughput.landed(name, MEBIBYTE, 1 / rate, 0.0, now, role)
    return throughput


def test_a_holder_takes_as_long_as_its_latency_and_its_rate_say() -> None:
    throughput = Throughput()
    throughput.landed("a", 10_000, 2.0, 0.5, 0.0, Role.HOLDER)
    assert throughput.expected_s("a", 20_000) == pytest.approx(0.5 + 20_000 / 5_000)


def test_averages_move_towards_what_was_seen_last() -> None:
    throughput = Throughput()
    throughput.landed("a", 1000, 1.0, 0.0, 0.0, Role.HOLDER)
    before = throughput.expected_s("a", 1000)
    for _ in range(3):
        throughput.landed("a", 2000, 1.0, 0.0, 0.0, Role.HOLDER)
        after = throughput.expected_s("a", 1000)
        assert 0.5 < after < before
        before = after
    for _ in range(30):
        throughput.landed("a", 2000, 1.0, 0.0, 0.0, Role.HOLDER)
    assert throughput.expected_s("a", 1000) == pytest.approx(0.5, rel=0.01)


def test_a_stranger_is_tried_for_it_may_be_as_fast_as_the_fastest() -> None:
    throughput = measured({"a": 1.0, "b": 4.0}, Role.HOLDER)
    assert throughput.expected_s("stranger", 4 * MEBIBYTE) == pytest.approx(1.0)
    assert throughput.expected_s("stranger", 4 * MEBIBYTE) < throughput.expected_s("a", 4 * MEBIBYTE)


def test_nothing_known_is_no_division_by_zero() -> None:
    throughput = Throughput()
    assert math.isfinite(throughput.expected_s("a", MEBIBYTE))
    throughput.landed("a", 0, 0.0, 0.0, 0.0, Role.HOLDER)
    assert math.isfinite(throughput.expected_s("a", MEBIBYTE))


def test_what_a_member_does_as_a_home_says_nothing_of_it_as_a_holder() -> None:
    throughput = measured({"a": 0.001}, Role.HOME)
    throughput.landed("b", MEBIBYTE, 1.0, 0.0, 0.0, Role.HOLDER)
    assert throughput.expected_s("a", MEBIBYTE) == throughput.expected_s("b", MEBIBYTE)
    assert measured(dict.fromkeys(RING, 1.0), Role.HOLDER).relative_rate("a", RING, 0.0) is None


def test_what_has_come_of_a_source_is_remembered_of_those_from_which_anything_came_lately() -> None:
    throughput, most = Throughput(), ClusterSettings().remembered_max
    throughput.came("a", 5, 0.0)
    throughput.came("b", 7, 0.0)
    throughput.came("a", 2, 1000.0)
    assert (throughput.total("a"), throughput.total("b"), throughput.total("stranger")) == (7, 7, 0)
    for number in range(most - 1):
        throughput.came(f"n{number}", 1, 1000.0)
    assert (throughput.total("a"), throughput.total("b")) == (7, 0)


def test_a_share_is_of_the_median_of_the_others() -> None:
    throughput = measured({"a": 1.0, "b": 8.0, "c": 10.0, "d": 100.0})
    assert throughput.relative_rate("a", RING, 0.0) == pytest.approx(0.1)
    assert throughput.relative_rate("c", RING, 0.0) == pytest.approx(10 / 8)
    slow = throughput.relative_rate("a", RING, 0.0)
    assert slow is not None
    assert slow < ClusterSettings().slow_rate


def test_a_share_is_not_known_of_a_stranger_or_among_too_few() -> None:
    throughput = measured({"a": 1.0, "b": 1.0, "c": 1.0})
    assert throughput.relative_rate("d", RING, 0.0) is None
    assert throughput.relative_rate("a", ["a", "b"], 0.0) is None
    assert throughput.relative_rate("a", ["b", "c"], 0.0) is None
    assert throughput.relative_rate("a", ["a", "b", "c"], 0.0) == pytest.approx(1.0)


def test_a_single_delivery_is_no_measurement() -> None:
    assert measured({"a": 1.0, "b": 1.0, "c": 1.0}, samples=1).relative_rate("a", RING, 0.0) is None


def test_a_share_expires() -> None:
    throughput = measured({"a": 0.1, "b": 1.0, "c": 1.0}, now=100.0)
    assert throughput.relative_rate("a", RING, 129.0) is not None
    assert throughput.relative_rate("a", RING, 131.0) is None


def test_a_share_is_of_what_others_delivered_at_the_same_time() -> None:
    """Of a home that was last asked while all nodes pulled nothing is known when another is asked by this one alone."""
    throughput = measured({"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}, now=100.0)
    assert throughput.relative_rate("a", RING, 100.0) == pytest.approx(1.0)
    for at in (102.5, 102.6, 102.7):
        for home in "bcd":
            throughput.landed(home, MEBIBYTE, 0.1, 0.0, at, Role.HOME)
    assert throughput.relative_rate("a", RING, 102.8) is None
    throughput.landed("a", MEBIBYTE, 10.0, 0.0, 102.8, Role.HOME)
    slow = throughput.relative_rate("a", RING, 102.8)
    assert slow is not None
    assert slow < ClusterSettings().slow_rate


def test_throughput_is_kept_of_a_bounded_number_the_latest() -> None:
    throughput = Throughput()
    for number in range(3000):
        throughput.landed(f"node-{number}", MEBIBYTE, 1.0 if number else 0.01, 0.0, 0.0, Role.HOLDER)
    assert throughput.expected_s("node-0", MEBIBYTE) == pytest.approx(1.0)
    throughput.landed("node-2999", MEBIBYTE, 0.5, 0.0, 0.0, Role.HOLDER)
    assert throughput.expected_s("node-2999", MEBIBYTE) < 1.0


FACTS = st.tuples(
    st.sampled_from(RING),
    st.integers(0, 2**40),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.sampled_from([Role.HOLDER, Role.HOME]),
)


@given(st.lists(FACTS, max_size=30), st.integers(0, 2**30), st.floats(0, 1e6))
def test_whatever_was_seen_the_answers_are_numbers(
    facts: list[tuple[str, int, float, float, float, Role]], count: int, now: float
) -> None:
    throughput = Throughput()
    for member, size, seconds, latency_s, at, role in facts:
        throughput.landed(member, size, seconds, latency_s, at, role)
    for member in [*RING, "stranger"]:
        expected_s = throughput.expected_s(member, count)
        assert math.isfinite(expected_s)
        assert expected_s >= 0
        share = throughput.relative_rate(member, RING, now)
        assert share is None or (math.isfinite(share) and share >= 0)


def heard(shares: dict[str, float], at: float = 0.0) -> SlowReports:
    reports = SlowReports()
    for name, share in shares.items():
        reports.heard(name, share, at)
    return reports


def test_one_member_alone_cannot_talk_a_node_out_of_serving() -> None:
    reports = heard({"a": 0.01})
    for _ in range(10):
        reports.heard("a", 0.01, 0.0)
    assert not reports.slow(4, 0.0)
    reports.heard("b", 0.01, 0.0)
    assert reports.slow(4, 0.0)


def test_most_of_those_who_say_anything_have_to_find_it_slow() -> None:
    assert heard({"a": 0.1, "b": 0.1, "c": 0.9}).slow(4, 0.0)
    assert not heard({"a": 0.1, "b": 0.9, "c": 0.9}).slow(4, 0.0)
    assert not heard({"a": 1.0, "b": 1.0}).slow(4, 0.0)


def test_nobody_says_anything_of_a_node_that_is_fine() -> None:
    assert not SlowReports().slow(4, 0.0)


def test_a_report_is_replaced_by_the_next_and_expires() -> None:
    reports = heard({"a": 0.1, "b": 0.1}, at=100.0)
    assert reports.slow(4, 129.0)
    assert not reports.slow(4, 131.0)
    reports.heard("a", 0.1, 120.0)
    reports.heard("b", 1.0, 120.0)
    assert not reports.slow(4, 121.0)


def test_reports_are_forgotten_for_a_new_try() -> None:
    reports = heard({"a": 0.1, "b": 0.1})
    reports.clear()
    assert not reports.slow(4, 0.0)


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, -0.001, -1e300])
def test_junk_is_not_heard(junk: float) -> None:
    reports = heard({"a": 0.1, "b": junk})
    assert not reports.slow(4, 0.0)
    reports = heard({"a": 1.0, "b": 1.0})
    for name in ("c", "d", "e"):
        reports.heard(name, junk, 0.0)
    assert not reports.slow(4, 0.0)


def test_reports_are_kept_of_a_bounded_number_the_latest() -> None:
    reports = SlowReports()
    for number in range(5000):
        reports.heard(f"node-{number}", 0.01 if number < 3900 else 1.0, 0.0)
    assert not reports.slow(4, 0.0)


def test_what_came_of_a_source_within_the_last_seconds_counts_whatever_it_was_part_of() -> None:
    throughput, settings = Throughput(), ClusterSettings()
    for step in range(100):
        throughput.came("a", 1000, step / 50)
        throughput.came("b", 100, step / 50)
    assert throughput.recent_rate("a", 1.98) == pytest.approx(50_000)
    assert throughput.recent_rate("b", 1.98) == pytest.approx(5_000)
    assert throughput.recent_rate("stranger", 1.98) == 0
    throughput.came("b", 1, 1.98 + settings.recent_s)
    assert throughput.recent_rate("a", 1.98 + settings.recent_s) < 10_000
    assert throughput.recent_rate("a", 2 * settings.recent_s + 1) == 0
