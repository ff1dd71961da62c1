"""Each rule that simulations are held against can fail, and is not broken by what is right."""

from dataclasses import replace

import pytest

from gossip.core.membership.member import Address, Member, State
from gossip.sim.invariants import Checker, InvariantError, Observation

VERSION = (1, 0, 5)


def seen(**changes: object) -> Observation:
    """What a node `a` sees that knows `b`, nothing wrong with it."""
    me = Member("a", Address("10.0.0.1", 1), 1, 0, State.ALIVE, b"", changed_at=0.0)
    other = Member("b", Address("10.0.0.2", 1), 1, 3, State.ALIVE, b"", changed_at=0.0)
    plain = Observation(
        me=me,
        run=1,
        members=(other,),
        filters={"b": (VERSION, b"b")},
        filter=(VERSION, b"a"),
        hidden=0,
        waiting=0,
        next_deadline=1.0,
        now=0.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


ME, OTHER = seen().me, seen().members[0]


def checker() -> Checker:
    """One that has seen `b` itself, then `a`, both in order."""
    fresh = Checker()
    fresh.hears("a", 1, OTHER.address)
    fresh.check(seen(me=OTHER, members=(), filters={}, filter=(VERSION, b"b")))
    fresh.check(seen())
    return fresh


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (seen(me=replace(ME, epoch=0)), "went back"),
        (seen(me=replace(ME, state=State.LEFT)), "believes itself"),
        (seen(me=replace(ME, state=State.DEAD)), "believes itself"),
        (seen(me=replace(ME, metadata=b"other")), "two records of a"),
        (seen(members=(replace(OTHER, incarnation=2),)), "went back on b"),
        (seen(members=(replace(OTHER, name="ghost"),)), "never was"),
        (seen(members=(replace(OTHER, incarnation=4),)), "ahead of b itself"),
        (seen(members=(replace(OTHER, epoch=2),)), "ahead of b itself"),
        (seen(members=(replace(OTHER, state=State.LEFT),)), "invented the goodbye"),
        (seen(members=(replace(OTHER, metadata=b"other"),)), "two records of b"),
        (seen(members=(replace(OTHER, address=Address("10.0.0.3", 1)),)), "never said a word"),
        (seen(filter=((1, 0, 4), b"a")), "version went back"),
        (seen(filters={"b": ((1, 0, 6), b"b")}), "newer than b's own"),
        (seen(filters={"b": (VERSION, b"x")}), "two filters of b"),
        (seen(hidden=1), "says no to 1 keys"),
        (seen(members=(OTHER, OTHER)), "more members than there ever were"),
        (seen(waiting=10_000), "rumours wait"),
        (seen(next_deadline=None), "never wants to run"),
    ],
)
def test_every_rule_can_be_broken(wrong: Observation, rule: str) -> None:
    judge = checker()
    judge.check(seen())
    with pytest.raises(InvariantError, match=rule):
        judge.check(wrong)


def test_back_from_death_within_an_incarnation_is_a_step_back() -> None:
    judge = checker()
    judge.check(seen(members=(replace(OTHER, state=State.DEAD),)))
    with pytest.raises(InvariantError, match="went back on b"):
        judge.check(seen(members=(replace(OTHER, state=State.SUSPECT),)))


def test_who_forgot_a_member_may_begin_anew_with_it() -> None:
    judge = checker()
    judge.check(seen(members=(replace(OTHER, state=State.DEAD),)))
    judge.check(seen(members=()))
    judge.check(seen())


def test_a_new_run_may_begin_with_an_older_clock_but_no_run_goes_back() -> None:
    judge = checker()
    judge.hears("a", 2, OTHER.address)
    judge.check(seen(me=replace(ME, epoch=0), run=2, filter=((0, 0, 0), b"")))
    with pytest.raises(InvariantError, match="went back"):
        judge.check(seen(me=replace(ME, epoch=-1), run=2, filter=((0, 0, 0), b"")))


def test_a_goodbye_on_purpose_may_be_believed() -> None:
    judge = checker()
    judge.left(OTHER)
    judge.check(seen(members=(replace(OTHER, state=State.LEFT),)))


def test_a_node_that_spins_is_noticed() -> None:
    judge = checker()
    for _ in range(10_000):
        judge.ticks("a", 1.0)
    for _ in range(10_001):
        judge.ticks("a", 2.0)
    with pytest.raises(InvariantError, match="spins"):
        judge.ticks("a", 2.0)


def test_a_datagram_that_is_too_long_is_noticed() -> None:
    checker().sends("a", 1400, limit=1400)
    with pytest.raises(InvariantError, match="1401 bytes"):
        checker().sends("a", 1401, limit=1400)
