"""The plan: told what sources do, it has every byte brought once, as long as anybody can bring it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.plan import FLIGHTS_MAX, LANES, MEBIBYTE, UPSTREAM, UPSTREAM_TRIES, Flight, Plan, piece_size
from mirror.ranges import RangeSet

MAX_STEPS = 2000


@pytest.mark.parametrize(
    ("size", "piece"),
    [
        (0, 4 * MEBIBYTE),
        (4 * MEBIBYTE, 4 * MEBIBYTE),
        (4 * MEBIBYTE + 1, MEBIBYTE),
        (511 * MEBIBYTE, MEBIBYTE),
        (512 * MEBIBYTE, 2 * MEBIBYTE),
        (2048 * MEBIBYTE, 8 * MEBIBYTE),
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


@dataclass
class World:
    """Sources that deliver or fail, and what a plan makes of them. Every promise is checked at every launch."""

    plan: Plan
    size: int
    draw: Callable[[int], int]
    """A number below its argument."""
    holders: set[str]
    upstream: bool
    unreliable: set[str]
    """Sources that may fail; the others deliver what they are asked for."""
    unfit: dict[str, RangeSet] = field(default_factory=dict)
    """What nobody may be asked for again, by source."""
    brought: RangeSet = field(default_factory=RangeSet)
    failed: set[str] = field(default_factory=set)
    asked: list[tuple[str, int, int | None]] = field(default_factory=list)
    under_way: list[Flight] = field(default_factory=list)

    def run(self) -> None:
        """Carry the plan out until it is complete or has nobody left to ask."""
        for _ in range(MAX_STEPS):
            self.launch()
            if not self.under_way:
                break
            self.advance(self.under_way[self.draw(len(self.under_way))])
        assert not self.under_way, "the plan does not end"
        assert not self.plan.flying

    def launch(self) -> None:
        for flight in self.plan.launch():
            self.under_way.append(flight)
            self.asked.append((flight.source, flight.start, flight.stop))
            assert flight.source not in self.failed or flight.source == UPSTREAM, "a failed holder is asked again"
            if self.plan.size is not None:
                assert flight.stop is not None
                assert flight.start < flight.stop <= self.size or self.size == 0
                wanted = RangeSet((flight.start, flight.stop))
                assert wanted - self.unfit.get(flight.source, RangeSet()) == wanted, "accused, and asked again"
                self.check_upstream_comes_last(flight)
        busy = Counter(flight.source for flight in self.under_way)
        assert len(self.under_way) <= FLIGHTS_MAX
        assert busy[UPSTREAM] <= 1
        assert all(count <= LANES for count in busy.values())
        assert len(self.under_way) == 1 or self.plan.size is not None or not self.under_way

    def check_upstream_comes_last(self, flight: Flight) -> None:
        if flight.source != UPSTREAM:
            return
        assert flight.stop is not None
        for holder in self.holders - self.failed:
            fit = RangeSet((flight.start, flight.stop)) - self.unfit.get(holder, RangeSet())
            assert not fit, f"{holder} could have brought {fit}"

    def advance(self, flight: Flight) -> None:
        """Let one flight bring some or all of its bytes, or fail."""
        fails = flight.source in self.unreliable and self.draw(3) == 0
        if self.plan.size is None:
            if fails:
                self.end(flight, lands=False)
                return
            self.plan.sized(self.size)
        assert flight.stop is not None
        left = flight.stop - flight.position
        count = self.draw(left + 1) if self.draw(2) else left
        new = RangeSet((flight.position, flight.position + count))
        assert new - self.brought == new, "a byte is brought twice"
        self.brought.add(flight.position, flight.position + count)
        flight.position += count
        if flight.position == flight.stop:
            self.end(flight, lands=True)
        elif fails:
            self.end(flight, lands=False)

    def end(self, flight: Flight, *, lands: bool) -> None:
        self.under_way.remove(flight)
        if lands:
            self.plan.landed(flight)
            return
        self.failed.add(flight.source)
        self.plan.failed(flight, final=self.draw(2) == 0)


SIZES = st.one_of(st.integers(0, 3), st.integers(0, 12 * MEBIBYTE), st.integers(0, 200 * MEBIBYTE))
HOLDERS = [f"holder-{number}" for number in range(20)]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    size = draw(SIZES)
    holders = HOLDERS[: draw(st.integers(0, 4) | st.just(len(HOLDERS)))]
    upstream = draw(st.booleans())
    unreliable = set(draw(st.lists(st.sampled_from([*holders, UPSTREAM]), unique=True)))
    plan = Plan(holders, upstream=upstream, size=draw(st.sampled_from([None, size])))
    chance = draw(st.randoms(use_true_random=False))
    return World(plan, size, lambda bound: chance.randrange(bound), set(holders), upstream, unreliable)


def can_bring(world: World) -> set[str]:
    """Those who deliver whatever they are asked for."""
    return (world.holders | ({UPSTREAM} if world.upstream else set())) - world.unreliable


def check_provenance(world: World) -> None:
    """Its rows say of each byte that was brought, once, who brought it."""
    rows = world.plan.provenance
    assert RangeSet(*((start, stop) for start, stop, _ in rows)) == world.brought
    assert sum(stop - start for start, stop, _ in rows) == len(world.brought)
    assert {name for _, _, name in rows} <= world.holders | {UPSTREAM}


@given(worlds())
def test_every_byte_is_brought_once_if_anybody_can(world: World) -> None:
    world.run()
    if can_bring(world):
        assert world.plan.complete
    if world.plan.complete:
        assert world.brought == RangeSet((0, world.size))
    check_provenance(world)


@given(worlds())
def test_without_anybody_who_can_the_plan_ends_nevertheless(world: World) -> None:
    world.unreliable = {*world.holders, UPSTREAM}
    world.run()
    assert world.plan.complete == (world.plan.size is not None and world.brought == RangeSet((0, world.size)))


@given(worlds(), st.data())
def test_the_accused_are_not_asked_for_the_same_bytes_again(world: World, data: st.DataObject) -> None:
    world.run()
    for _ in range(3):
        rows = [row for row in world.plan.provenance if row[2] != UPSTREAM]
        if not world.plan.complete or not rows:
            return
        suspects = data.draw(st.lists(st.sampled_from(rows), unique=True, min_size=1))
        for start, stop, name in suspects:
            world.unfit.setdefault(name, RangeSet()).add(start, stop)
            world.brought.remove(start, stop)
        world.plan.again(suspects)
        world.run()
        check_provenance(world)
        if world.upstream and UPSTREAM not in world.unreliable:
            assert world.plan.complete


@given(st.integers(1, 10**10), st.booleans())
def test_upstream_alone_brings_a_whole_blob_in_one_run(size: int, known: bool) -> None:
    plan = Plan([], size=size if known else None)
    (flight,) = plan.launch()
    assert (flight.source, flight.start, flight.stop) == (UPSTREAM, 0, size if known else None)
    if not known:
        plan.sized(size)
    assert plan.launch() == []
    flight.position = size
    plan.landed(flight)
    assert plan.complete
    assert plan.provenance == [(0, size, UPSTREAM)]


def test_the_first_mebibyte_tells_the_size_then_all_holders_are_asked_in_order() -> None:
    plan = Plan(["a", "b"])
    (first,) = plan.launch()
    assert (first.source, first.start, first.stop) == ("a", 0, MEBIBYTE)
    plan.sized(10 * MEBIBYTE)
    others = plan.launch()
    assert [(flight.start // MEBIBYTE, flight.stop) for flight in others] == [
        (piece, (piece + 1) * MEBIBYTE) for piece in (1, 2, 3)
    ]
    assert Counter(flight.source for flight in [first, *others]) == {"a": LANES, "b": LANES}


def test_what_a_failing_holder_did_not_bring_goes_to_another() -> None:
    plan = Plan(["a", "b"], upstream=False, size=MEBIBYTE)
    (flight,) = plan.launch()
    flight.position = 1000
    plan.failed(flight)
    (rest,) = plan.launch()
    assert (rest.source, rest.start, rest.stop) == ("b", 1000, MEBIBYTE)


def test_upstream_goes_on_where_the_last_holder_stopped() -> None:
    plan = Plan(["a"], size=20 * MEBIBYTE)
    flights = plan.launch()
    flights[0].position = 1000
    for flight in flights:
        plan.failed(flight)
    (rest,) = plan.launch()
    assert (rest.source, rest.start, rest.stop) == (UPSTREAM, 1000, 20 * MEBIBYTE)


def fail_upstream(plan: Plan, *, start: int, brings: int) -> None:
    """Have upstream, asked from `start` to the end, break off after some bytes."""
    (flight,) = plan.launch()
    assert (flight.source, flight.start, flight.stop) == (UPSTREAM, start, plan.size)
    flight.position += brings
    plan.failed(flight, final=False)


def test_upstream_is_tried_some_times_and_any_byte_earns_it_new_ones() -> None:
    plan = Plan([], size=100)
    for _ in range(UPSTREAM_TRIES - 1):
        fail_upstream(plan, start=0, brings=0)
    fail_upstream(plan, start=0, brings=10)
    for _ in range(UPSTREAM_TRIES - 1):
        fail_upstream(plan, start=10, brings=0)
    assert plan.launch() == []
    assert not plan.flying


def test_a_final_failure_of_upstream_is_final() -> None:
    plan = Plan([], size=100)
    plan.failed(plan.launch()[0], final=True)
    assert plan.launch() == []


def test_members_that_turn_up_later_are_taken_in_once() -> None:
    plan = Plan(["a"], upstream=False, size=100)
    plan.failed(plan.launch()[0])
    assert not plan.add_holders(["a"])
    assert plan.launch() == []
    assert plan.add_holders(["a", "b"])
    assert not plan.add_holders(["b"])
    assert [flight.source for flight in plan.launch()] == ["b"]


def test_a_dropped_holder_may_finish_what_it_has_begun() -> None:
    plan = Plan(["a", "b"], upstream=False, size=20 * MEBIBYTE)
    flights = plan.launch()
    plan.drop("a")
    for flight in flights:
        assert flight.stop is not None
        flight.position = flight.stop
        plan.landed(flight)
    assert {flight.source for flight in plan.launch()} == {"b"}


def test_after_a_halt_nobody_is_asked() -> None:
    plan = Plan(["a"], size=20 * MEBIBYTE)
    plan.launch()
    plan.halt()
    assert plan.launch() == []
    assert plan.flying


def test_an_empty_blob_is_complete_when_its_size_is_known() -> None:
    plan = Plan(["a"])
    (flight,) = plan.launch()
    plan.sized(0)
    plan.landed(flight)
    assert plan.complete
    assert plan.provenance == []
