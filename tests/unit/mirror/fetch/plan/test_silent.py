"""Members that may be gone: what they owe is asked of others as well, once, and the first answer counts."""

import math
from random import Random

import pytest

from mirror.cluster.homes import MEBIBYTE
from mirror.errors import Reason
from mirror.fetch.demand import Audience, Demand
from mirror.fetch.plan import Flight
from mirror.oci.ranges import RangeSet
from mirror.sources import UPSTREAM, Role
from tests.unit.mirror.fetch.plan.test_plan import RING, SETTINGS, Desk, desk, of, piece, shown


def silenced(at: Desk, *names: str) -> list[Flight]:
    """Some members give no sign of life: what the plan does then."""
    everybody = {*at.plan.candidates.ring.members, *at.plan.candidates.holders, "me"}
    at.up, at.resting, at.silent = everybody - set(names), set(names), set(names)
    return at.next()


def test_what_a_silent_home_owes_the_next_one_is_asked_for_and_it_may_deliver_all_the_same() -> None:
    at = desk()
    (first,) = (flight for flight in at.next() if flight.source == "a" and piece(flight) == 0)
    at.arrive(first, 1000)
    hedges = [flight for flight in silenced(at, "a") if piece(flight) == 0]
    assert [(flight.source, flight.start, flight.stop) for flight in hedges] == [("b", 1000, MEBIBYTE)]
    assert first in at.plan.flights
    at.arrive(first)
    assert at.plan.flights.superfluous(at.present) == hedges


def test_the_only_holder_that_is_silent_is_not_waited_for_where_upstream_can_be_asked() -> None:
    at = desk(("me",), holders=("h",), size=None)
    assert [flight.source for flight in at.next()] == ["h"]
    (hedge,) = silenced(at, "h")
    assert (hedge.source, hedge.start, hedge.stop) == (UPSTREAM, 0, MEBIBYTE), "the rest it may send itself"
    assert silenced(at, "h") == [], "nobody is asked twice"


def test_where_nobody_else_can_be_asked_a_silent_holder_is_waited_for_and_not_asked_again() -> None:
    at = desk(("me",), holders=("h",), size=None, upstream=False)
    assert [flight.source for flight in at.next()] == ["h"]
    assert silenced(at, "h") == []
    late = desk(("me",), holders=("h",), size=None, upstream=False)
    assert [flight.source for flight in silenced(late, "h")] == ["h"], "who comes later asks it as the last resort"
    assert silenced(late, "h") == []


def test_what_other_members_ask_of_this_node_is_not_refused_while_the_only_holder_is_silent() -> None:
    at = desk(("me",), holders=("h",), upstream=False)
    at.own, at.relayed = RangeSet(), RangeSet(of(0))
    assert [flight.source for flight in at.next()] == ["h"]
    assert silenced(at, "h") == []
    assert not at.plan.stuck


def test_requests_to_silent_members_take_no_place_of_others() -> None:
    at = desk(("a", "me"))
    before = at.next()
    assert len(before) == at.plan.chooser.window(is_alone=True)
    owed = [piece(flight) for flight in before if flight.source == "a"]
    after = silenced(at, "a")
    assert sorted(piece(flight) for flight in after if piece(flight) in owed) == sorted(owed)
    assert {flight.source for flight in after} == {UPSTREAM}


def test_ranges_that_a_client_reads_by_themselves_are_asked_of_another_holder() -> None:
    at = desk(holders=("h", "g"))
    demand = Demand(RangeSet(), RangeSet(), RangeSet(), (), lazy=RangeSet((0, 1000)))
    everybody = {*RING, "h", "g"}
    (first,) = at.plan.next(demand, everybody, everybody, 0.0)
    assert first.audience is Audience.LAZY
    up, gone = everybody - {first.source}, {first.source}
    (second,) = at.plan.next(demand, up, up, 0.0, resting=gone, silent=gone)
    assert (second.source != first.source, second.start, second.stop) == (True, 0, 1000)
    assert at.plan.next(demand, up, up, 0.0, resting=gone, silent=gone) == []


@pytest.mark.parametrize("seed", range(50))
def test_members_that_fall_silent_and_are_heard_again_cost_each_source_one_request_for_a_byte(seed: int) -> None:
    chance, at = Random(seed), desk(holders=["h"] if seed % 2 else [])
    for _ in range(200):
        names = chance.sample(["a", "b", "c", "h"], chance.randrange(4))
        silenced(at, *names)
        asked = [(flight.source, piece(flight)) for flight in at.plan.flights]
        assert len(asked) == len(set(asked))
        at.now += 0.01


# One home says that the registry gives it no sign of life.


def outage(at: Desk, *homes: str) -> None:
    """Let some homes say that the registry does not answer them."""
    for flight in [flight for flight in at.plan.flights if flight.source in homes]:
        at.fail(flight, "outage")


def test_when_a_home_says_so_another_one_is_asked_and_upstream_in_the_same_moment() -> None:
    at = desk(("a", "b", "c", "me"), size=None)
    at.own = RangeSet((0, MEBIBYTE))
    at.next()
    outage(at, "a")
    assert shown(at.next()) == [(UPSTREAM, "upstream", 0), ("b", "home", 0)]
    assert at.next() == []


def test_so_too_in_the_middle_of_a_blob_and_only_one_piece_is_asked_of_both() -> None:
    at = desk(("a", "b", "me"), size=6 * MEBIBYTE)
    at.own = RangeSet((0, 6 * MEBIBYTE))
    for flight in at.next():
        if flight.source == UPSTREAM:
            at.land(flight)
    outage(at, "a")
    for flight in [flight for flight in at.plan.flights if flight.source == "b"]:
        at.fail(flight, "busy")
    at.next()
    at.next()
    pieces = [piece(flight) for flight in at.plan.flights]
    assert len(pieces) <= len(set(pieces)) + 1


def test_when_two_say_so_and_upstream_does_not_answer_either_nobody_is_asked() -> None:
    at = desk(("a", "b", "c", "me"), size=None)
    at.own = RangeSet((0, MEBIBYTE))
    at.next()
    outage(at, "a")
    at.next()
    outage(at, "b", UPSTREAM)
    assert at.plan.candidates.troubles.agree
    assert at.next() == []


def test_one_home_whose_line_is_broken_is_no_trouble_where_another_one_delivers() -> None:
    at = desk(("a", "b", "c", "me"), size=None)
    at.own = RangeSet((0, MEBIBYTE))
    at.next()
    outage(at, "a")
    own, second = at.next()
    at.fail(own, "outage")
    assert not at.plan.candidates.troubles.agree
    at.plan.sized(8 * MEBIBYTE)
    at.own = RangeSet((0, 8 * MEBIBYTE))
    at.land(second)
    assert {flight.source for flight in at.next()} == {"b", "c"}


def test_where_there_is_no_other_home_its_word_and_that_of_upstream_end_it() -> None:
    at = desk(("a", "me"), size=None)
    at.own = RangeSet((0, MEBIBYTE))
    at.next()
    outage(at, "a")
    assert at.plan.candidates.troubles.agree
    (own,) = at.next()
    assert (own.source, own.role) == (UPSTREAM, Role.UPSTREAM)
    at.fail(own, Reason.OUTAGE.value)
    assert at.next() == []


def look(at: Desk, *, is_out: bool = False, returned_at: float = -math.inf) -> None:
    """Tell the plan whether the registry is out, and when it last came back."""
    at.plan.candidates.look_at_registry(at.now, is_out=is_out, returned_at=returned_at)


def test_a_registry_that_is_out_is_not_asked_and_when_it_is_back_each_home_is() -> None:
    """Each node had asked it alone, and for all that was missing, since its homes had failed while it was out."""
    at = desk(("a", "b", "c", "me"))
    asked_before = shown(at.next())
    for flight in list(at.plan.flights):
        at.fail(flight, "outage" if flight.source == UPSTREAM else "broken")
    for _ in range(20):
        look(at, is_out=True)
        for flight in at.next():
            assert flight.source != UPSTREAM
            at.fail(flight, "outage")
        at.now += 0.5
    look(at, returned_at=at.now)
    assert shown(at.next()) == asked_before
    look(at, returned_at=at.now)
    assert at.next() == []


# It is back: all members see that now, one a little later than another.


FOUR = 12 * MEBIBYTE
"""The size of a blob of which one piece of each home is missing, 8 to 11, when the registry is back."""


def returned(at: Desk) -> Desk:
    """A registry that was out is back, as this node sees it first."""
    for flight in at.next():
        at.fail(flight, "outage")
    at.present.add(0, FOUR - 4 * MEBIBYTE)
    look(at, is_out=True)
    at.now += 10.0
    look(at, returned_at=at.now)
    return at


def awaits_somebody(at: Desk) -> bool:
    return at.plan.candidates.settling.awaits_any(at.plan.candidates.ring.members)


def asked_upstream(at: Desk) -> set[int]:
    """The pieces for which upstream is asked."""
    return {piece(flight) for flight in at.plan.flights if flight.source == UPSTREAM}


def test_a_return_before_a_fetch_began_changes_nothing_of_what_it_was_told() -> None:
    at = desk()
    at.plan.candidates.troubles.is_told_out = True
    look(at, returned_at=at.now - 100.0)
    assert at.plan.candidates.troubles.is_told_out


@pytest.mark.parametrize("reason", ["outage", "broken"])
def test_who_sees_a_registry_s_return_first_asks_homes_again_that_do_not_yet(reason: str) -> None:
    at = returned(desk(size=FOUR))
    at.next()
    for _ in range(4):
        (early,) = (flight for flight in at.plan.flights if flight.source == "a")
        at.fail(early, reason)
        assert at.next() == [], "nobody else is asked for what is its own"
        at.now += SETTINGS.again_s
        at.next()
    assert asked_upstream(at) == {11}


def test_a_home_that_goes_on_saying_so_is_not_waited_for() -> None:
    at = returned(desk(size=FOUR))
    at.now += SETTINGS.settle_s
    for flight in [flight for flight in at.next() if flight.source == "a"]:
        at.fail(flight, "outage")
    assert not [flight for flight in at.next() if flight.source == "a"]
    assert any(piece(flight) % len(RING) == 0 for flight in at.plan.flights)


def test_a_home_that_is_out_of_reach_is_waited_for() -> None:
    at = returned(desk(size=FOUR))
    at.up = {"b", "c", "me"}
    at.next()
    assert {flight.source for flight in at.plan.flights} == {"b", "c", UPSTREAM}
    assert asked_upstream(at) == {11}
    at.up = None
    at.now += SETTINGS.settle_s / 2
    assert {flight.source for flight in at.next()} == {"a"}


def test_where_this_node_s_own_line_was_cut_nobody_is_asked_before_a_member_is_back_in_reach() -> None:
    at = returned(desk(size=FOUR))
    at.up = {"me"}
    assert at.next() == []
    assert awaits_somebody(at)
    at.up = None
    at.now += SETTINGS.settle_s / 2
    at.next()
    assert {flight.source for flight in at.plan.flights} == {"a", "b", "c"}
    assert {piece(flight) for flight in at.plan.flights} >= {11}, "a member may have what is this node's own"


def test_so_is_a_holder_that_leaves_this_node_as_the_only_home() -> None:
    at = desk(("me",), holders=("h",))
    look(at)
    look(at, returned_at=at.now)
    at.up = {"me"}
    assert at.next() == []
    assert awaits_somebody(at)
    at.up = None
    assert {flight.source for flight in at.next()} == {"h"}
    at.up = {"me"}
    at.now += SETTINGS.settle_s
    assert UPSTREAM in {flight.source for flight in at.next()}


@pytest.mark.parametrize("reason", ["unable", "status", "unknown"])
def test_a_home_that_fails_otherwise_is_not_waited_for(reason: str) -> None:
    at = returned(desk(size=FOUR))
    at.next()
    for flight in [flight for flight in at.plan.flights if flight.source == "a"]:
        at.fail(flight, reason)
    at.next()
    assert any(piece(flight) % len(RING) == 0 for flight in at.plan.flights)


def test_of_what_upstream_has_not_nobody_is_waited_for() -> None:
    at = returned(desk(size=FOUR))
    at.up = {"b", "c", "me"}
    own = next(flight for flight in at.next() if flight.source == UPSTREAM)
    assert awaits_somebody(at)
    at.fail(own, "unknown")
    look(at, returned_at=at.now)
    at.next()
    assert not awaits_somebody(at)


def test_that_one_registry_was_out_says_nothing_of_another_one_that_is_asked_from_then_on() -> None:
    at = desk()
    look(at)
    at.plan.candidates.renew()
    at.plan.candidates.troubles.is_told_out = True
    look(at, returned_at=at.now - 100.0)
    assert at.plan.candidates.troubles.is_told_out


def test_if_they_do_not_come_back_upstream_is_asked_for_all() -> None:
    at = returned(desk(size=FOUR))
    at.up = {"me"}
    assert at.next() == []
    at.now += SETTINGS.settle_s
    at.next()
    assert {piece(flight) for flight in at.plan.flights} == {8, 9, 10, 11}
    assert {flight.source for flight in at.plan.flights} == {UPSTREAM}


def test_a_home_that_declines_is_not_waited_for() -> None:
    at = returned(desk(size=FOUR))
    at.serving = {"b", "c", "me"}
    at.next()
    assert {piece(flight) % len(RING) for flight in at.plan.flights} == {0, 1, 2, 3}


def test_where_a_registry_serves_no_ranges_the_first_home_is_waited_for_as_well() -> None:
    at = returned(desk(size=FOUR))
    at.plan.candidates.learn_upstream_has_no_ranges()
    at.up = {"b", "c", "me"}
    assert at.next() == []
    at.now += SETTINGS.settle_s
    assert {flight.source for flight in at.next()} == {"b"}
