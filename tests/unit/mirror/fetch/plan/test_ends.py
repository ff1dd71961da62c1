"""Whatever sources answer, for ever: a fetch ends, after a number of requests that follows from the settings.

`SKVALLER_HISTORIES=100000` in the environment tries as many histories; without it, a thousand. `SKVALLER_HISTORIES=7:8`
tries number 7 again.
"""

import os
import random
from dataclasses import dataclass, field

from mirror.cluster.homes import MEBIBYTE, Ring
from mirror.cluster.throughput import Throughput
from mirror.errors import Reason
from mirror.fetch.demand import Demand
from mirror.fetch.plan import Flight, Opening, Plan
from mirror.oci.ranges import RangeSet, Span
from mirror.settings import FetchSettings, PlanSettings
from mirror.sources import UPSTREAM
from mirror.sources.failures import CONSEQUENCES

FIRST, END = map(int, f"0:{os.environ.get('SKVALLER_HISTORIES', '1000')}".split(":")[-2:])
PLAN, FETCH = PlanSettings(), FetchSettings()
LONGEST_S = 30.0
"""The longest silence that a source may keep before its request ends, s: `PeerSettings.stall_s`, and more than that
of upstream."""
MEMBERS = tuple("abcdefgh")


@dataclass
class History:
    """One fetch, and sources that do anything."""

    chance: random.Random
    now: float = 0.0
    tries: int = 0
    size: int | None = None
    present: RangeSet = field(default_factory=RangeSet)
    active_at: float = 0.0
    landed: int = 0

    def __post_init__(self) -> None:
        chance = self.chance
        members = MEMBERS[: chance.randrange(len(MEMBERS) + 1)]
        ring = [*chance.sample(members, chance.randrange(len(members) + 1)), *(["me"] if chance.random() < 0.8 else [])]
        chance.shuffle(ring)
        self.members = {*members, "me"}
        holders = chance.sample(members, min(len(members), chance.choice([0, 0, 1, 2])))
        self.ends_at = chance.choice([1, 1000, 300_000, 2 * MEBIBYTE, 5 * MEBIBYTE + 7])
        self.unit_s = chance.choice([0.0, 0.001, 0.3, 5.0, LONGEST_S])
        self.reasons = chance.sample(list(Reason), chance.choice([1, 1, 2, 3, len(Reason)]))
        self.moves = chance.choice([(0,), (0, 1), (0, 1, 20_000), (0, 1, 100_000, MEBIBYTE)])
        opening = chance.choice(list(Opening))
        self.plan = Plan("me", Ring(tuple(ring or ["me"])), Throughput(), holders, PLAN, opening)
        if chance.random() < 0.1:
            self.plan.candidates.troubles.is_told_out = True
        self.for_members = chance.random() < 0.3
        self.landing = chance.choice([0.0, 0.1, 0.5])

    @property
    def bound(self) -> int:
        """How many requests there may be: for each run of bytes that counts as progress, and before the first one.

        A source rests for a while after each request that failed. So within a time that is bounded, each can be asked
        a bounded number of times; upstream a number of times in a row.
        """
        shortest_s = min(CONSEQUENCES[reason].rest_s for reason in self.reasons)
        member = PLAN.home_lanes * (1 + PLAN.barren_s / shortest_s)
        upstream = PLAN.upstream_lanes * (PLAN.upstream_tries + 1 + PLAN.barren_s / PLAN.upstream_rest_s)
        runs = 1 + self.present.byte_count / PLAN.progress_bytes + self.landed
        return int(runs * (len(self.members) * member + upstream))

    def demand(self) -> Demand:
        wanted = RangeSet((0, self.size or 1))
        local, members = (RangeSet(), wanted) if self.for_members else (wanted, RangeSet())
        return Demand(local, members, RangeSet(*self.present))

    def run(self) -> bool:
        """Do as a download does; return whether all came."""
        plan, chance, flying = self.plan, self.chance, list[Flight]()
        while True:
            demand = self.demand()
            for flight in plan.flights.superfluous(self.present):
                plan.cancelled(flight, self.now)
                flying.remove(flight)
            up = {name for name in self.members if chance.random() < 0.9} | {"me"}
            resting = self.members - up
            silent = {name for name in sorted(resting) if chance.random() < 0.5}
            launched = plan.next(demand, up, up, self.now, resting=resting, silent=silent)
            flying += launched
            self.tries += len(launched)
            assert self.tries <= self.bound
            if flying:
                self.active_at = self.now
            if not demand.lacks(is_sized=self.size is not None):
                return True
            if not flying:
                again_at = plan.candidates.again_at(self.now, awaits_registry=self.size is not None)
                if plan.patience.is_over(self.now) or again_at is None or again_at - self.active_at > FETCH.patience_s:
                    return False
                self.now = max(again_at, self.now)
                continue
            self.now += chance.random() * self.unit_s
            ending = flying.pop(chance.randrange(len(flying)))
            self.end(ending)

    def end(self, flight: Flight) -> None:
        """Let one request bring something, and end."""
        plan, chance = self.plan, self.chance
        if chance.random() < 0.5 and (moved := chance.choice(self.moves)):
            if self.size is None:
                self.size = self.ends_at
                plan.sized(self.size)
            stop = min(flight.stop or self.ends_at, self.ends_at)
            plan.replied(flight, stop, chance.choice([None, UPSTREAM, *self.members]))
            lands = chance.random() < self.landing
            position = stop if lands else min(stop, flight.position + moved)
            written = list(RangeSet((flight.start, max(position, flight.start))) - self.present)
            for start, end in written:
                self.present.add(start, end)
            plan.arrived(flight, max(position, flight.start), written, self.now)
            if position >= stop:
                plan.landed(flight, self.now)
                self.landed += 1
                return
        if chance.random() < 0.05:
            plan.candidates.learn_upstream_has_no_ranges()
        plan.failed(flight, chance.choice(self.reasons), self.now)


@dataclass
class Reading:
    """A fetch for clients that come, read a range by itself, and may go before they have it.

    In memory a source is held up before bytes that nobody comes for, as `Spool.wait_for_space` has it: its request does
    not end. And what nobody needs is dropped.
    """

    history: History
    is_in_memory: bool
    comings: int
    """How many clients are still to come."""
    spans: list[Span] = field(default_factory=list)
    """What those read that are there."""

    def demand(self) -> Demand:
        """What they need; whoever has all has gone."""
        self.spans = [span for span in self.spans if RangeSet(span) - self.history.present]
        return Demand(RangeSet(), RangeSet(), RangeSet(*self.history.present), lazy=RangeSet(*self.spans))

    def come_and_go(self) -> None:
        """Let somebody come or go, where that happens; nobody stays away for ever."""
        chance, size = self.history.chance, self.history.ends_at
        if self.spans and chance.random() < 0.4:
            self.spans.pop(chance.randrange(len(self.spans)))
        elif self.comings and (not self.spans or chance.random() < 0.4):
            self.comings -= 1
            start = chance.randrange(size)
            self.spans.append((start, chance.choice([start + 1, size])))
            if self.is_in_memory and chance.random() < 0.5:
                self.history.present = RangeSet()

    def run(self) -> None:
        """Do as a download does, until all have what they came for, or an error."""
        history, plan, flying = self.history, self.history.plan, list[Flight]()
        plan.sized(history.ends_at)
        history.size = history.ends_at
        steps = 0
        while self.comings or self.spans:
            steps += 1
            assert steps < STEPS_MAX, "it goes on for ever"
            self.come_and_go()
            demand = self.demand()
            given_up = plan.flights.superfluous(history.present)
            for _ in range(2):
                for flight in given_up:
                    plan.cancelled(flight, history.now)
                    flying.remove(flight)
                plan.lazy.look(demand, history.now)
                flying += plan.next(demand, history.members, history.members, history.now)
                given_up = plan.flights.in_the_way(demand.needed, demand.present)
            if not demand.lacks(is_sized=True):
                continue
            if not flying:  # they get an error
                self.spans.clear()
                continue
            end = max(stop for _, stop in demand.needed)
            ending = [flight for flight in flying if not self.is_in_memory or flight.position < end]
            assert ending, f"nothing comes of {demand.needed}: all requests wait for clients that have gone"
            history.now += history.chance.random() * history.unit_s
            flight = history.chance.choice(ending)
            flying.remove(flight)
            history.end(flight)


STEPS_MAX = 5000
"""Far more than the requests that a few clients' ranges take, whatever comes of them."""


def test_whoever_reads_a_range_waits_for_nothing_that_others_left_behind() -> None:
    for seed in range(FIRST, END, 3):  # each takes as long as three of the others
        chance = random.Random(seed)
        history = History(chance)
        try:
            Reading(history, chance.random() < 0.8, comings=chance.choice([1, 5, 30])).run()
        except AssertionError as error:
            raise AssertionError(f"SKVALLER_HISTORIES={seed}:{seed + 1} shows it again: {error}") from error


def test_a_fetch_ends_whatever_its_sources_answer() -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(FIRST, END):
        history = History(random.Random(seed))
        outcomes[history.run()] += 1
    if END - FIRST > 1:
        assert outcomes[True]
        assert outcomes[False]
