"""Who takes which message, and what is answered to whom."""

import random
from collections.abc import Callable
from typing import get_args

import pytest

from gossip.core.errors import Rejection, WireError
from gossip.core.events import Rejected
from gossip.core.membership.member import PROTOCOL, State
from gossip.core.messages import (
    Ack,
    Alive,
    Broadcast,
    Buckets,
    Chunk,
    Dead,
    Done,
    Entries,
    Entry,
    KeyAction,
    KeyOrder,
    KeyReport,
    Left,
    Message,
    Nack,
    NameClaim,
    Offer,
    Ops,
    Ping,
    ProbeRequest,
    Pull,
    Record,
    Suspect,
    UserMessage,
    UserState,
)
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.handmade import ELSEWHERE, packet
from tests.unit.gossip.probing import introduce


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Ping(0, "n0"), id="ping"),
        pytest.param(ProbeRequest(0, "n1"), id="probe request"),
        pytest.param(Entries(0, (Entry("x", 9, 9, 9, 9),)), id="entries"),
        pytest.param(Buckets(bytes(256)), id="buckets"),
        pytest.param(Pull((Entry("n1", 0, 0, 0, 0),)), id="pull"),
        pytest.param(Ops("n1", 1, 0, 14, 9, bytes(8)), id="additions after a gap"),
    ],
)
@pytest.mark.parametrize("times", [1, 500])
def test_whoever_is_not_at_a_members_address_is_sent_no_more_than_it_sent(
    peer: Callable[..., Peer], message: Message, times: int
) -> None:
    node = peer()
    node.hear("n1", node.alive("n1", metadata=random.Random(1).randbytes(512)))
    node.said()
    for sender in ("x", "n1"):
        payload = packet(sender, *[message] * times)
        node.node.receive(payload, ELSEWHERE, node.now)
        answers = [datagram for datagram in node.node.datagrams() if datagram.destination == ELSEWHERE]
        assert sum(len(answer.payload) for answer in answers) <= len(payload)


def test_stranger_with_a_real_clock_is_answered(peer: Callable[..., Peer]) -> None:
    """What real nodes send is long enough for an answer."""
    node = peer()
    node.node.receive(packet("x", Ping(7, "n0"), epoch=1_700_000_000_000), ELSEWHERE, node.now)
    assert node.said() == [(ELSEWHERE, Ack(7))]


def test_member_gets_one_answer_to_a_packet_however_often_it_asks(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"), node.alive("n2"))
    node.pass_time(node.now + 3)
    node.said()
    question = Pull((Entry("n1", 0, 0, 0, 0),))
    node.hear("n2", *[Ping(0, "n0")] * 500, *[question] * 300, *[Ops("n1", 1, 0, 14, 9, bytes(8))] * 100)
    said = [message for address, message in node.said() if address == node.address("n2")]
    assert [message for message in said if isinstance(message, Ack)] == [Ack(0)]
    assert [message for message in said if isinstance(message, Pull)] == [Pull((Entry("n1", 1, 0, 0, 0),))]
    assert len(said) < 10


def test_only_the_one_who_is_asked_answers(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, 1)
    node.hear("n1", Ping(5, "n7"))
    assert not any(isinstance(message, Ack) for _, message in node.said())
    node.hear("n1", Ping(6, "n0"))
    assert (node.address("n1"), Ack(6)) in node.said()


ENTRY = Entry("x", 1, 0, 0, 0)
OF_STREAMS = [
    Record("x", 1, 0, State.ALIVE, ELSEWHERE, b"", PROTOCOL),
    Chunk(ENTRY, 14, 0, bytes(8)),
    Done(),
    NameClaim(1, 1),
    KeyOrder(KeyAction.LIST, b""),
    KeyReport(b"", ""),
]


@pytest.mark.parametrize("message", OF_STREAMS, ids=lambda message: type(message).__name__)
def test_what_does_not_belong_into_packets_is_rejected_and_what_came_before_it_taken(
    peer: Callable[..., Peer], message: Message
) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"), message, node.alive("n2"))
    assert [event.reason for event in node.events(Rejected)] == [Rejection.ORDER]
    assert [member.name for member in node.node.view.members()] == ["n1"]


def test_every_kind_of_message_has_its_place(peer: Callable[..., Peer]) -> None:
    """A new kind is rejected until somebody takes it, in packets or in conversations."""
    taken = {
        *(Ping, Ack, ProbeRequest, Nack, Alive, Suspect, Dead, Left, Ops, Offer, Buckets, Entries, Pull),
        *(UserMessage, UserState, Broadcast),
    }
    assert taken | {type(message) for message in OF_STREAMS} == set(get_args(Message))
    for kind in (
        Nack(1),
        Offer(ENTRY),
        Buckets(bytes(256)),
        UserMessage(b""),
        UserState(b""),
        Broadcast("x", 1, 0, b""),
    ):
        node = peer()
        node.hear("n1", kind)
        assert node.events(Rejected) == []


@pytest.mark.parametrize("message", [Nack(1), Offer(ENTRY), Buckets(bytes(256)), ProbeRequest(1, "x")], ids=str)
def test_questions_of_packets_do_not_belong_into_streams(peer: Callable[..., Peer], message: Message) -> None:
    node = peer()
    with pytest.raises(WireError, match="does not belong here"):
        node.node.dispatch.hear_on_stream(message, "n1", ELSEWHERE, node.now)


def test_who_takes_part_while_believed_dead_is_reminded_but_not_by_every_packet(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n2", node.alive("n1"), node.alive("n2"))
    node.hear("n2", Dead("n1", 1, 0, "n2"))
    node.said()
    reminders = []
    for _ in range(12):
        node.now += 1 / 16
        node.hear("n1")
        reminders += [message for _, message in node.said() if message == Dead("n1", 1, 0, "n0")]
    assert len(reminders) == 3
