"""Failure detection, one node at a time: what is asked when, and who is judged by it."""

import random
from collections.abc import Callable

import pytest

from gossip.core.config import GossipConfig
from gossip.core.events import MemberFailed, MemberSuspected
from gossip.core.membership.member import PROTOCOL, Member, State
from gossip.core.messages import Ack, Dead, Nack, Ping, ProbeRequest, Suspect
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from gossip.core.streams.purpose import Purpose
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.probing import answer, introduce, name_at, state, steps, wait_for


def test_each_member_is_probed_once_in_a_round(peer: Callable[..., Peer]) -> None:
    node = peer()
    names = introduce(node, 6)
    probed: list[str] = []
    for said in steps(node, 30):
        for address, message in said:
            if isinstance(message, Ping):
                assert message.target == name_at(address)
                probed.append(message.target)
                node.hear(message.target, Ack(message.number))
    rounds = [sorted(probed[start : start + 6]) for start in range(6, 24, 6)]
    assert rounds == [names] * 3
    assert all(state(node, name) is State.ALIVE for name in names)


def test_answer_in_time_asks_nobody_else_and_heals_doubt(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 4)
    node.node.note_late_loop()
    answer(node, 2.5)
    assert node.node.view.health == 0
    assert node.node.dials() == []


def test_silent_member_is_asked_through_others_then_suspected_then_dead(peer: Callable[..., Peer]) -> None:
    node = peer(indirect_probes=3)
    introduce(node, 6)
    node.hear("n6", Dead("n6", 1, 0, "n5"))
    ((address, ping),) = wait_for(node, Ping)
    asked_at, target = node.now, name_at(address)
    requests = wait_for(node, ProbeRequest)
    assert node.now == pytest.approx(asked_at + 0.5)
    assert {request for _, request in requests} == {ProbeRequest(ping.number, target)}
    relays = {name_at(relay) for relay, _ in requests}
    assert len(relays) == 3
    assert relays <= {f"n{number}" for number in range(1, 6)} - {target}
    (dial,) = node.node.dials()
    assert (dial.remote, dial.purpose) == (address, Purpose.PROBE)
    answer(node, 0.4999)
    assert state(node, target) is State.ALIVE
    answer(node, 0.001, but=(target,))
    assert state(node, target) is State.SUSPECT
    answer(node, 30, but=(target,))
    assert state(node, target) is State.DEAD
    changes = [event for event in node.node.events() if isinstance(event, MemberSuspected | MemberFailed)]
    assert [event.member.name for event in changes if event.member.name == target] == [target, target]


@pytest.mark.parametrize(
    ("by", "saved"), [("relay", True), ("target", True), ("bystander", False), ("stranger", False)]
)
def test_late_answer_counts_from_the_target_and_from_relays_only(
    peer: Callable[..., Peer], by: str, saved: bool
) -> None:
    node = peer(indirect_probes=1)
    names = introduce(node, 4)
    ((address, ping),) = wait_for(node, Ping)
    ((relay, _),) = wait_for(node, ProbeRequest)
    target = name_at(address)
    bystander = next(name for name in names if name not in (target, name_at(relay)))
    answering = {"relay": name_at(relay), "target": target, "bystander": bystander, "stranger": "n9"}[by]
    node.hear(answering, Ack(ping.number))
    wait_for(node, Ping, within_s=1.0)
    assert (state(node, target) is State.ALIVE) is saved


def test_member_whose_datagrams_are_lost_is_saved_by_a_stream(peer: Callable[..., Peer]) -> None:
    node = peer()
    (target,) = introduce(node, 1)
    me = Member(target, node.address(target), 1, 0, State.ALIVE, b"", changed_at=0.0)
    silent = Node(GossipConfig(), me, Seal("", Keyring(), PROTOCOL, random.Random(1).randbytes), random.Random(2), 0.0)
    wait_for(node, Ping)
    dial = next(dial for _ in steps(node, 1.0) for dial in node.node.dials() if dial.purpose is Purpose.PROBE)
    half = silent.answer(node.node.view.me.address)
    for _ in range(3):
        for here, there in ((half, dial), (dial, half)):
            while here.my_turn and not here.finished:
                for frame in here.frames():
                    there.feed(frame, node.now)
    assert dial.finished
    wait_for(node, Ping, within_s=1.0)
    assert state(node, target) is State.ALIVE


@pytest.mark.parametrize("nacks", [0, 1, 2, 3])
def test_each_missing_nack_is_a_doubt_and_none_missing_is_none(peer: Callable[..., Peer], nacks: int) -> None:
    node = peer(indirect_probes=3)
    introduce(node, 5)
    ((address, ping),) = wait_for(node, Ping)
    requests = wait_for(node, ProbeRequest)
    for relay, _ in requests[:nacks]:
        node.hear(name_at(relay), Nack(ping.number))
    node.hear(name_at(address), Nack(ping.number))
    wait_for(node, Ping, within_s=1.0)
    assert node.node.view.health == 3 - nacks
    assert state(node, name_at(address)) is State.SUSPECT


def test_who_has_nobody_to_ask_doubts_itself_by_one(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 1)
    wait_for(node, Ping)
    wait_for(node, Ping)
    assert node.node.view.health == 1


@pytest.mark.parametrize("doubt", [0, 1, 3])
def test_doubt_stretches_the_interval(peer: Callable[..., Peer], doubt: int) -> None:
    node = peer()
    introduce(node, 3)
    for _ in range(doubt):
        node.node.note_late_loop()
    wait_for(node, Ping)
    begun = node.now
    wait_for(node, ProbeRequest)
    assert node.now == pytest.approx(begun + 0.5), "the direct answer may take no longer"
    wait_for(node, Ping)
    assert node.now == pytest.approx(begun + 1.0 * (doubt + 1))


def test_suspect_is_told_of_it_with_its_probe_and_with_the_answer_to_its_own(peer: Callable[..., Peer]) -> None:
    """Long after the rumour was told for the last time, too."""
    node = peer(suspicion_mult=32)
    introduce(node, 2)
    node.hear("n1", Suspect("n1", 1, 0, "n9"))
    answer(node, 5.0)
    node.said()
    accusation = Suspect("n1", 1, 0, "n0")
    node.hear("n1", Ping(5, "n0"))
    assert node.said() == [(node.address("n1"), Ack(5)), (node.address("n1"), accusation)]
    node.hear("n2", Ping(6, "n0"))
    assert node.said() == [(node.address("n2"), Ack(6))]
    for said in steps(node, 5.0):
        if any(isinstance(message, Ping) and message.target == "n1" for _, message in said):
            assert (node.address("n1"), accusation) in said
            return
    raise AssertionError("the suspect was not probed")


def test_relay_asks_under_a_number_of_its_own_and_passes_the_answer_on(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 2)
    node.hear("n1", ProbeRequest(77, "n2"))
    ((address, ping),) = [(address, said) for address, said in node.said() if isinstance(said, Ping)]
    assert (address, ping.target) == (node.address("n2"), "n2")
    node.hear("n2", Ack(ping.number))
    assert (node.address("n1"), Ack(77)) in node.said()
    node.hear("n2", Ack(ping.number))
    assert not any(isinstance(said, Ack) for _, said in node.said()), "passed on once"


def test_relay_says_in_time_that_the_target_is_silent(peer: Callable[..., Peer]) -> None:
    node = peer(probe_timeout_s=0.5)
    introduce(node, 3)
    answer(node, 2.0)
    node.hear("n1", ProbeRequest(77, "n2"))
    node.said()
    begun = node.now
    assert wait_for(node, Nack) == [(node.address("n1"), Nack(77))]
    assert node.now == pytest.approx(begun + 0.4), "before the interval of the one who asked ends"


def test_relay_that_knows_no_such_member_says_so_at_once(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 1)
    node.hear("n1", ProbeRequest(77, "n9"))
    assert (node.address("n1"), Nack(77)) in node.said()


def test_relays_are_bounded(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 2)
    for number in range(300):
        node.hear("n1", ProbeRequest(number, "n2"))
    said = [message for _, message in node.said()]
    assert sum(isinstance(message, Ping) for message in said) == 256
    assert sum(isinstance(message, Nack) for message in said) == 300 - 256
