"""Who is heard of has to answer before anything rests on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gossip.core.events import MemberJoined, MemberUnreached, MemberUpdated
from gossip.core.membership.member import PROTOCOL, Address, State
from gossip.core.messages import Ack, Alive, Dead, Left, Message, Ops, Ping, Record
from tests.unit.gossip.conftest import Peer, is_introduction, opened
from tests.unit.gossip.conversing import address, converse, deliver, dial, node, states
from tests.unit.gossip.handmade import packet

if TYPE_CHECKING:
    from gossip.core.node import Node

THERE = Address("10.9.9.9", 7946)


def silent(peer: Callable[..., Peer], **settings: float) -> Peer:
    """A node that knows n1, and hands that answer nothing by themselves."""
    made = peer(**settings)
    made.hear("n1", made.alive("n1"))
    made.said()
    made.node.events()
    made.answering = False
    return made


def asked(peer: Peer) -> list[tuple[Address, Ping]]:
    """Whom the node asked since the last call."""
    packets = [(sent.destination, opened(sent).messages) for sent in peer.node.datagrams()]
    return [(where, said[0]) for where, said in packets if is_introduction(said)]  # type: ignore[misc]


def answer(peer: Peer, name: str, source: Address, number: int, *, epoch: int = 1) -> None:
    peer.node.receive(packet(name, Ack(number), epoch=epoch), source, peer.now)


def known(peer: Peer) -> list[str]:
    return sorted(member.name for member in peer.node.view.members())


def test_who_is_heard_of_is_asked_at_once_and_is_a_member_when_it_answers(peer: Callable[..., Peer]) -> None:
    node = silent(peer)
    node.hear("n1", node.alive("n2"))
    ((where, ping),) = asked(node)
    assert (where, ping.target) == (node.address("n2"), "n2")
    assert (known(node), node.node.view.candidates) == (["n1"], 1)
    node.pass_time(node.now + 0.1)
    assert not any(isinstance(message, Alive) and message.name == "n2" for _, message in node.said()), "nor passed on"
    answer(node, "n2", node.address("n2"), ping.number)
    assert (known(node), node.node.view.candidates) == (["n1", "n2"], 0)
    assert [event.member.name for event in node.events(MemberJoined)] == ["n2"]
    node.pass_time(node.now + 0.1)
    assert node.alive("n2") in [message for _, message in node.said()]


@pytest.mark.parametrize(
    ("name", "source", "wrong", "epoch"),
    [
        pytest.param("n2", THERE, 0, 1, id="from elsewhere"),
        pytest.param("n3", Peer.address("n2"), 0, 1, id="under another name"),
        pytest.param("n2", Peer.address("n2"), 1, 1, id="to another question"),
        pytest.param("n2", Peer.address("n2"), 0, 7, id="of another run"),
    ],
)
def test_answer_counts_from_there_under_that_name_and_of_that_run(
    peer: Callable[..., Peer], name: str, source: Address, wrong: int, epoch: int
) -> None:
    node = silent(peer)
    node.hear("n1", node.alive("n2"))
    ((_, ping),) = asked(node)
    answer(node, name, source, ping.number ^ wrong, epoch=epoch)
    assert known(node) == ["n1"]


def test_forged_move_of_a_live_member_moves_nothing_until_that_address_answers_as_it(
    peer: Callable[..., Peer],
) -> None:
    node = silent(peer, probe_interval_s=60.0)
    node.node.receive(packet("n9", Ops("n1", 1, 0, 14, 0, bytes(8))), node.address("n9"), node.now)
    for forged in (node.alive("n1", epoch=2), node.alive("n1", incarnation=9)):
        node.hear("n3", replace(forged, address=THERE, metadata=b"evil"))
        node.pass_time(node.now + 3)
        member = node.node.view.member("n1")
        assert member is not None
        assert (member.address, member.metadata, member.epoch) == (node.address("n1"), b"", 1)
    node.hear("n3", node.alive("n1", epoch=5, metadata=b"evil"))
    ((where, ping),) = asked(node)[-1:]
    assert where == node.address("n1"), "a run that never was is asked for, too"
    answer(node, "n1", where, ping.number)
    assert node.node.view.member("n1").epoch == 1  # type: ignore[union-attr]
    assert [member.name for member in node.node.view.holders(bytes(8))] == ["n1"], "and its filter is what it was"
    assert node.events(MemberUpdated) == []


def moving(peer: Peer) -> tuple[Ping, Ping]:
    """Let the node hear that n1 has moved. Returns what it asks it there, and where it is known to be."""
    peer.hear("n3", replace(peer.alive("n1", epoch=2), address=THERE))
    said = peer.said()
    (there,) = [message for where, message in said if where == THERE and isinstance(message, Ping)]
    (here,) = [message for where, message in said if where == peer.address("n1") and isinstance(message, Ping)]
    assert (THERE, peer.alive("n1")) in said, "who takes a name is told where the member of that name is"
    return there, here


def place(peer: Peer) -> Address:
    member = peer.node.view.member("n1")
    assert member is not None
    return member.address


def test_member_that_moved_is_there_when_it_answers_there_and_no_longer_where_it_was(peer: Callable[..., Peer]) -> None:
    node = silent(peer, probe_interval_s=60.0)
    there, _ = moving(node)
    answer(node, "n1", THERE, there.number, epoch=2)
    assert place(node) == node.address("n1")
    node.pass_time(node.now + 0.9)
    assert place(node) == THERE


@pytest.mark.parametrize("late_s", [0.0, 0.6])
def test_live_member_stays_where_it_answers(peer: Callable[..., Peer], late_s: float) -> None:
    node = silent(peer, probe_interval_s=60.0)
    there, here = moving(node)
    answer(node, "n1", THERE, there.number, epoch=2)
    node.pass_time(node.now + late_s)
    answer(node, "n1", THERE, here.number, epoch=2)
    answer(node, "n2", node.address("n1"), here.number)
    assert node.node.view.candidates == 1, "another's answer is none"
    answer(node, "n1", node.address("n1"), here.number)
    assert node.node.view.candidates == 0
    node.pass_time(node.now + 5)
    assert (place(node), node.events(MemberUpdated)) == (node.address("n1"), [])


def test_member_that_is_gone_may_come_back_elsewhere_at_once(peer: Callable[..., Peer]) -> None:
    node = silent(peer)
    node.hear("n3", Left("n1", 1, 0))
    node.hear("n3", replace(node.alive("n1", epoch=2), address=THERE))
    ((where, ping),) = asked(node)
    answer(node, "n1", where, ping.number, epoch=2)
    assert place(node) == THERE


def test_who_was_dialled_under_the_name_of_a_live_member_has_to_wait_too(peer: Callable[..., Peer]) -> None:
    node = silent(peer, probe_interval_s=60.0)
    node.node.introductions.prove("n1", THERE, 2, node.now)
    node.hear("n3", replace(node.alive("n1", epoch=2), address=THERE))
    (here,) = [it for where, it in node.said() if where == node.address("n1") and isinstance(it, Ping)]
    answer(node, "n1", node.address("n1"), here.number)
    node.pass_time(node.now + 5)
    assert place(node) == node.address("n1")


@pytest.mark.parametrize("gone", [Dead("n1", 1, 0, "n3"), Left("n1", 1, 0)], ids=["dead", "left"])
def test_nobody_raises_the_gone_by_a_word(peer: Callable[..., Peer], gone: Message) -> None:
    node = silent(peer)
    node.hear("n3", gone)
    node.hear("n3", node.alive("n1", incarnation=5), node.alive("n1", epoch=9))
    node.pass_time(node.now + 5)
    assert not node.node.view.member("n1").live  # type: ignore[union-attr]


def test_two_thousand_invented_members_add_nothing_and_are_forgotten(peer: Callable[..., Peer]) -> None:
    """A train of packets; the network carries what is asked to addresses where nobody is."""
    node = silent(peer)
    copies, fingerprint = node.node.context.members.cluster_size, node.node.view.fingerprint
    waiting = node.node.view.waiting
    invented = [
        Alive(f"x{i}", 1, 0, Address(f"10.7.{i // 250}.{1 + i % 250}", 7946), b"", PROTOCOL) for i in range(2000)
    ]
    for first in range(0, len(invented), 16):
        node.node.receive(packet("n3", *invented[first : first + 16]), node.address("n3"), node.now)
        node.now += 0.0002
    assert node.node.view.candidates <= node.node.context.config.members_max
    assert known(node) == ["n1"]
    assert (node.node.context.members.cluster_size, node.node.view.fingerprint) == (copies, fingerprint)
    assert len(asked(node)) <= 140, "questions are few at once"
    assert node.node.view.waiting == waiting, "and nobody is told"
    began_at, questions = node.now, 0
    while node.node.view.candidates and node.now < began_at + 60:
        node.pass_time(node.now + 0.1)
        questions += len(asked(node))
    assert node.now - began_at < 15, "they are forgotten within seconds"
    assert questions <= 512 * (node.now - began_at) + 1
    assert known(node) == ["n1"]
    assert node.node.dissemination.directory.memory_bytes < 64 * 1024 + 16384 * 8


def test_who_joins_while_invented_members_come_in_is_a_member_at_once(peer: Callable[..., Peer]) -> None:
    node = silent(peer)
    for i in range(2000):
        forged = Alive(f"x{i}", 1, 0, Address(f"10.7.{i // 250}.{1 + i % 250}", 7946), b"", PROTOCOL)
        node.node.receive(packet("n3", forged), node.address("n3"), node.now)
    asked(node)
    node.hear("n2", node.alive("n2"))
    for _ in range(100):
        pings = [ping for where, ping in asked(node) if where == node.address("n2")]
        if pings:
            break
        node.pass_time(node.now + 0.1)
    answer(node, "n2", node.address("n2"), pings[0].number)
    assert known(node) == ["n1", "n2"]


def test_one_that_does_not_answer_is_asked_some_times_and_then_left_alone_for_a_while(
    peer: Callable[..., Peer],
) -> None:
    node = silent(peer, heal_interval_s=10.0)
    asked_at = []
    while node.now < 120:
        node.hear("n1", node.alive("n2"))
        asked_at += [node.now] * sum(where == node.address("n2") for where, _ in asked(node))
        node.pass_time(node.now + 0.05)
    assert 5 <= len(asked_at) <= 10
    assert {event.member.name for event in node.events(MemberUnreached)} == {"n2"}
    assert asked_at[4] - asked_at[0] < 2


def test_filter_that_comes_before_the_answer_counts_when_the_answer_is_there(peer: Callable[..., Peer]) -> None:
    node = silent(peer)
    node.hear("n2", node.alive("n2"), Ops("n2", 1, 0, 14, 0, bytes(8)))
    ((_, ping),) = asked(node)
    assert node.node.view.holders(bytes(8)) == []
    answer(node, "n2", node.address("n2"), ping.number)
    assert [member.name for member in node.node.view.holders(bytes(8))] == ["n2"]


def test_address_at_which_nobody_can_be_is_not_asked(peer: Callable[..., Peer]) -> None:
    node = silent(peer)
    for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"):
        node.hear("n1", replace(node.alive("n2"), address=Address(host, 7946)))
    assert asked(node) == []


def test_who_is_dialled_has_answered_by_that() -> None:
    one, other = node(0), node(1)
    converse(dial(other, one), one.answer(address(1)))
    assert states(other) == {"n0": State.ALIVE}
    assert states(one) == {}
    deliver(one, other)
    assert states(one) == {"n1": State.ALIVE}


def test_nodes_that_hear_of_each_other_know_each_other_after_one_round_trip() -> None:
    nodes: list[Node] = [node(number) for number in range(5)]
    records = [Record(f"n{i}", 1, 0, State.ALIVE, address(i), b"", PROTOCOL) for i in range(1, 5)]
    nodes[0].full_state.merge(records, 100.0, stranger=False)
    deliver(*nodes)
    assert set(states(nodes[0])) == {"n1", "n2", "n3", "n4"}
    assert all("n0" in states(other) for other in nodes[1:]), "the question bears the record of who asks"
