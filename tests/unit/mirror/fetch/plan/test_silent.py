"""Members that may be gone: what they owe is asked of others as well, once, and the first answer counts."""

from random import Random

import pytest

from mirror.cluster.homes import MEBIBYTE
from mirror.errors import Reason
from mirror.fetch.demand import Audience, Demand
from mirror.fetch.plan import Flight
from mirror.oci.ranges import RangeSet
from mirror.sources import UPSTREAM, Role
from tests.unit.mirror.fetch.plan.test_plan import RING, Desk, desk, of, piece, shown


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
    assert len(before) == at.plan.chooser.window
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


def test_a_registry_that_is_out_is_not_asked_and_when_it_is_back_each_home_is() -> None:
    """Each node had asked it alone, and for all that was missing, since its homes had failed while it was out."""
    at = desk(("a", "b", "c", "me"))
    asked_before = shown(at.next())
    for flight in list(at.plan.flights):
        at.fail(flight, "outage" if flight.source == UPSTREAM else "broken")
    for _ in range(20):
        at.plan.candidates.look_at_registry(at.now, is_out=True)
        for flight in at.next():
            assert flight.source != UPSTREAM
            at.fail(flight, "outage")
        at.now += 0.5
    at.plan.candidates.look_at_registry(at.now, is_out=False)
    assert shown(at.next()) == asked_before
    at.plan.candidates.look_at_registry(at.now, is_out=False)
    assert at.next() == []
