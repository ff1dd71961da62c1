"""Packets of strangers: who is believed when, and what is answered."""

import random

import pytest

from gossip.core.config import GossipConfig
from gossip.core.errors import Rejection
from gossip.core.events import MemberJoined, Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, State
from gossip.core.messages import Ack, Alive, Entries, Entry, Message, Ping, UserMessage
from gossip.core.node import Node
from gossip.core.packets.codec import decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from tests.unit.gossip.handmade import ELSEWHERE

KEY = bytes(range(32))


HERE, THERE = Address("10.0.0.1", 7946), Address("10.0.0.2", 7946)


NOW = 100.0


class Sealed:
    """A sealed node, and another process of its cluster to speak to it."""

    def __init__(self) -> None:
        self.speaker = Seal("", Keyring([KEY]), PROTOCOL, random.Random(2).randbytes)
        seal = Seal("", Keyring([KEY]), PROTOCOL, random.Random(3).randbytes)
        me = Member("n0", HERE, 1, 0, State.ALIVE, b"", changed_at=NOW)
        self.node = Node(GossipConfig(), me, seal, random.Random(4), NOW)

    def packet(self, *messages: Message) -> bytes:
        return self.speaker.wrap(encode_packet("n1", 1, self.node.view.fingerprint, map(encode_message, messages)))

    def hear(self, payload: bytes, source: Address = THERE) -> list[tuple[Address, Message]]:
        """Let a payload arrive. Returns what the node says to that."""
        self.node.receive(payload, source, NOW)
        return [
            (sent.destination, message)
            for sent in self.node.datagrams()
            for message in decode_packet(self.speaker.unwrap(sent.payload).packet, 65536).messages
        ]


@pytest.fixture
def sealed() -> Sealed:
    return Sealed()


HELLO = Alive("n1", 1, 0, THERE, b"", PROTOCOL)


def test_stranger_is_believed_once_it_answers(sealed: Sealed) -> None:
    ((_, question),) = sealed.hear(sealed.packet(HELLO))
    assert isinstance(question, Ping)
    assert sealed.node.view.members() == []
    sealed.hear(sealed.packet(Ack(question.number)))
    assert [member.name for member in sealed.node.view.members()] == ["n1"]


def test_wrong_answer_proves_nothing(sealed: Sealed) -> None:
    ((_, question),) = sealed.hear(sealed.packet(HELLO))
    assert isinstance(question, Ping)
    sealed.hear(sealed.packet(Ack(question.number ^ 1)))
    assert sealed.node.view.members() == []


def test_recording_of_a_run_that_ended_tells_nothing(sealed: Sealed) -> None:
    recorded = [sealed.packet(HELLO) for _ in range(20)]
    for payload in recorded:
        sealed.hear(payload, ELSEWHERE)
    assert sealed.node.view.members() == []
    assert not any(isinstance(event, MemberJoined) for event in sealed.node.events())


def test_packet_is_taken_once(sealed: Sealed) -> None:
    payload = sealed.packet(Ping(5, "n0"))
    first, second = sealed.hear(payload), sealed.hear(payload)
    assert Ack(5) in [message for _, message in first]
    assert second == []
    assert Rejected(Rejection.REPLAY, THERE) in sealed.node.events()


def test_stranger_gets_no_more_than_it_sent_and_only_where_it_sent_from(sealed: Sealed) -> None:
    for number in range(50):
        sealed.node.advertise([bytes((number,)) * 32], NOW)
    payload = sealed.packet(*[Ping(number, "n0") for number in range(20)])
    sealed.node.receive(payload, ELSEWHERE, NOW)
    answers = sealed.node.datagrams()
    assert {answer.destination for answer in answers} == {ELSEWHERE}
    assert sum(len(answer.payload) for answer in answers) <= len(payload)


def test_own_question_answered_proves_a_stranger_too(sealed: Sealed) -> None:
    """A member known from others is probed; its answer is the first that is heard of its run."""
    sealed.node.membership.believe(HELLO, NOW)
    number = sealed.node.messaging.ping("n1", NOW)
    sealed.node.datagrams()
    sealed.hear(sealed.packet(Ack(number), HELLO))
    assert sealed.hear(sealed.packet(Ping(9, "n0")))[0] == (THERE, Ack(9))


def test_who_is_heard_of_answers_and_so_proves_its_run_too(sealed: Sealed) -> None:
    sealed.node.dispatch.hear_on_stream(HELLO, "n2", ELSEWHERE, NOW)
    ((ping, _),) = sealed.node.introductions.questions
    sealed.hear(sealed.packet(Ack(ping.number)))
    assert [member.name for member in sealed.node.view.members()] == ["n1"]
    assert sealed.hear(sealed.packet(Ping(9, "n0")))[0] == (THERE, Ack(9))


def test_run_that_proves_itself_proves_only_where_it_was_asked(sealed: Sealed) -> None:
    """Its record says that it is at one address, and it answers from another."""
    ((_, question),) = sealed.hear(sealed.packet(HELLO), ELSEWHERE)
    assert isinstance(question, Ping)
    sealed.hear(sealed.packet(Ack(question.number)), ELSEWHERE)
    assert sealed.node.view.members() == []
    assert [heard for _, heard in sealed.node.introductions.questions] == [HELLO]


def test_two_sealed_nodes_that_are_strangers_come_to_believe_each_other() -> None:
    nodes: dict[Address, Node] = {}
    for name, address in (("n0", HERE), ("n1", THERE)):
        seal = Seal("", Keyring([KEY]), PROTOCOL, random.Random(name).randbytes)
        me = Member(name, address, 1, 0, State.ALIVE, b"", changed_at=NOW)
        nodes[address] = Node(GossipConfig(), me, seal, random.Random(name), NOW)
    nodes[HERE].membership.believe(HELLO, NOW)
    nodes[HERE].messaging.broadcast(b"hello", NOW)
    now = NOW
    for _ in range(200):
        now = min(deadline for node in nodes.values() if (deadline := node.next_deadline()) is not None)
        if now > NOW + 5:
            break
        for node in nodes.values():
            node.tick(now)
        for _ in range(4):
            for address, node in nodes.items():
                for sent in node.datagrams():
                    nodes[sent.destination].receive(sent.payload, address, now)
    states = {
        node.view.name: [(member.name, member.state) for member in node.view.members()] for node in nodes.values()
    }
    assert states["n0"] == [("n1", State.ALIVE)]
    assert states["n1"] == [("n0", State.ALIVE)]


def test_what_waited_for_a_proof_is_answered_on_no_account_but_its_own() -> None:
    """The credit of the datagram that proves a run is not spent on another source."""
    speaker = Seal("", Keyring([KEY]), PROTOCOL, random.Random(5).randbytes)
    seal = Seal("", Keyring([KEY]), PROTOCOL, random.Random(6).randbytes)
    me = Member("n0", Address("10.9.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)
    node, elsewhere = Node(GossipConfig(), me, seal, random.Random(7), 0.0), Address("192.0.2.2", 9)

    def hear(source: Address, *messages: Message) -> list[Address]:
        packet = encode_packet("x", 1, bytes(8), map(encode_message, messages))
        node.receive(speaker.wrap(packet), source, 0.0)
        sent = node.datagrams()
        for datagram in sent:
            opened = decode_packet(speaker.unwrap(datagram.payload).packet, 65536)
            asked.extend(message.number for message in opened.messages if isinstance(message, Ping))
        return [datagram.destination for datagram in sent]

    asked: list[int] = []
    assert hear(ELSEWHERE, Entries(0, (Entry("x", 9, 9, 9, 9),) * 4)) == [ELSEWHERE]
    assert elsewhere not in hear(ELSEWHERE, Entries(0, (Entry("x", 9, 9, 9, 9),)))
    assert hear(elsewhere, Ack(asked[0]), UserMessage(bytes(100))) == []
