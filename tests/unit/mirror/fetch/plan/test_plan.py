"""The plan: told what sources do and the time, it has every byte brought, from where it costs the cluster least."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE, SMALLEST_BYTES, Ring, piece_size
from mirror.cluster.throughput import Throughput
from mirror.errors import Reason
from mirror.fetch.demand import Audience, Demand
from mirror.fetch.plan import Flight, Opening, Plan, Segment
from mirror.oci.ranges import RangeSet
from mirror.settings import ClusterSettings, PlanSettings
from mirror.sources import UPSTREAM, Role
from mirror.sources.failures import CONSEQUENCES

SETTINGS = PlanSettings(window_homes_alone=1, window_min=4)
"""One piece for each home: the order of requests can be told at a glance."""
FULL_S, FAILED_S = CONSEQUENCES[Reason.BUSY].rest_s, CONSEQUENCES[Reason.STATUS].rest_s

SIZE = 16 * MEBIBYTE
RING = ("a", "b", "c", "me")
"""Pieces 3, 7, 11 and 15 are this node's own."""


def piece(flight: Flight) -> int:
    return flight.start // MEBIBYTE


def of(number: int, count: int = 1) -> tuple[int, int]:
    """The bytes of some pieces."""
    return number * MEBIBYTE, (number + count) * MEBIBYTE


@dataclass
class Desk:
    """A plan, and what it is asked with."""

    plan: Plan
    now: float = 0.0
    own: RangeSet = field(default_factory=lambda: RangeSet((0, SIZE)))
    relayed: RangeSet = field(default_factory=RangeSet)
    present: RangeSet = field(default_factory=RangeSet)
    heads: Sequence[int] = ()
    up: Collection[str] | None = None
    serving: Collection[str] | None = None
    resting: Collection[str] = ()
    silent: Collection[str] = ()

    def next(self) -> list[Flight]:
        everybody = {*self.plan.candidates.ring.members, "h", "g", "me"}
        up = everybody if self.up is None else self.up
        serving = up if self.serving is None else self.serving
        demand = Demand(self.own, self.relayed, self.present, self.heads)
        return self.plan.next(demand, up, serving, self.now, resting=self.resting, silent=self.silent)

    def arrive(self, flight: Flight, position: int | None = None) -> None:
        """Some or all of a flight's bytes come."""
        assert flight.stop is not None
        position = flight.stop if position is None else position
        self.present.add(flight.start, position)
        self.plan.arrived(flight, position, [(flight.start, position)], self.now)

    def land(self, *flights: Flight) -> None:
        for flight in flights:
            self.arrive(flight)
            self.plan.landed(flight, self.now)

    def fail(self, flight: Flight, reason: str) -> None:
        self.plan.failed(flight, Reason(reason), self.now)


def plan_settings(*, upstream: bool) -> PlanSettings:
    return SETTINGS if upstream else replace(SETTINGS, upstream_tries=0)


def desk(
    ring: Sequence[str] = RING,
    holders: Sequence[str] = (),
    size: int | None = SIZE,
    *,
    upstream: bool = True,
    opening: Opening = Opening.RUN,
    throughput: Throughput | None = None,
    stated: int | None = None,
) -> Desk:
    homes, settings = Ring(tuple(ring)), plan_settings(upstream=upstream)
    plan = Plan("me", homes, throughput or Throughput(), holders, settings, opening, stated=stated)
    if size is not None:
        plan.sized(size)
    return Desk(plan, own=RangeSet((0, 1 if size is None else size)))


def shown(flights: Sequence[Flight]) -> list[tuple[str, str, int]]:
    """Source, way and piece of each flight."""
    return [(flight.source, flight.role.value, piece(flight)) for flight in flights]


# The first pieces.


def test_a_lone_holder_is_asked_first_for_what_others_would_ask_this_node_for() -> None:
    at = desk(holders=["h"])
    first = at.next()
    assert shown(first) == [("h", "holder", 3), ("h", "holder", 7)]
    at.land(*first)
    assert shown(at.next()) == [("h", "holder", 0), ("h", "holder", 1)], "from then on what readers wait for"


@pytest.mark.parametrize("holders", [[], ["h", "g"]])
def test_where_none_or_two_hold_it_the_first_pieces_are_in_order(holders: list[str]) -> None:
    assert [piece(flight) for flight in desk(holders=holders).next()] == [0, 1, 2, 3]


# The last resort.


def test_a_holder_that_the_node_leaves_alone_is_asked_if_nobody_else_can_be() -> None:
    at = desk(("me",), holders=("h",), upstream=False)
    at.up, at.resting = {"me"}, {"h"}
    flights = at.next()
    assert {(flight.source, flight.role) for flight in flights} == {("h", Role.HOLDER_FOR_HOME)}
    for flight in flights:
        at.fail(flight, "broken")
    assert at.next() == [], "it is not asked over and over"


def test_while_the_size_is_unknown_too() -> None:
    at = desk(("me",), holders=("h",), size=None, upstream=False)
    at.up, at.resting = {"me"}, {"h"}
    assert [flight.source for flight in at.next()] == ["h"]


def test_as_long_as_another_holder_a_home_or_upstream_can_be_asked_it_is_not() -> None:
    up = {"a", "b", "c", "me", "g"}
    for at in (
        desk(holders=("h", "g"), upstream=False),
        desk(("me",), holders=("h",)),
        desk(("a", "b"), holders=("h",), upstream=False),
    ):
        at.up, at.resting = up, {"h"}
        assert "h" not in {flight.source for flight in at.next()}


def test_for_what_others_ask_of_this_node_as_a_home_it_is_the_last_resort_as_well() -> None:
    at = desk(("me",), holders=("h",), upstream=False)
    at.own, at.relayed = RangeSet(), RangeSet(of(0, 8))
    at.up, at.resting = {"me"}, {"h"}
    assert {flight.source for flight in at.next()} == {"h"}
    assert not at.plan.stuck


def test_bytes_of_it_that_may_be_wrong_are_not_asked_of_it_again() -> None:
    at = desk(("me",), holders=("h",), upstream=False)
    at.up, at.resting = {"me"}, {"h"}
    at.plan.avoid(["h"], 0, SIZE)
    assert at.next() == []


# A trickle.


def test_what_trickles_from_a_lone_holder_the_homes_bring_and_it_is_left_alone_for_a_while() -> None:
    at = desk(("a", "b", "c"), holders=["h"])
    slow = at.next()
    assert {flight.source for flight in slow} == {"h"}
    at.now = SETTINGS.trickle_after_s + 1
    for flight in slow:
        at.arrive(flight, flight.start + 100)
    instead = at.next()
    assert {flight.source for flight in instead} <= {"a", "b", "c", UPSTREAM}
    assert {flight.start for flight in instead} >= {flight.position for flight in slow}
    at.land(*instead)
    assert set(at.plan.flights.superfluous(at.present)) == set(slow)
    for flight in slow:
        at.plan.cancelled(flight, at.now)
    assert "h" not in {flight.source for flight in at.next()}
    at.now += SETTINGS.trickle_ban_s
    at.land(*at.plan.flights)
    assert "h" in {flight.source for flight in at.next()}


def test_what_a_home_gets_in_a_trickle_it_asks_of_upstream() -> None:
    at = desk(holders=["h"])
    at.own, at.relayed = RangeSet(), RangeSet(of(3))
    (slow,) = at.next()
    at.now = SETTINGS.trickle_after_s + 1
    assert [(flight.source, flight.start) for flight in at.next()] == [(UPSTREAM, slow.position)]


@pytest.mark.parametrize("out", ["never asked", "failed"])
def test_a_trickle_is_better_than_nothing(out: str) -> None:
    at = desk(("me",), holders=["h"], upstream=out == "failed")
    slow = at.next()
    at.now = SETTINGS.trickle_after_s + 1
    instead = at.next()
    if out == "failed":
        for flight in instead:
            at.fail(flight, "auth")
    assert at.next() == []
    at.land(*slow)
    assert {flight.source for flight in at.next()} == {"h"}


def test_a_slow_holder_that_does_not_trickle_is_not_left() -> None:
    at = desk(holders=["h"])
    slow = at.next()
    at.now = SETTINGS.trickle_after_s + 1
    for flight in slow:
        at.arrive(flight, flight.start + int(at.now * SETTINGS.trickle_bytes_per_s))
    assert at.next() == []


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_holder_that_sends_far_less_than_upstream_sent_of_the_blob_is_left(*, is_slow: bool) -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet(of(0))
    (known,) = at.next()
    at.now = 1.0
    at.land(known)
    at.plan.candidates.add_holders(["h"])
    at.relayed = RangeSet(of(1))
    (slow,) = at.next()
    assert (known.source, slow.source) == (UPSTREAM, "h")
    at.now += SETTINGS.trickle_known_s + 0.1
    times = SETTINGS.trickle_factor * (1.1 if is_slow else 0.9)
    at.arrive(slow, slow.start + int((at.now - slow.began_at) * MEBIBYTE / times))
    assert [(flight.source, flight.start) for flight in at.next()] == [(UPSTREAM, slow.position)] * is_slow


def test_but_not_before_it_had_the_time_to_send_something() -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet(of(0))
    at.land(*at.next())
    at.plan.candidates.add_holders(["h"])
    at.relayed = RangeSet(of(1))
    (slow,) = at.next()
    at.now += SETTINGS.trickle_known_s - 0.1
    assert at.next() == []
    assert slow in at.plan.flights


# The first flight.


@pytest.mark.parametrize(
    ("ring", "holders", "source", "via"),
    [
        (RING, ["h"], "h", Role.HOLDER),
        (RING, [], "a", Role.HOME),
        (("me", "a"), [], UPSTREAM, Role.UPSTREAM),
        (("me", "a"), ["h"], "h", Role.HOLDER),
    ],
)
def test_the_first_request_tells_the_size(ring: Sequence[str], holders: Sequence[str], source: str, via: Role) -> None:
    at = desk(ring, holders, None)
    (first,) = at.next()
    assert (first.source, first.role, first.start, first.stop) == (source, via, 0, SMALLEST_BYTES)
    assert at.next() == []


def test_where_a_manifest_states_the_size_all_homes_are_asked_before_the_first_answers() -> None:
    at = desk(size=None, stated=SIZE)
    known = desk()
    assert shown(at.next()) == shown(known.next())
    assert at.next() == []
    at.plan.sized(SIZE)
    at.own = RangeSet((0, SIZE))
    assert at.next() == []
    at.land(*at.plan.flights)
    known.land(*known.plan.flights)
    assert shown(at.next()) == shown(known.next())


@pytest.mark.parametrize("size", [1, 3 * MEBIBYTE + 5, 40 * MEBIBYTE])
def test_a_manifest_that_states_another_size_than_the_right_one_costs_a_few_requests(size: int) -> None:
    at = desk(size=None, stated=SIZE)
    flights = at.next()
    at.plan.sized(size)
    at.own = RangeSet((0, size))
    for flight in flights:
        if flight.stop is not None and flight.start >= flight.stop:
            at.plan.cancelled(flight, at.now)
        else:
            at.land(flight)
    while flights := at.next():
        at.land(*flights)
    assert at.present == RangeSet((0, size))


@pytest.mark.parametrize("opening", [Opening.WHOLE, Opening.PIECE])
def test_what_is_here_in_part_or_comes_as_a_whole_begins_with_one_request(opening: Opening) -> None:
    at = desk(size=None, stated=SIZE, opening=opening)
    assert len(at.next()) == 1


def test_the_only_home_asks_upstream_for_everything_in_one_request_whatever_a_manifest_states() -> None:
    at = desk(("me",), size=None, stated=SIZE)
    assert [(flight.start, flight.stop) for flight in at.next()] == [(0, None)]
    assert at.next() == []


def test_what_another_member_asks_for_does_not_wait_although_this_node_reads_it_as_well() -> None:
    at = desk(size=None, stated=SIZE)
    at.own, at.relayed = RangeSet(), RangeSet(of(3))
    assert shown(at.next()) == [(UPSTREAM, "upstream", 3)]
    at.plan.sized(SIZE)
    at.own = RangeSet((0, SIZE))
    assert at.next()


def test_a_first_flight_learns_where_a_short_blob_ends() -> None:
    at = desk(size=None)
    (first,) = at.next()
    at.plan.sized(100)
    assert first.stop == 100


def test_a_manifest_comes_in_one_request() -> None:
    at = desk(size=None, opening=Opening.WHOLE)
    (first,) = at.next()
    assert (first.start, first.stop) == (0, None)


def test_alone_one_request_to_upstream_brings_it_all() -> None:
    at = desk(("me",), size=None)
    (first,) = at.next()
    assert (first.source, first.start, first.stop) == (UPSTREAM, 0, None)
    at.plan.sized(SIZE)
    at.own = RangeSet((0, SIZE))
    assert at.next() == []
    at.land(first)
    assert at.next() == []
    assert list(at.plan.provenance) == [Segment(0, SIZE, UPSTREAM, UPSTREAM)]


def test_before_the_size_is_known_others_do_not_wait_for_another_homes_answer() -> None:
    at = desk(size=None)
    (own,) = at.next()
    assert own.role is Role.HOME
    at.relayed = RangeSet(of(3))
    (relayed,) = at.next()
    assert (relayed.source, relayed.audience, (relayed.start, relayed.stop)) == (UPSTREAM, Audience.MEMBER, of(3))
    assert at.next() == []


def test_before_the_size_is_known_others_wait_for_this_nodes_own_direct_flight() -> None:
    at = desk(("me", "a"), size=None)
    assert len(at.next()) == 1
    at.relayed = RangeSet(of(3))
    assert at.next() == []


def test_nobody_is_asked_for_what_nobody_wants() -> None:
    at = desk(size=None)
    at.own = RangeSet()
    assert at.next() == []
    at = desk()
    at.own = RangeSet()
    assert at.next() == []


# Whom a piece is asked of.


def test_holders_come_first_each_on_its_lanes_and_in_order() -> None:
    at = desk(holders=["h", "g"])
    flights = at.next()
    assert [piece(flight) for flight in flights] == list(range(2 * SETTINGS.holder_lanes))
    assert {flight.role for flight in flights} == {Role.HOLDER}
    assert Counter(flight.source for flight in flights) == {"h": SETTINGS.holder_lanes, "g": SETTINGS.holder_lanes}
    assert not any(flight.role is Role.HOLDER_FOR_HOME for flight in flights)


def test_a_faster_holder_is_given_more() -> None:
    throughput = Throughput()
    throughput.landed("g", MEBIBYTE, 1.0, 0.0, 0.0, Role.HOLDER)
    throughput.landed("h", MEBIBYTE, 0.1, 0.0, 0.0, Role.HOLDER)
    at = desk(holders=["g", "h"], throughput=throughput)
    assert [flight.source for flight in at.next()] == ["h", "h", "g", "g"]


def test_without_a_holder_every_piece_is_asked_of_its_home_and_this_nodes_own_of_upstream() -> None:
    at = desk()
    assert shown(at.next()) == [("a", "home", 0), ("b", "home", 1), ("c", "home", 2), (UPSTREAM, "upstream", 3)]


def test_a_busy_holder_sends_everybody_to_the_homes_but_homes_get_their_pieces() -> None:
    at = desk(holders=["h"])
    first, second = at.next()
    assert shown([first, second]) == [("h", "holder", 3), ("h", "holder", 7)]
    at.fail(first, "busy")
    assert shown(at.next()) == [("a", "home", 0), ("b", "home", 1), ("c", "home", 2)]
    at.fail(second, "busy")
    assert shown(at.next()) == [("h", "holder-for-home", 3)]


def test_that_the_registry_is_out_does_not_keep_a_busy_holder_from_sending_each_piece_once() -> None:
    at = desk(holders=["h"])
    at.plan.candidates.troubles.is_told_out = True
    at.now = SETTINGS.unable_s + 1
    for flight in at.next():
        at.fail(flight, "busy")
    assert shown(at.next()) == [("a", "home", 0), ("b", "home", 1), ("c", "home", 2), ("h", "holder-for-home", 3)]


def test_a_registry_that_is_out_and_no_holder_leave_the_homes_alone() -> None:
    at = desk()
    at.plan.candidates.troubles.is_told_out = True
    at.now = SETTINGS.unable_s + 1
    assert {flight.source for flight in at.next()} == {UPSTREAM}


def test_without_upstream_this_nodes_own_pieces_still_come_from_the_busy_holder() -> None:
    at = desk(holders=["h"], upstream=False)
    for flight in at.next():
        at.fail(flight, "busy")
    assert shown(at.next()) == [("a", "home", 0), ("b", "home", 1), ("c", "home", 2), ("h", "holder-for-home", 3)]


def test_what_members_ask_of_this_node_leaves_the_only_holder_to_its_own_readers() -> None:
    at = desk(holders=["h"])
    everything, at.own = at.own, RangeSet()
    at.relayed = RangeSet(*map(of, (3, 7, 11)))
    assert shown(at.next()) == [("h", "holder-for-home", number) for number in (3, 7, 11)]
    at.own = everything
    own = at.next()
    assert {(flight.source, flight.role) for flight in own} == {("h", Role.HOLDER)}
    for flight in own:
        at.fail(flight, "busy")
    assert shown(at.next()) == [("a", "home", 0), ("b", "home", 1), ("c", "home", 2), ("a", "home", 4)]


def test_a_holder_that_was_busy_is_asked_again_later() -> None:
    at = desk(holders=["h"])
    for flight in at.next():
        at.fail(flight, "busy")
    at.now = SETTINGS.busy_s - 0.01
    homes = at.next()
    at.land(*homes)
    at.now = SETTINGS.busy_s
    assert {flight.source for flight in at.next()} == {"h"}


def test_a_holder_without_room_even_for_homes_is_left_alone_for_a_moment() -> None:
    at = desk(holders=["h"], upstream=False)
    at.own, at.relayed = RangeSet(), RangeSet(of(0))
    (flight,) = at.next()
    assert flight.role is Role.HOLDER_FOR_HOME
    at.fail(flight, "busy")
    assert at.next() == []
    assert at.plan.candidates.again_at(at.now, awaits_registry=True) == pytest.approx(FULL_S)
    at.now = FULL_S
    assert shown(at.next()) == [("h", "holder-for-home", 0)]


def test_a_holder_that_has_it_not_is_asked_no_more_and_that_is_no_failure() -> None:
    at = desk(holders=["h", "g"])
    missing = next(flight for flight in at.next() if flight.source == "h")
    at.fail(missing, "missing")
    nobody_rests = at.plan.candidates.again_at(at.now, awaits_registry=True) is None
    assert {flight.source for flight in at.next()} == {"g"} or nobody_rests
    at.now = 1000.0
    assert "h" not in {flight.source for flight in at.next()}


def test_members_that_turn_up_later_are_taken_in_once() -> None:
    at = desk(("me",), ["h"], upstream=False)
    for flight in at.next():
        at.fail(flight, "missing")
    assert not at.plan.candidates.add_holders(["h"])
    assert at.next() == []
    assert at.plan.candidates.add_holders(["h", "g"])
    assert not at.plan.candidates.add_holders(["g"])
    assert {flight.source for flight in at.next()} == {"g"}


def test_who_is_not_up_is_not_asked() -> None:
    at = desk(holders=["h"])
    at.up = {"a", "me"}
    assert {flight.source for flight in at.next()} == {"a", UPSTREAM}


def test_homes_that_are_back_bring_what_is_not_on_its_way_yet() -> None:
    at = desk()
    at.up = {"me"}
    alone = at.next()
    assert shown(alone) == [(UPSTREAM, "upstream", number) for number in range(SETTINGS.window_min)]
    assert all(flight.stop - flight.start == MEBIBYTE for flight in alone if flight.stop is not None)
    at.up = None
    at.land(*alone)
    assert {flight.source for flight in at.next()} == {"a", "b", "c", UPSTREAM}


def test_a_home_that_failed_and_was_down_meanwhile_is_asked_as_soon_as_it_is_back() -> None:
    at = desk()
    at.own = RangeSet(of(0))
    (flight,) = at.next()
    at.fail(flight, "stalled")
    at.up = {"b", "c", "me"}
    at.next()
    at.up = None
    at.own = RangeSet(of(4))
    assert [flight.source for flight in at.next()] == [flight.source] == ["a"]


def test_who_declines_is_no_home_but_may_be_a_holder() -> None:
    at = desk(holders=["h"])
    at.serving = {"me", "b"}
    assert {flight.source for flight in at.next()} == {"h"}
    at = desk()
    at.serving = {"me", "b"}
    assert {flight.source for flight in at.next()} == {"b", UPSTREAM}


def test_a_declining_node_still_brings_its_own_readers_what_all_others_decline() -> None:
    at = desk()
    at.serving = set()
    (flight,) = at.next()
    assert (flight.source, flight.start, flight.stop) == (UPSTREAM, 0, SIZE)


# For others.


def test_what_others_ask_for_comes_straight_from_upstream() -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet(of(0), of(5))
    flights = at.next()
    assert shown(flights) == [(UPSTREAM, "upstream", 0), (UPSTREAM, "upstream", 5)]
    assert not any(flight.audience is Audience.LOCAL for flight in flights)


def test_what_others_ask_for_comes_from_a_holder_even_a_busy_one() -> None:
    at = desk(holders=["h"])
    for flight in at.next():
        at.fail(flight, "busy")
    at.own, at.relayed = RangeSet(), RangeSet(of(0, 6))
    flights = at.next()
    assert shown(flights) == [("h", "holder-for-home", number) for number in range(SETTINGS.home_lanes)]
    assert all(flight.role is Role.HOLDER_FOR_HOME and flight.audience is Audience.MEMBER for flight in flights)


def test_what_others_ask_for_never_waits_for_another_homes_flight() -> None:
    """Or two nodes that take each other for the home of one piece would wait for each other for ever."""
    at = desk()
    homes = at.next()
    asked = RangeSet(*((flight.start, flight.stop) for flight in homes if flight.stop and flight.role is Role.HOME))
    at.relayed = asked
    relayed = at.next()
    assert RangeSet(*((flight.start, flight.stop or 0) for flight in relayed)) == asked
    assert {flight.source for flight in relayed} == {UPSTREAM}
    assert at.next() == []


def test_what_others_ask_for_is_not_brought_twice() -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet(of(0))
    assert len(at.next()) == 1
    at.relayed = RangeSet(of(0, 2))
    assert shown(at.next()) == [(UPSTREAM, "upstream", 1)]


def test_what_is_flown_for_others_takes_no_room_in_this_nodes_window() -> None:
    at = desk()
    at.relayed = RangeSet(of(12, 4))
    flights = at.next()
    assert sum(flight.audience is Audience.MEMBER for flight in flights) == 4
    assert [piece(flight) for flight in flights if flight.audience is Audience.LOCAL] == [0, 1, 2, 3]


def test_there_is_a_bound_on_requests_to_upstream() -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet((0, SIZE))
    flights = at.next()
    assert len(flights) == SETTINGS.upstream_lanes
    at.land(flights[0])
    assert [piece(flight) for flight in at.next()] == [SETTINGS.upstream_lanes]


def test_what_this_node_cannot_bring_for_others_is_theirs_to_ask_elsewhere() -> None:
    at = desk(upstream=False)
    at.relayed = RangeSet(of(0, 2))
    at.next()
    assert at.plan.stuck == RangeSet(of(0, 2))
    at = desk(size=None, upstream=False)
    at.relayed = RangeSet(of(3))
    at.next()
    assert at.plan.stuck == RangeSet(of(3))


def test_what_only_waits_for_its_turn_is_not_given_up() -> None:
    at = desk()
    at.own, at.relayed = RangeSet(), RangeSet((0, SIZE))
    for _ in range(2):
        at.next()
        assert not at.plan.stuck
    at = desk(holders=["h"], upstream=False)
    at.own, at.relayed = RangeSet(), RangeSet((0, SIZE))
    at.next()
    assert not at.plan.stuck


# The window and the order.


@pytest.mark.parametrize("members", [1, 2, 5, 31, 60])
def test_about_one_piece_for_every_home_is_on_its_way(members: int) -> None:
    ring = [f"node-{number}" for number in range(members)]
    at = desk(ring, size=240 * MEBIBYTE)
    at.up = {*ring, "me"}
    flights = at.next()
    assert len(flights) == min(max(members, SETTINGS.window_min), SETTINGS.window_max)
    assert [piece(flight) for flight in flights] == list(range(len(flights)))
    assert max(Counter(flight.source for flight in flights).values()) <= max(1, SETTINGS.window_min // members)
    at.land(flights[2 % len(flights)])
    assert [piece(flight) for flight in at.next()] == [len(flights)]


@pytest.mark.parametrize(
    ("members", "are_several", "window"),
    [(1, False, 2), (3, False, 4), (8, False, 12), (31, False, 32), (1, True, 2), (3, True, 3), (8, True, 8)],
)
def test_some_pieces_more_than_there_are_homes_are_on_their_way_or_one_of_each_beside_those_of_other_blobs(
    members: int, are_several: bool, window: int
) -> None:
    ring = Ring(tuple(f"node-{number}" for number in range(members)))
    plan = Plan("me", ring, Throughput(), (), PlanSettings(), Opening.RUN, are_several=lambda: are_several)
    plan.sized(240 * MEBIBYTE)
    at = Desk(plan, own=RangeSet((0, 240 * MEBIBYTE)))
    at.up = {*ring.members, "me"}
    assert [piece(flight) for flight in at.next()] == list(range(window))


def test_what_is_here_is_not_asked_for() -> None:
    at = desk()
    at.present = RangeSet(of(0, 2), of(3, 4))
    assert [piece(flight) for flight in at.next()] == [2, 7, 8, 9]


def test_only_the_missing_part_of_a_piece_is_asked_for() -> None:
    at = desk()
    at.own, at.present = RangeSet(of(0, 2)), RangeSet((0, 1000), (MEBIBYTE + 5, MEBIBYTE + 10))
    assert [(flight.start, flight.stop) for flight in at.next()] == [
        (1000, MEBIBYTE),
        (MEBIBYTE, MEBIBYTE + 5),
        (MEBIBYTE + 10, 2 * MEBIBYTE),
    ]


def test_what_readers_wait_for_comes_first_then_what_follows_it_then_the_rest() -> None:
    at = desk()
    at.heads = [6 * MEBIBYTE + 17, 12 * MEBIBYTE]
    assert [piece(flight) for flight in at.next()] == [6, 12, 7, 8]
    at.heads = [14 * MEBIBYTE]
    at.land(*at.plan.flights)
    assert [piece(flight) for flight in at.next()] == [14, 15, 0, 1]


def test_alone_a_waiting_reader_makes_two_runs_and_no_byte_comes_twice() -> None:
    at = desk(("me",))
    at.heads = [6 * MEBIBYTE]
    flights = at.next()
    assert sorted((flight.start, flight.stop) for flight in flights) == [of(0, 6), of(6, 10)]
    assert flights[0].start == 6 * MEBIBYTE


def test_alone_runs_go_around_what_is_here() -> None:
    at = desk(("me",))
    at.present = RangeSet(of(4, 4))
    flights = at.next()
    assert [(flight.source, (flight.start, flight.stop)) for flight in flights] == [
        (UPSTREAM, of(0, 4)),
        (UPSTREAM, of(8, 8)),
    ]


# What fails.


def follow(at: Desk, reason: str) -> list[str]:
    """Let everybody fail who is asked for the first piece; return who was."""
    asked = []
    at.own = RangeSet(of(0))
    while flights := at.next():
        (flight,) = flights
        assert (flight.start, flight.stop) == of(0)
        asked.append(flight.source)
        at.fail(flight, reason)
    return asked


def test_who_is_told_by_a_home_that_upstream_has_no_such_thing_asks_that_itself_and_sends_nobody_else() -> None:
    at = desk(("a", "b", "c", "d", "e"), size=20 * MEBIBYTE)
    assert follow(at, "unknown") == [next(at.plan.candidates.ring.homes(0)), UPSTREAM]


def test_where_upstream_has_it_all_the_same_the_other_homes_are_relied_on_again() -> None:
    at = desk(("a", "b", "c", "d", "e"), size=20 * MEBIBYTE)
    at.own = RangeSet(of(0))
    (first,) = at.next()
    at.fail(first, "unknown")
    (second,) = at.next()
    assert (first.source, second.source) == (next(at.plan.candidates.ring.homes(0)), UPSTREAM)
    at.land(second)
    at.own = RangeSet(of(0), of(1))
    (third,) = at.next()
    assert third.role is Role.HOME


@pytest.mark.parametrize("reason", ["unreachable", "stalled", "timeout", "broken", "status"])
def test_a_home_that_fails_is_followed_by_the_next_and_all_of_them_by_upstream(reason: str) -> None:
    at = desk(("a", "b", "c", "d", "e"), size=20 * MEBIBYTE)
    order = list(at.plan.candidates.ring.homes(0))
    tries = SETTINGS.upstream_tries if CONSEQUENCES[Reason(reason)].retried else 1
    assert follow(at, reason) == [*order, *[UPSTREAM] * tries]


def test_this_node_takes_its_turn_in_the_order_by_asking_upstream_itself() -> None:
    at = desk()
    order = list(at.plan.candidates.ring.homes(0))
    assert follow(at, "unreachable") == [*order[: order.index("me")], UPSTREAM, *order[order.index("me") + 1 :]]


def test_after_two_homes_that_cannot_this_node_asks_upstream_itself() -> None:
    at = desk(("a", "b", "c", "d", "e"), size=20 * MEBIBYTE)
    order = list(at.plan.candidates.ring.homes(0))
    assert follow(at, "unable") == [*order[:2], UPSTREAM], "and if it cannot either, nobody"


def test_homes_that_may_not_ask_are_passed_over_and_this_node_takes_its_turn() -> None:
    at = desk(("a", "b", "c", "d", "e"), size=20 * MEBIBYTE)
    order = [UPSTREAM if name == "me" else name for name in at.plan.candidates.ring.homes(0)]
    assert follow(at, "rate-limited") == (order if UPSTREAM in order else [*order, UPSTREAM])


def test_a_home_that_was_unable_is_asked_again_later() -> None:
    at = desk()
    at.own = RangeSet(of(0))
    (flight,) = at.next()
    at.fail(flight, "unable")
    (other,) = at.next()
    assert other.source != "a"
    at.fail(other, "unreachable")
    at.now = SETTINGS.unable_s
    assert [flight.source for flight in at.next()] == ["a"]


@pytest.mark.parametrize("gone", [False, True])
def test_a_home_that_failed_is_asked_again_much_later(gone: bool) -> None:
    at = desk()
    at.own = RangeSet(of(0))
    (flight,) = at.next()
    at.fail(flight, "broken")
    at.up = {"b", "c", "me"} if gone else None
    at.next()
    at.up = None
    at.own = RangeSet(of(4))
    at.now = FAILED_S - 1
    flights = at.next()
    assert flights[0].source != "a"
    at.land(*flights)
    at.now = FAILED_S
    at.own = RangeSet(of(8))
    assert at.next()[0].source == "a"


def test_what_a_failing_source_did_not_bring_goes_to_another() -> None:
    at = desk(holders=["h", "g"])
    at.own = RangeSet(of(0))
    (flight,) = at.next()
    at.arrive(flight, 1000)
    at.fail(flight, "broken")
    (rest,) = at.next()
    assert rest.source != flight.source
    assert (rest.start, rest.stop) == (1000, MEBIBYTE)
    assert list(at.plan.provenance) == [Segment(0, 1000, flight.source, flight.source, is_own_word=True)]


def test_upstream_is_tried_some_times_and_what_it_brings_earns_it_new_ones() -> None:
    at = desk(("me",))
    for _ in range(SETTINGS.upstream_tries - 1):
        (flight,) = at.next()
        at.fail(flight, "broken")
    (flight,) = at.next()
    at.arrive(flight, SETTINGS.progress_bytes)
    at.fail(flight, "broken")
    for number in range(SETTINGS.upstream_tries - 1):
        (flight,) = at.next()
        assert flight.start == SETTINGS.progress_bytes + number
        at.arrive(flight, flight.start + 1)
        at.fail(flight, "broken")
    assert at.next() == [], "a byte now and then is nothing"
    assert at.plan.candidates.again_at(at.now, awaits_registry=True) is None


def test_a_final_failure_of_upstream_is_final() -> None:
    at = desk(("me",))
    at.fail(at.next()[0], "unknown")
    assert at.next() == []


def test_after_a_halt_nobody_is_asked() -> None:
    at = desk(holders=["h"])
    at.next()
    at.plan.candidates.halt()
    at.relayed = RangeSet(of(9))
    assert at.next() == []
    at.now = 1e6
    assert at.next() == []
    assert at.plan.flights
    assert at.plan.candidates.again_at(at.now, awaits_registry=True) is None


# Slow members, and late pieces.


def slow_throughput(*slow: str, now: float = 0.0) -> Throughput:
    """Measurements of the homes, some of them slow."""
    throughput = Throughput()
    for name in RING[:3]:
        for _ in range(3):
            throughput.landed(name, MEBIBYTE, 10.0 if name in slow else 0.1, 0.0, now, Role.HOME)
    return throughput


@pytest.mark.parametrize("ring", [RING, ("a", "b", "c")])
def test_a_slow_home_keeps_its_place_until_it_declines_itself_so_that_all_nodes_ask_the_same(
    ring: Sequence[str],
) -> None:
    assert follow(desk(ring, throughput=slow_throughput("a")), "unreachable") == follow(desk(ring), "unreachable")


@pytest.mark.parametrize(("origin", "is_measured"), [(UPSTREAM, True), (None, True), ("h", False)])
def test_only_what_a_home_has_not_from_another_member_tells_how_fast_it_sends(
    origin: str | None, *, is_measured: bool
) -> None:
    throughput = Throughput()
    at = desk(("a", "b", "c", "d", "me"), throughput=throughput)
    for _ in range(3):
        flights = at.next()
        for flight in flights:
            assert flight.stop is not None
            at.plan.replied(flight, flight.stop, origin)
            at.arrive(flight, flight.start + MEBIBYTE // 2)
        at.now += 0.1
        at.land(*(flight for flight in flights if flight.source != "a"))
        at.now += 0.9
        at.land(*(flight for flight in flights if flight.source == "a"))
    assert (throughput.relative_rate("a", ["a", "b", "c", "d"], at.now) is not None) == is_measured


def flying_late(at: Desk, *, others_s: float, now: float) -> Flight:
    """Land all but the first of the first flights after `others_s`; return that one, at `now`."""
    late, *others = at.next()
    at.now = others_s
    at.land(*others)
    at.own = RangeSet(*((flight.start, flight.stop or 0) for flight in (late, *others)))
    at.now = now
    return late


def test_a_late_piece_is_asked_of_one_source_more_which_may_have_it_already() -> None:
    at = desk()
    late = flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    at.arrive(late, 1000)
    (second,) = at.next()
    assert (second.source, second.role) == ("b", Role.PARTIAL)
    assert (second.start, second.stop) == (1000, MEBIBYTE)
    for step in range(10):
        at.now += step
        assert at.next() == []


def test_a_very_late_piece_goes_to_the_home_after_this_node_where_this_node_cannot_fetch() -> None:
    at = desk(("a", "me", "b"), upstream=False)
    at.own = RangeSet(of(0, 3))
    late, asked = flying_late(at, others_s=0.2, now=0.3), []
    while at.now < SETTINGS.barren_s - 1:
        at.now += 0.25
        at.arrive(late, late.start + int(at.now * 1000))
        for flight in at.next():
            asked.append((flight.source, flight.role))
            if flight.role is Role.PARTIAL:
                at.fail(flight, "missing")
    assert ("b", Role.HOME) in asked


def test_a_home_that_forgot_one_request_is_asked_as_a_holder_all_the_same() -> None:
    at = desk(("a", "me"), size=200 * MEBIBYTE)
    late, *others = (flight for flight in at.next() if flight.source == "a")
    while at.now < SETTINGS.still_s + 1:
        at.now = round(at.now + 0.1, 1)
        at.land(*others)
        flights = at.next()
        others = [flight for flight in flights if flight.source == "a"]
        at.land(*(flight for flight in flights if flight.source == UPSTREAM))
    assert at.present.covers(late.start, MEBIBYTE)
    assert not at.plan.candidates.members.is_trickling("a")


def test_a_home_without_others_beside_it_is_compared_with_what_holders_sent() -> None:
    at = desk(("a", "b", "me"), holders=["h"], size=3 * MEBIBYTE)
    for flight in at.next():
        at.fail(flight, "busy")
    flights = at.next()
    asked: list[Flight] = []
    slow = next(flight for flight in flights if flight.source == "a")
    at.now = 0.3
    at.land(*(flight for flight in flights if flight is not slow))
    at.plan.replied(slow, slow.stop or 0, "h")
    while at.now < 2 * SETTINGS.trickle_after_s and not asked:
        at.now += 0.25
        at.arrive(slow, slow.start + int(at.now * 12 * 1024))
        at.plan.candidates.add_holders(["b"])
        asked = at.next()
    assert {flight.source for flight in asked} <= {"h", "b"}
    assert asked


def test_the_home_of_the_only_piece_is_not_waited_for_as_long_as_the_fetch_has_patience() -> None:
    at = desk(("a", "b", "me"), size=100_000)
    (only,), asked = at.next(), []
    assert only.source == "a"
    while at.now < SETTINGS.barren_s:
        at.now += 0.25
        for flight in at.next():
            asked.append((flight.source, flight.role))
            if flight.role is Role.PARTIAL:
                at.fail(flight, "missing")
    assert asked == [("b", Role.PARTIAL), ("b", Role.HOME)]


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_a_request_that_nobody_else_can_serve_hides_no_other_late_one(*, is_forgotten: bool) -> None:
    at = desk(("me", "a", "b"))
    forgotten = next(flight for flight in at.next() if flight.source == UPSTREAM)
    slow: list[Flight] = []
    asked: list[Flight] = []
    while at.now < SETTINGS.trickle_after_s:
        at.now = round(at.now + 0.25, 2)
        for flight in list(at.plan.flights):
            if flight.source == "a" and flight.role is Role.HOME:
                slow.append(flight)
                at.arrive(flight, flight.position + 1000)
            elif flight.role is Role.PARTIAL:
                at.fail(flight, "missing")
            elif flight is not forgotten or not is_forgotten:
                at.land(flight)
        for flight in at.plan.flights.superfluous(at.present):
            at.plan.cancelled(flight, at.now)
        asked += at.next()
    assert [flight for flight in asked if piece(flight) == piece(slow[0])]


@pytest.mark.parametrize("ring", [("a", "me"), ("a", "b", "me")])
def test_while_nothing_comes_from_anybody_no_home_is_slow(ring: Sequence[str]) -> None:
    at = desk(ring, size=64 * MEBIBYTE)
    step_s, asked = 0.05, []
    at.next()
    while at.now < 4:
        at.now = round(at.now + step_s, 2)
        for flight in list(at.plan.flights):
            position = min(flight.stop or 0, flight.position + int(step_s * 2 * MEBIBYTE))
            at.arrive(flight, position)
            if position == flight.stop:
                at.plan.landed(flight, at.now)
        at.next()
    pauses_until = at.now + SETTINGS.still_s - 0.5
    while at.now < pauses_until:
        at.now = round(at.now + step_s, 2)
        for flight in at.next():
            asked.append(flight.role)
            if flight.role is Role.PARTIAL:
                at.fail(flight, "missing")
    assert {*asked} <= {Role.PARTIAL}
    assert not any(map(at.plan.candidates.members.is_trickling, ring))


@pytest.mark.parametrize("has_another", [False, True])
def test_a_piece_that_is_slow_from_two_is_asked_of_a_holder_that_is_not_busy_any_more(*, has_another: bool) -> None:
    at = desk(holders=["h"])
    for flight in at.next():
        at.fail(flight, "busy")
    flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    asked = []
    while at.now < SETTINGS.barren_s:
        for flight in at.next():
            asked.append((flight.source, flight.role))
            if flight.role is Role.PARTIAL and not has_another:
                at.fail(flight, "missing")
        at.now = round(at.now + 0.25, 2)
        for flight in list(at.plan.flights):
            at.arrive(flight, flight.position + 500)
    assert asked[-1] == ("h", Role.HOLDER_FOR_HOME)
    assert asked.count(asked[-1]) == 1


def test_members_are_asked_again_for_a_late_piece_but_not_all_the_time() -> None:
    throughput = Throughput()
    at = desk(("a", "b", "c", "me"), throughput=throughput)
    late, *others = at.next()
    asked_at = []
    while at.now < 60:
        at.now = round(at.now + 0.1, 1)
        at.arrive(late, late.start + int(at.now * 10_000))
        throughput.came("a", MEBIBYTE, at.now)  # of other blobs
        at.land(*others)
        others = []
        for flight in at.next():
            if flight.role is Role.PARTIAL:
                asked_at.append(at.now)
                at.fail(flight, "missing")
            else:
                others.append(flight)
    assert SETTINGS.partial_tries < len(asked_at) <= SETTINGS.partial_tries * at.now / SETTINGS.partial_again_s


def test_while_what_an_earlier_fetch_left_is_hashed_no_patience_is_lost() -> None:
    at = desk(("a", "me"), size=None, opening=Opening.PIECE)
    at.next()
    while at.now < SETTINGS.barren_s + 1:
        at.now += 0.25
        assert at.next() == []
    at.plan.sized(SIZE)
    at.plan.resumed([(0, SIZE // 2)])
    at.present, at.own = RangeSet((0, SIZE // 2)), RangeSet((0, SIZE))
    for flight in at.plan.flights.superfluous(at.present):
        at.plan.cancelled(flight, at.now)
    assert at.next()


def test_a_late_piece_is_not_asked_of_the_busy_holder_from_whom_its_home_has_it() -> None:
    at = desk(holders=["h"])
    for flight in at.next():
        at.fail(flight, "busy")
    late = flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    assert late.role is Role.HOME
    (second,) = at.next()
    assert (second.role, second.start) == (Role.PARTIAL, late.start)


def test_nor_of_that_holder_when_it_may_be_asked_again() -> None:
    """Its link is as full as before, and what it sends twice the homes get later."""
    at = desk(holders=["h"])
    for flight in at.next():
        at.fail(flight, "busy")
    late = flying_late(at, others_s=0.2, now=SETTINGS.busy_s + 0.1)
    assert late.role is Role.HOME
    assert late.stop is not None
    at.plan.replied(late, late.stop, "h")
    seconds = at.next()
    assert [flight.role for flight in seconds if flight.start == late.start] == [Role.PARTIAL]


def test_where_others_lack_a_late_piece_too_another_home_is_to_bring_it() -> None:
    at = desk()
    flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    asked = []
    for _ in range(3):
        (second,) = at.next()
        asked.append((second.source, second.role))
        at.fail(second, "missing")
        at.now += 1
    assert asked == [("b", Role.PARTIAL), ("c", Role.PARTIAL), ("b", Role.HOME)]


def test_on_a_large_ring_only_some_are_asked_whether_they_have_a_late_piece() -> None:
    at = desk([f"node-{number}" for number in range(10)])
    flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    asked = []
    for _ in range(SETTINGS.partial_tries + 1):
        (second,) = at.next()
        asked.append(second.role)
        at.fail(second, "missing")
        at.now += 1
    assert asked == [Role.PARTIAL] * SETTINGS.partial_tries + [Role.HOME]


def test_a_late_piece_that_nobody_else_can_bring_comes_straight_from_upstream() -> None:
    at = desk(("a", "me"))
    at.own = RangeSet(of(0), of(2), of(4), of(6))
    flying_late(at, others_s=0.2, now=0.2 + 2 * ClusterSettings().recent_s)
    (second,) = at.next()
    assert second.source == UPSTREAM


def test_a_very_late_piece_whose_next_home_is_this_node_comes_straight_from_upstream() -> None:
    """Those who ask the same home ask this node, and it need not ask one more."""
    at = desk(("a", "me", "b"))
    at.own = RangeSet(of(0, 3))
    flying_late(at, others_s=0.2, now=0.2 + 2 * ClusterSettings().recent_s)
    (asked,) = at.next()
    assert (asked.source, asked.role) == ("b", Role.PARTIAL)
    at.fail(asked, "missing")
    at.now += 1
    (second,) = at.next()
    assert (second.source, piece(second)) == (UPSTREAM, 0)


@pytest.mark.parametrize("is_judged", [True, False])
def test_what_a_home_is_slow_to_send_is_not_asked_of_it_as_a_holder(*, is_judged: bool) -> None:
    """It may have all of the blob first: it waits for nobody that is slow."""
    at = desk(("a", "b", "me"))
    at.own = RangeSet(of(0, 3))
    late = flying_late(at, others_s=0.2, now=0.2 + 2 * ClusterSettings().recent_s)
    assert late.source == "a"
    if is_judged:
        (partial,) = at.next()
        at.fail(partial, "missing")
        at.now += 1
        assert [(flight.source, flight.role) for flight in at.next()] == [("b", Role.HOME)]
    at.plan.candidates.add_holders(["a"])
    at.own, at.relayed = RangeSet(), RangeSet(of(0), of(6)) if is_judged else RangeSet(of(0))
    assert {flight.source for flight in at.next() if flight.role is not Role.PARTIAL} == {UPSTREAM}


def test_a_piece_that_comes_from_the_only_holder_as_its_home_does_not_keep_others_from_being_asked_for() -> None:
    at = desk(("a", "me"), upstream=False)
    at.own = RangeSet(of(0))
    (first,) = at.next()
    assert (first.source, first.role) == ("a", Role.HOME)
    at.plan.candidates.add_holders(["a"])
    at.relayed = RangeSet(of(0, 2))
    assert shown(at.next()) == [("a", "holder-for-home", 1)]
    assert not at.plan.stuck


def test_a_home_with_no_other_beside_it_is_compared_with_upstream() -> None:
    at = desk(("a", "me"), size=8 * MEBIBYTE)
    mine = [flight for flight in at.next() if flight.source == UPSTREAM]
    at.now = 0.2
    at.land(*mine)
    seconds: list[Flight] = []
    while at.now < SETTINGS.still_s and not seconds:
        at.now += 0.2
        at.land(*(flight for flight in at.plan.flights if flight.source == UPSTREAM))
        for flight in at.plan.flights:
            at.arrive(flight, flight.start + int(at.now * 1000))
        seconds = [flight for flight in at.next() if flight.source == UPSTREAM and piece(flight) % 2 == 0]
    assert seconds


def test_a_piece_that_is_slow_to_come_to_a_home_that_delivers_is_waited_for() -> None:
    at = desk(("a", "me"), size=200 * MEBIBYTE)
    late, *others = at.next()
    assert late.source == "a"
    for step in range(1, 60):
        at.now = step / 10
        at.arrive(late, late.start + 100 * step)
        at.land(*others)
        others = at.next()
        assert {flight.source for flight in others} == {"a", UPSTREAM}
        assert all(flight.start > MEBIBYTE for flight in others)


def test_a_piece_of_which_nothing_comes_for_long_is_fetched_by_others_although_its_home_delivers() -> None:
    at = desk(("a", "me"), size=200 * MEBIBYTE)
    late, *others = (flight for flight in at.next() if flight.source == "a")
    asked_at = None
    for step in range(1, 100):
        at.now = step / 10
        at.land(*others)
        flights = at.next()
        others = [flight for flight in flights if flight.source == "a"]
        at.land(*(flight for flight in flights if flight.source == UPSTREAM and flight.start != late.start))
        if any(flight.source == UPSTREAM and flight.start == late.start for flight in flights):
            asked_at = at.now
            break
    assert asked_at is not None
    assert SETTINGS.still_s < asked_at < SETTINGS.still_s + 1


@pytest.mark.parametrize("is_home_slow", [True, False])
def test_a_piece_of_a_home_that_is_slow_in_everything_is_late_before_others_would_have_ended(
    is_home_slow: bool,
) -> None:
    throughput = Throughput()
    at = desk(throughput=throughput)
    late, *others = at.next()
    for step in range(1, 22):
        assert at.next() == []
        at.now = step / 10
        at.arrive(late, late.start + 1000 * step)
        for flight in others:
            at.arrive(flight, flight.start + 10_000 * step)  # a piece takes ten seconds
        if not is_home_slow:
            throughput.came(late.source, 9_000, at.now)  # of another blob
    seconds = at.next()
    assert [(second.role, second.start) for second in seconds] == [(Role.PARTIAL, late.position)] * is_home_slow


def test_no_piece_is_late_in_its_first_second_or_as_fast_as_the_others() -> None:
    at = desk()
    flying_late(at, others_s=0.01, now=SETTINGS.late_s - 0.01)
    assert at.next() == []
    at = desk()
    flights = at.next()
    for step in range(1, 5):
        at.now = float(step)
        for flight in flights:
            at.arrive(flight, flight.start + 1000 * step)
        assert [flight for flight in at.next() if piece(flight) < 4] == []


def test_a_piece_that_is_nearly_there_is_waited_for() -> None:
    at = desk()
    late = flying_late(at, others_s=0.1, now=SETTINGS.late_s)
    at.arrive(late, MEBIBYTE - 1000)
    assert at.next() == []


def test_of_two_answers_with_everything_only_the_first_is_taken() -> None:
    at = desk(["me", "a", "b", "c"])
    first, *others = at.next()
    for flight in others:
        at.land(flight)
    second, *_ = (flight for flight in at.next() if flight.source == UPSTREAM)
    assert (piece(first), piece(second)) == (0, 4)
    for flight in (second, first):  # upstream serves no ranges
        at.plan.replied(flight, SIZE, None)
    at.arrive(second, second.start + 10)
    assert at.plan.flights.superfluous(at.present) == []
    at.arrive(first, 10)
    assert at.plan.flights.superfluous(at.present) == [second]
    at.arrive(first, second.position + 1)  # in memory: what is behind it, and was dropped, comes by the other one alone
    assert at.plan.flights.superfluous(RangeSet()) == []


def test_who_is_first_wins_and_the_other_is_superfluous() -> None:
    at = desk()
    late = flying_late(at, others_s=0.2, now=SETTINGS.late_s)
    (second,) = at.next()
    assert at.plan.flights.superfluous(at.present) == []
    at.land(second)
    assert at.plan.flights.superfluous(at.present) == [late]
    at.plan.cancelled(late, at.now)
    assert at.plan.flights.superfluous(at.present) == []
    assert list(at.plan.flights) == []
    assert at.next() == []


def test_what_upstream_is_late_with_only_a_holder_can_bring() -> None:
    at = desk(("me", "a"))
    at.own = RangeSet(of(0), of(2), of(4), of(6))
    late = flying_late(at, others_s=0.1, now=2.0)
    assert late.source == UPSTREAM
    assert at.next() == []
    at.plan.candidates.add_holders(["h"])
    at.now = 3.0
    (second,) = at.next()
    assert (second.source, second.role) == ("h", Role.HOLDER_FOR_HOME)


# Without ranges.


def test_without_ranges_the_first_of_the_ring_is_the_home_of_all() -> None:
    at = desk(("b", "me", "a"))
    at.plan.candidates.learn_upstream_has_no_ranges()
    flights = at.next()
    assert {flight.source for flight in flights} == {"b"}
    assert len(flights) <= SETTINGS.home_lanes
    assert at.plan.candidates.whole_is_elsewhere()


def test_without_ranges_the_home_of_all_asks_upstream_once() -> None:
    at = desk(("me", "b", "a"))
    at.plan.candidates.learn_upstream_has_no_ranges()
    (flight,) = at.next()
    assert (flight.source, flight.start, flight.stop) == (UPSTREAM, 0, SIZE)
    at.relayed = RangeSet(of(9))
    assert at.next() == []
    assert not at.plan.candidates.whole_is_elsewhere()


def test_a_home_that_says_so_sends_this_node_to_the_home_of_all() -> None:
    at = desk(("b", "a", "me"))
    refusing = next(flight for flight in at.next() if flight.source == "a")
    at.fail(refusing, "whole")
    assert {flight.source for flight in at.next()} == {"b"}


def test_without_ranges_the_next_follows_a_home_that_fails() -> None:
    at = desk(("b", "a", "me"))
    at.plan.candidates.learn_upstream_has_no_ranges()
    for name in ("b", "a"):
        flights = at.next()
        assert {flight.source for flight in flights} == {name}
        for flight in flights:
            at.fail(flight, "unreachable")
    at.serving = {"me"}
    (flight,) = at.next()
    assert (flight.source, flight.stop) == (UPSTREAM, SIZE)
    assert not at.plan.candidates.whole_is_elsewhere()


# Again.


def test_whose_word_is_doubted_is_not_asked_for_those_bytes_and_others_are_told() -> None:
    at = desk(holders=["h"])
    at.own = RangeSet(of(0, 2))
    at.land(*at.next())
    (doubted, _) = sorted(at.plan.provenance, key=lambda row: row.start)
    at.plan.refetch([doubted])
    at.present.remove(doubted.start, doubted.stop)
    (flight,) = at.next()
    assert (flight.source, flight.role, flight.avoid) == ("a", Role.HOME, ("h",))
    assert [row.start for row in at.plan.provenance] == [MEBIBYTE]
    at.own = RangeSet(of(0, 3))
    other = at.next()[0]
    assert (other.source, other.avoid) == ("h", ())


def test_the_maker_of_relayed_bytes_is_doubted_not_the_home_that_passed_them_on() -> None:
    at = desk()
    at.own = RangeSet(of(0))
    (flight,) = at.next()
    flight.origin = "liar"
    at.land(flight)
    assert at.plan.provenance.within(0, 1) == [Segment(*of(0), "a", "liar")]
    at.plan.refetch(at.plan.provenance)
    at.present = RangeSet()
    (flight,) = at.next()
    assert (flight.source, flight.avoid) == ("a", ("liar",))
    flight.origin = UPSTREAM
    at.land(flight)
    assert [row.origin for row in at.plan.provenance] == ["a"], "it says that upstream said so"


def test_upstream_may_be_asked_again_where_it_is_doubted() -> None:
    at = desk(("me",))
    at.land(*at.next())
    at.plan.refetch(list(at.plan.provenance))
    at.present = RangeSet()
    assert [flight.source for flight in at.next()] == [UPSTREAM]


def test_makers_are_the_rows_that_touch_a_range() -> None:
    at = desk(holders=["h"])
    at.own = RangeSet(of(0, 2))
    at.land(*at.next())
    assert [row.start for row in at.plan.provenance.within(*of(1))] == [MEBIBYTE]
    assert len(at.plan.provenance.within(MEBIBYTE - 1, MEBIBYTE + 1)) == 2
    assert at.plan.provenance.within(5 * MEBIBYTE, SIZE) == []


def test_an_empty_blob_needs_nobody() -> None:
    at = desk(size=None)
    (flight,) = at.next()
    at.plan.sized(0)
    at.own = RangeSet()
    at.land(flight)
    assert at.next() == []
    assert list(at.plan.provenance) == []


# A world in which anything happens.

MEMBERS = [f"node-{number}" for number in range(8)]
REASONS = ["unreachable", "stalled", "timeout", "broken", "status", "range", "length"]
OF_A_HOME = [*REASONS, "unknown", "unable", "rate-limited", "busy"]
OF_A_HOLDER = [*REASONS, "missing", "busy"]
FAILURES = {
    Role.HOME: OF_A_HOME,
    Role.HOLDER: OF_A_HOLDER,
    Role.HOLDER_FOR_HOME: OF_A_HOLDER,
    Role.PARTIAL: OF_A_HOLDER,
    Role.UPSTREAM: REASONS,
}
INDIRECT = (Role.HOME, Role.PARTIAL)
STEPS_MAX = 3000
PATIENCE_S = 20.0


@dataclass
class World:
    """A plan among sources that deliver or fail by chance. What it promises is checked after every step."""

    size: int
    chance: Random
    ring: list[str]
    holders: list[str]
    reliable: set[str]
    """Who gives whatever it is asked for: holders, which may say that they are busy, homes, or `upstream`."""
    hurried: bool
    """Whether all goes so fast that nothing is ever late."""
    whole: bool = False
    now: float = 0.0
    present: RangeSet = field(default_factory=RangeSet)
    relayed: RangeSet = field(default_factory=RangeSet)

    def __post_init__(self) -> None:
        upstream = self.chance.random() < 0.8 or UPSTREAM in self.reliable
        self.plan = Plan("me", Ring(tuple(self.ring)), Throughput(), self.holders, plan_settings(upstream=upstream))
        if self.whole:
            self.plan.candidates.learn_upstream_has_no_ranges()
        self.down = {name for name in self.ring if self.chance.random() < 0.1} - {"me", *self.reliable}
        self.declining = {name for name in self.ring if self.chance.random() < 0.1} - self.reliable
        if self.chance.random() < 0.4:
            self.relayed.add(*self.some())

    def some(self) -> tuple[int, int]:
        start = self.chance.randrange(max(self.size, 1))
        return start, min(self.size, start + self.chance.randrange(3 * MEBIBYTE) + 1)

    def run(self) -> None:
        """Carry the plan out as a fetch does, until it is complete or has nobody left to ask."""
        heard_at = 0.0
        for _ in range(STEPS_MAX):
            self.launch()
            if self.plan.flights:
                heard_at = self.now
                self.advance(self.chance.choice(list(self.plan.flights)))
            else:
                again_at = self.plan.candidates.again_at(self.now, awaits_registry=True) if self.lacking() else None
                if again_at is None or again_at - heard_at > PATIENCE_S:
                    return
                self.now = again_at
            self.now += 0.0001 if self.hurried else self.chance.choice([0.001, 0.01, 0.1, 1.0])
            self.land_what_came_otherwise()
        pytest.fail("the plan does not end")

    def lacking(self) -> RangeSet:
        if self.plan.size is None:
            return RangeSet((0, 1))
        return (RangeSet((0, self.size)) | self.relayed) - self.present

    def launch(self) -> None:
        own = RangeSet((0, 1 if self.plan.size is None else self.size))
        heads = [self.chance.randrange(self.size) for _ in range(self.chance.choice([0, 0, 1, 2]))] if self.size else []
        up = {*self.ring, *self.holders, "me"} - self.down
        demand = Demand(own, self.relayed, self.present, [] if self.plan.size is None else heads)
        for flight in self.plan.next(demand, up, up - self.declining, self.now):
            assert flight.source != "me"
            assert flight.source == UPSTREAM or flight.source in up
            assert flight.role not in INDIRECT or flight.source not in self.declining
            assert flight.role not in INDIRECT or flight.audience is Audience.LOCAL, (
                "what others wait for waits for another home"
            )
        self.check()

    def check(self) -> None:
        flights = self.plan.flights
        assert flights.count(UPSTREAM) <= SETTINGS.upstream_lanes
        lanes = Counter((flight.source, flight.audience) for flight in flights if flight.source != UPSTREAM)
        assert all(count <= SETTINGS.home_lanes for count in lanes.values())
        window = self.plan.chooser.window(is_alone=True)
        assert sum(flight.audience is Audience.LOCAL for flight in flights) <= 2 * window
        if self.plan.size is None:
            return
        for flight in flights:
            assert flight.stop is not None
            assert 0 <= flight.start <= flight.position < flight.stop <= self.size or self.size == 0
        local = [flight for flight in flights if flight.audience is Audience.LOCAL]
        # What is slow from two is asked of a third one, which is a holder.
        self.check_copies(local, 1 if self.hurried else 3)
        self.check_copies([flight for flight in local if not flight.role.is_holder], 1 if self.hurried else 2)
        self.check_copies([flight for flight in flights if flight.role not in INDIRECT], 1 if self.hurried else 3)

    @staticmethod
    def check_copies(flights: list[Flight], most: int) -> None:
        """See that no byte is on its way more than so often."""
        ends = sorted(
            [(f.position, 1) for f in flights] + [(f.stop, -1) for f in flights if f.stop is not None]
        )  # at one offset, ends come before beginnings
        copies = 0
        for _, change in ends:
            copies += change
            assert copies <= most, [(f.source, f.position, f.stop) for f in flights]

    def advance(self, flight: Flight) -> None:
        """Let a flight bring some or all of its bytes, or fail."""
        reason = self.failure(flight)
        if reason in ("busy", "missing", "unknown", "unable", "rate-limited", "unreachable"):
            self.plan.failed(flight, Reason(reason), self.now)
            return
        if self.plan.size is None:
            if flight.start > 0 and flight.start >= self.size:
                self.plan.failed(flight, Reason.BROKEN, self.now)  # as `Download` says it
                return
            self.plan.sized(self.size)
        assert flight.stop is not None
        count = self.chance.choice(
            [flight.stop - flight.position, self.chance.randint(0, flight.stop - flight.position)]
        )
        if count:
            end = flight.position + count
            self.present.add(flight.position, end)
            self.plan.arrived(flight, end, [(flight.position, end)], self.now)
        if flight.position == flight.stop:
            self.plan.landed(flight, self.now)
        elif reason:
            self.plan.failed(flight, Reason(reason), self.now)

    def failure(self, flight: Flight) -> str:
        """Why it fails now; empty if it does not."""
        if flight.source in self.reliable:
            busy = flight.role is Role.HOLDER and self.chance.random() < 0.1
            return "busy" if busy else ""
        if self.chance.random() < 0.6:
            return ""
        return self.chance.choice(FAILURES[flight.role])

    def land_what_came_otherwise(self) -> None:
        for flight in self.plan.flights.superfluous(self.present):
            self.plan.cancelled(flight, self.now)

    def doubt(self) -> None:
        """Have something brought again whose bytes are wrong."""
        for row in self.chance.sample(list(self.plan.provenance), min(3, len(self.plan.provenance))):
            self.plan.refetch([row])
            self.present.remove(row.start, row.stop)


SIZES = st.one_of(st.integers(0, 3), st.integers(0, 12 * MEBIBYTE), st.integers(0, 80 * MEBIBYTE))


@st.composite
def worlds(draw: st.DrawFn, *, hurried: bool | None = None) -> World:
    size = draw(SIZES)
    chance = Random(draw(st.integers(0, 2**32)))
    ring = draw(st.lists(st.sampled_from([*MEMBERS, "me"]), unique=True, max_size=9)) or ["me"]
    holders = draw(st.lists(st.sampled_from([f"holder-{number}" for number in range(4)]), unique=True))
    members = [name for name in ring if name != "me"]
    reliable = set(draw(st.lists(st.sampled_from([*holders, *members, UPSTREAM]), unique=True)))
    hurry = draw(st.booleans()) if hurried is None else hurried
    return World(size, chance, ring, holders, reliable, hurry, whole=draw(st.integers(0, 9)) == 0)


def check_end(world: World) -> None:
    """Everything has come, or nobody is left who certainly brings it; and each row says what came."""
    if not world.reliable.isdisjoint([*world.holders, UPSTREAM]):
        assert not world.lacking() - world.plan.stuck  # who waits for that is to ask elsewhere
    elif world.reliable and not world.plan.candidates.troubles.are_many:  # then asking them all would take too long
        assert world.present.covers(0, world.size)
    brought = RangeSet(*((row.start, row.stop) for row in world.plan.provenance))
    assert brought == world.present
    if world.hurried and not world.relayed:
        assert sum(row.stop - row.start for row in world.plan.provenance) == brought.byte_count, "a byte came twice"
    assert not list(world.plan.flights)


@settings(max_examples=300)
@given(worlds())
def test_whatever_happens_the_plan_ends_and_with_a_source_that_works_everything_is_there(world: World) -> None:
    world.run()
    check_end(world)


@settings(max_examples=100)
@given(worlds(hurried=True))
def test_bytes_in_doubt_are_brought_again_by_others(world: World) -> None:
    world.run()
    for _ in range(3):
        world.doubt()
        avoided = {row: world.plan.provenance.within(row.start, row.stop) for row in world.plan.provenance}
        world.run()
        assert all(row in world.plan.provenance for row in avoided)
        if UPSTREAM in world.reliable:
            check_end(world)


@given(st.integers(1, 10**10), st.booleans())
def test_upstream_alone_brings_a_whole_blob_in_one_run(size: int, known: bool) -> None:
    at = desk(("me",), size=size if known else None)
    (flight,) = at.next()
    assert (flight.source, flight.start, flight.stop) == (UPSTREAM, 0, size if known else None)
    if not known:
        at.plan.sized(size)
        at.own = RangeSet((0, size))
    assert at.next() == []
    at.land(flight)
    assert list(at.plan.provenance) == [Segment(0, size, UPSTREAM, UPSTREAM)]


def test_pieces_are_cut_alike_everywhere() -> None:
    """A node asks its home for no piece that a home would cut otherwise."""
    size = 1000 * MEBIBYTE
    at = desk(("a", "me"), size=size)
    assert all(flight.start % piece_size(size) == 0 for flight in at.next())
