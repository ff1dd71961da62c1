"""What clients read by themselves: from whom it is asked, and how little else."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE, Ring
from mirror.cluster.throughput import Throughput
from mirror.errors import Reason
from mirror.fetch.demand import Audience, Demand
from mirror.fetch.plan import Flight, Plan
from mirror.fetch.plan.pieces import bridged
from mirror.oci.ranges import RangeSet, Span
from mirror.settings import PlanSettings
from mirror.sources import UPSTREAM, Role

SIZE = 16 * MEBIBYTE
SETTINGS = PlanSettings()
UP = {"a", "b", "me", "h", "g"}
FOOTER = SIZE - 50, SIZE


def plan_of(
    holders: Sequence[str] = (),
    size: int | None = SIZE,
    ring: Sequence[str] = ("a", "me", "b"),
    *,
    upstream: bool = True,
) -> Plan:
    plan = Plan("me", Ring(tuple(ring)), Throughput(), holders, PlanSettings(upstream_tries=3 if upstream else 0))
    if size is not None:
        plan.sized(size)
    return plan


def asked(plan: Plan, *lazy: Span, now: float = 0.0, whole: bool = False, present: Sequence[Span] = ()) -> list[Flight]:
    local = RangeSet((0, SIZE)) if whole else RangeSet()
    demand = Demand(local, RangeSet(), RangeSet(*present), lazy=RangeSet(*lazy))
    plan.lazy.look(demand, now)
    return plan.next(demand, UP, UP, now)


def shown(flights: Sequence[Flight]) -> list[tuple[str, int, int | None]]:
    return [(flight.source, flight.start, flight.stop) for flight in flights]


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("ring", [("me",), ("a", "me", "b")])
@pytest.mark.parametrize("holders", [[], ["h"]])
def test_just_the_range_is_asked_of_upstream(size: int | None, ring: Sequence[str], holders: Sequence[str]) -> None:
    plan = plan_of(holders, size, ring)
    assert shown(asked(plan, FOOTER)) == [(UPSTREAM, *FOOTER)]
    assert asked(plan, FOOTER) == [], "it is under way"


def test_two_holders_send_it_instead_piece_by_piece() -> None:
    flights = asked(plan_of(["h", "g"]), (MEBIBYTE - 10, 2 * MEBIBYTE + 10))
    assert {flight.source for flight in flights} <= {"h", "g"}
    assert {flight.role for flight in flights} == {Role.HOLDER_FOR_HOME}, "they do not answer that they are busy"
    assert [(flight.start, flight.stop) for flight in flights] == [
        (MEBIBYTE - 10, MEBIBYTE),
        (MEBIBYTE, 2 * MEBIBYTE),
        (2 * MEBIBYTE, 2 * MEBIBYTE + 10),
    ]


def test_when_one_of_them_sent_wrong_bytes_upstream_sends_it() -> None:
    plan = plan_of(["h", "g"])
    plan.avoid(["h"], 5 * MEBIBYTE, 6 * MEBIBYTE)
    assert shown(asked(plan, FOOTER)) == [(UPSTREAM, *FOOTER)]


def test_what_flies_for_the_whole_counts_only_where_it_comes_soon() -> None:
    plan = plan_of(ring=("me",))
    (run,) = asked(plan, whole=True)
    assert shown([run]) == [(UPSTREAM, 0, SIZE)]
    plan.arrived(run, 4 * MEBIBYTE, [(0, 4 * MEBIBYTE)], 1.0)
    near, far = (4 * MEBIBYTE + 5, 4 * MEBIBYTE + 10), (9 * MEBIBYTE, 9 * MEBIBYTE + 5)
    assert shown(asked(plan, near, far, whole=True, present=[(0, 4 * MEBIBYTE)])) == [(UPSTREAM, *far)]


def test_other_downloads_take_no_lane_of_it() -> None:
    plan = plan_of(ring=("me",))
    for number in range(SETTINGS.upstream_lanes):
        plan.flights.add(Flight(UPSTREAM, Role.UPSTREAM, number, number + 1, 0.0, Audience.MEMBER))
    lazy = [(number * MEBIBYTE, number * MEBIBYTE + 5) for number in range(1, 12)]
    assert len(asked(plan, *lazy)) == SETTINGS.lazy_lanes


@pytest.mark.parametrize("holders", [[], ["h"]])
def test_without_upstream_members_send_what_they_have(holders: Sequence[str]) -> None:
    plan = plan_of(holders, upstream=False)
    flights = asked(plan, FOOTER)
    assert [flight.source in UP for flight in flights] == [True]
    assert flights[0].audience is Audience.LOCAL


@pytest.mark.parametrize("holders", [[], ["h"]])
def test_large_pieces_are_asked_of_members_once(holders: Sequence[str]) -> None:
    """Pieces of blobs from 512 MiB on are larger than what counts as soon."""
    plan = plan_of(holders, 4096 * MEBIBYTE, ("a", "b", "me"), upstream=False)
    (flight,) = asked(plan, (0, SIZE))
    assert (flight.start, flight.stop) == (0, SIZE)
    for now in (0.1, 0.2):
        assert asked(plan, (0, SIZE), now=now) == []
    plan.failed(flight, Reason.BROKEN, 0.3)
    again = asked(plan, (0, SIZE), now=2.0)
    assert [(flight.start, flight.stop) for flight in again] == [(0, SIZE)]


def test_who_waits_for_upstream_in_vain_gets_the_whole_from_a_holder() -> None:
    plan = plan_of(["h"])
    (hung,) = asked(plan, FOOTER)
    waiting, later = Demand(RangeSet(), RangeSet(), lazy=RangeSet(FOOTER)), SETTINGS.lazy_patience_s + 1
    assert not plan.lazy.look(waiting, 1.0)
    assert plan.lazy.look(waiting, later)
    flights = asked(plan, FOOTER, now=later, whole=True)
    assert {flight.source for flight in flights} == {"h"}
    plan.failed(hung, Reason.STALLED, later)
    assert not plan.lazy.look(waiting, later)


def test_a_registry_without_ranges_is_asked_for_the_whole_from_its_beginning() -> None:
    plan = plan_of(ring=("me",))
    plan.candidates.learn_upstream_has_no_ranges()
    assert plan.lazy.look(Demand(RangeSet(), RangeSet(), lazy=RangeSet(FOOTER)), 0.0)
    assert shown(asked(plan, FOOTER, whole=True)) == [(UPSTREAM, 0, SIZE)]


def test_while_the_size_is_unknown_a_holder_tells_it_if_upstream_does_not() -> None:
    plan = plan_of(["h"], size=None)
    asked(plan, FOOTER)
    assert asked(plan, FOOTER, now=1.0) == []
    assert [flight.source for flight in asked(plan, FOOTER, now=SETTINGS.lazy_patience_s + 1)] == ["h"]


GAPS = st.lists(st.integers(1, 60), min_size=2, max_size=40).map(
    lambda steps: [(a, b) for a, b in itertools.pairwise(itertools.accumulate(steps))][::2]
)


@given(GAPS, st.sampled_from([0.0, 1 / 16, 0.5]))
def test_bridges_cost_no_more_than_their_share(gaps: list[Span], share: float) -> None:
    runs = RangeSet(*bridged(gaps, share))
    wanted = RangeSet(*gaps)
    assert not wanted - runs
    assert runs.byte_count <= wanted.byte_count * (1 + share)
    assert [run for run in runs if not wanted & RangeSet(run)] == []


def test_a_large_hole_is_not_bridged_and_a_small_one_is() -> None:
    assert list(bridged([(0, 100), (105, 200), (300, 310)], 1 / 16)) == [(0, 200), (300, 310)]


def test_what_nobody_comes_for_gives_way_to_what_is_needed() -> None:
    """Where memory holds a part of the blob, a source waits for a reader to come to its bytes; and who asked may go."""
    plan = plan_of([], ring=["me"])
    ends = [(at * MEBIBYTE, at * MEBIBYTE + 10) for at in range(8, 8 + SETTINGS.lazy_lanes)]
    left = asked(plan, *ends)
    assert len(left) == SETTINGS.lazy_lanes

    def in_the_way(*lazy: Span) -> list[Flight]:
        return plan.flights.in_the_way(RangeSet(*lazy), RangeSet())

    assert not in_the_way(), "nothing is needed: somebody may come back"
    assert not in_the_way(ends[3]), "what is needed comes"
    assert not asked(plan, (0, 100), ends[3])
    assert in_the_way((0, 100), ends[3]) == left[4:]
    for flight in left[4:]:
        plan.cancelled(flight, 0.0)
    assert shown(asked(plan, (0, 100), ends[3])) == [(UPSTREAM, 0, 100)]
    assert not in_the_way((0, 100), ends[3])
