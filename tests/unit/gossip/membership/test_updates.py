"""What a node believes of others after what it heard of them, and how long it keeps the gone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gossip.core.events import (
    Event,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from gossip.core.membership.member import PROTOCOL, State
from gossip.core.messages import Alive, Dead, Left, Message, Record, Suspect
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.membership.outcome import HERE, THERE, happened, told

A1 = Alive("n1", 5, 1, HERE, b"", PROTOCOL)  # n1 in its run 5, at incarnation 1


ALIVE, SUSPECT, DEAD, LEFT = State


def suspect(incarnation: int, epoch: int = 5, accuser: str = "n8") -> Suspect:
    return Suspect("n1", epoch, incarnation, accuser)


def dead(incarnation: int, epoch: int = 5) -> Dead:
    return Dead("n1", epoch, incarnation, "n8")


def left(incarnation: int, epoch: int = 5) -> Left:
    return Left("n1", epoch, incarnation)


def alive(incarnation: int, epoch: int = 5, **changes: Any) -> Alive:
    return replace(A1, incarnation=incarnation, epoch=epoch, **changes)


def believed(peer: Peer, name: str = "n1") -> tuple[int, State, int] | None:
    member = peer.node.view.member(name)
    return None if member is None else (member.epoch, member.state, member.incarnation)


@pytest.mark.parametrize(
    ("before", "heard", "after", "events"),
    [
        # who is not known
        pytest.param([], alive(3), (5, ALIVE, 3), [MemberJoined], id="new"),
        pytest.param([], suspect(3), None, [], id="suspicion of nobody"),
        pytest.param([], dead(3), None, [], id="death of nobody"),
        pytest.param([], left(3), None, [], id="goodbye of nobody"),
        # who is alive
        pytest.param([A1], alive(1), (5, ALIVE, 1), [], id="the same again"),
        pytest.param([A1], alive(0, metadata=b"old"), (5, ALIVE, 1), [], id="old news"),
        pytest.param([A1], alive(2), (5, ALIVE, 2), [], id="nothing that an application cares for"),
        pytest.param([A1], alive(2, metadata=b"new"), (5, ALIVE, 2), [MemberUpdated], id="new metadata"),
        pytest.param([A1], alive(2, address=THERE), (5, ALIVE, 1), [], id="new address, and the old one may answer"),
        pytest.param([A1], alive(1, address=THERE), (5, ALIVE, 1), [], id="another address in the same record"),
        pytest.param([A1], alive(0, epoch=6), (6, ALIVE, 0), [MemberUpdated], id="restart"),
        pytest.param([A1], alive(9, epoch=4), (5, ALIVE, 1), [], id="an earlier run"),
        pytest.param([A1], suspect(0), (5, ALIVE, 1), [], id="old suspicion"),
        pytest.param([A1], suspect(1), (5, SUSPECT, 1), [MemberSuspected], id="suspicion"),
        pytest.param([A1], suspect(2), (5, SUSPECT, 2), [MemberSuspected], id="suspicion ahead of its record"),
        pytest.param([A1], suspect(9, epoch=4), (5, ALIVE, 1), [], id="suspicion of an earlier run"),
        pytest.param([A1], suspect(1, epoch=6), (5, ALIVE, 1), [], id="suspicion of a run that nobody heard of"),
        pytest.param([A1], dead(0), (5, ALIVE, 1), [], id="old death"),
        pytest.param([A1], dead(1), (5, DEAD, 1), [MemberFailed], id="death"),
        pytest.param([A1], dead(9, epoch=4), (5, ALIVE, 1), [], id="death of an earlier run"),
        pytest.param([A1], left(1), (5, LEFT, 1), [MemberLeft], id="goodbye"),
        pytest.param([A1], left(1, epoch=4), (5, ALIVE, 1), [], id="goodbye of an earlier run"),
        # who is suspect
        pytest.param([A1, suspect(1)], alive(1), (5, SUSPECT, 1), [], id="alive, replayed, clears nothing"),
        pytest.param([A1, suspect(1)], alive(2), (5, ALIVE, 2), [MemberRecovered], id="refutation"),
        pytest.param([A1, suspect(1)], suspect(1), (5, SUSPECT, 1), [], id="suspicion again"),
        pytest.param([A1, suspect(1)], suspect(4, accuser="n7"), (5, SUSPECT, 4), [], id="suspicion, newer"),
        pytest.param([A1, suspect(1)], dead(1), (5, DEAD, 1), [MemberFailed], id="suspect dies"),
        pytest.param([A1, suspect(1)], left(1), (5, LEFT, 1), [MemberLeft], id="suspect says goodbye"),
        pytest.param([A1, suspect(3)], alive(2, metadata=b"m"), (5, SUSPECT, 3), [], id="late record, still accused"),
        # who is dead
        pytest.param([A1, dead(1)], alive(1), (5, DEAD, 1), [], id="alive, replayed, raises nobody"),
        pytest.param([A1, dead(1)], alive(2), (5, ALIVE, 2), [MemberJoined], id="it was not dead"),
        pytest.param([A1, dead(1)], alive(0, epoch=6, address=THERE), (6, ALIVE, 0), [MemberJoined], id="it is back"),
        pytest.param([A1, dead(1)], suspect(1), (5, DEAD, 1), [], id="suspicion of the dead"),
        pytest.param([A1, dead(1)], dead(1), (5, DEAD, 1), [], id="death again"),
        pytest.param([A1, dead(1)], left(1), (5, LEFT, 1), [MemberLeft], id="it had said goodbye"),
        # who has left
        pytest.param([A1, left(1)], alive(9), (5, LEFT, 1), [], id="within a run goodbye is final"),
        pytest.param([A1, left(1)], left(9), (5, LEFT, 1), [], id="goodbye, said otherwise"),
        pytest.param([A1, left(1)], suspect(9), (5, LEFT, 1), [], id="a goodbye is no reason to suspect"),
        pytest.param([A1, left(1)], dead(9), (5, LEFT, 1), [], id="a goodbye is no failure"),
        pytest.param(
            [A1, left(1)], alive(0, epoch=6, address=THERE), (6, ALIVE, 0), [MemberJoined], id="rejoin elsewhere"
        ),
    ],
)
def test_statement_changes_what_is_believed(
    peer: Callable[..., Peer],
    before: list[Message],
    heard: Message,
    after: tuple[int, State, int] | None,
    events: list[type[Event]],
) -> None:
    node = peer()
    hear_all(node, Alive("n8", 1, 0, node.address("n8"), b"", PROTOCOL), *before)
    told(node)
    happened(node)
    node.hear("n8", heard)
    assert believed(node) == after
    assert happened(node) == events
    passed_on = told(node)
    if events:
        assert heard in passed_on, "what changed something is passed on"
    node.hear("n8", heard)
    assert believed(node) == after, "twice is once"
    assert happened(node) == []


def test_member_is_where_its_newest_record_says(peer: Callable[..., Peer]) -> None:
    node = peer()
    hear_all(node, A1, left(1), alive(0, epoch=6, address=THERE, metadata=b"new"))
    member = node.node.view.member("n1")
    assert member is not None
    assert (member.address, member.metadata) == (THERE, b"new")
    node.hear("n8", replace(A1, incarnation=7, metadata=b"old"))
    assert node.node.view.member("n1") == member


def test_record_that_its_accusation_overtook_is_taken_and_the_accusation_stands(peer: Callable[..., Peer]) -> None:
    node = peer()
    hear_all(node, A1, suspect(3), alive(3, metadata=b"late"))
    member = node.node.view.member("n1")
    assert member is not None
    assert (member.metadata, member.state) == (b"late", State.SUSPECT)


def test_newer_rumour_of_a_member_takes_the_place_of_the_older(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n2", Alive("n2", 1, 0, node.address("n2"), b"", PROTOCOL))
    node.pass_time(node.now + 5)
    hear_all(node, A1, suspect(1), dead(1), alive(2))
    assert told(node) == [alive(2)]


def test_confirmations_are_passed_on_as_long_as_they_count(peer: Callable[..., Peer]) -> None:
    node = peer(suspicion_mult=4)
    for name in ("n2", "n3", "n4", "n5"):
        node.hear(name, Alive(name, 1, 0, node.address(name), b"", PROTOCOL))
    hear_all(node, A1, suspect(1, accuser="n2"))
    told(node)
    for accuser, counts in (("n2", False), ("n3", True), ("n3", False), ("n4", True), ("n5", False)):
        node.hear("n2", suspect(1, accuser=accuser))
        assert (suspect(1, accuser=accuser) in told(node)) is counts


def test_accusation_of_who_left_is_answered_with_its_goodbye(peer: Callable[..., Peer]) -> None:
    node = peer()
    hear_all(node, Alive("n2", 1, 0, node.address("n2"), b"", PROTOCOL), A1, left(1))
    node.pass_time(node.now + 8)
    assert left(1) not in told(node)
    node.hear("n2", suspect(1))
    assert left(1) in told(node)


def hear_all(peer: Peer, *messages: Message) -> None:
    """Let a member say all this, one packet after the other, so that those of whom it speaks can answer meanwhile."""
    for message in messages:
        peer.hear("n8", message)


def record(state: State, incarnation: int = 1, epoch: int = 5, name: str = "n1") -> Record:
    return Record(name, epoch, incarnation, state, HERE, b"", PROTOCOL)


@pytest.mark.parametrize(
    ("before", "brought", "after", "events"),
    [
        pytest.param([], record(ALIVE), (5, ALIVE, 1), [MemberJoined], id="new"),
        pytest.param([], record(SUSPECT), (5, SUSPECT, 1), [MemberJoined, MemberSuspected], id="new suspect"),
        pytest.param([], record(DEAD), None, [], id="a stranger's grave"),
        pytest.param([], record(LEFT), None, [], id="a stranger's goodbye"),
        pytest.param([A1], record(DEAD), (5, SUSPECT, 1), [MemberSuspected], id="death on hearsay"),
        pytest.param([A1], record(LEFT), (5, LEFT, 1), [MemberLeft], id="goodbye"),
        pytest.param([A1, suspect(1)], record(ALIVE, 2), (5, ALIVE, 2), [MemberRecovered], id="refuted meanwhile"),
        pytest.param([A1, suspect(1)], record(ALIVE, 1), (5, SUSPECT, 1), [], id="not yet heard of the suspicion"),
        pytest.param([A1, dead(1)], record(ALIVE, 1), (5, DEAD, 1), [], id="not yet heard of the death"),
        pytest.param([A1, dead(1)], record(ALIVE, 0, 6), (6, ALIVE, 0), [MemberJoined], id="restarted meanwhile"),
    ],
)
def test_full_exchange_changes_what_is_believed_once(
    peer: Callable[..., Peer],
    before: list[Message],
    brought: Record,
    after: tuple[int, State, int] | None,
    events: list[type[Event]],
) -> None:
    node = peer()
    for message in before:
        node.hear("n8", message)
    happened(node)
    for _ in range(2):
        node.node.full_state.merge([brought], node.now, stranger=False)
        node.introduce_all()
    assert believed(node) == after
    assert happened(node) == events


def test_who_is_dead_elsewhere_may_refute_that_here(peer: Callable[..., Peer]) -> None:
    """Both sides of a partition hold each other for dead; brought together, each has its chance."""
    node = peer()
    node.node.full_state.merge([record(DEAD, 0, 1, "n0")], node.now, stranger=False)
    assert (node.node.view.me.state, node.node.view.me.incarnation) == (State.ALIVE, 1)


def test_gone_are_forgotten_after_their_time(peer: Callable[..., Peer]) -> None:
    node = peer(forget_after_s=5)
    hear_all(node, A1, dead(1))
    died_at = node.now
    node.pass_time(died_at + 4.9)
    assert believed(node) is not None
    happened(node)
    node.pass_time(died_at + 5.1)
    assert believed(node) is None
    assert happened(node) == [MemberForgotten]


def test_who_comes_back_is_not_forgotten(peer: Callable[..., Peer]) -> None:
    node = peer(forget_after_s=5, probe_interval_s=60)
    hear_all(node, A1, dead(1), alive(2))
    node.pass_time(node.now + 10)
    assert believed(node) == (5, ALIVE, 2)


def test_full_table_takes_in_the_living_in_place_of_the_gone(peer: Callable[..., Peer]) -> None:
    node = peer(members_max=3)
    names = ["n1", "n2", "n3", "n4", "n5"]
    records = {name: Alive(name, 5, 1, node.address(name), b"", PROTOCOL) for name in names}
    hear_all(node, *list(records.values())[:4])
    assert [member.name for member in node.node.view.members()] == names[:3]
    hear_all(node, Dead("n2", 5, 1, "n8"), records["n4"], records["n5"])
    assert [member.name for member in node.node.view.members()] == ["n1", "n3", "n4"]


def test_graves_are_bounded_however_many_die_at_once(peer: Callable[..., Peer]) -> None:
    node = peer(gone_max=2)
    names = [f"n{i}" for i in range(1, 13)]
    for name in names:
        node.hear("n1", node.alive(name))
    for name in names:
        node.hear("n1", Left(name, 1, 0) if name > "n5" else Dead(name, 1, 0, "n1"))
    assert len(node.node.view.members()) == 2
