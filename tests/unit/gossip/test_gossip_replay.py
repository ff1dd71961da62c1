"""Sealed packets that were recorded and sent again, on the guard alone and on a whole node."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.config import GossipConfig
from gossip.core.errors import Rejection
from gossip.core.events import MemberJoined, Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, State
from gossip.core.messages import Ack, Alive, Message, Packet, Ping
from gossip.core.node import Node
from gossip.core.packets.codec import decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.replay import Held, ReplayGuard, Window
from gossip.core.packets.seal import Seal

KEY = bytes(range(32))
HERE, THERE, ELSEWHERE = (Address(f"10.0.0.{i}", 7946) for i in (1, 2, 3))
NOW = 100.0


@given(st.lists(st.integers(0, 3000), max_size=200))
def test_window_admits_each_number_once_and_none_that_is_too_old(numbers: list[int]) -> None:
    window, seen, top = Window(), set(), -1
    for number in numbers:
        expected = number not in seen and number > top - 1024
        assert window.admit(number) is expected
        seen.add(number)
        top = max(top, number)


def held(counter: int) -> Held:
    return Held(Packet("n1", 1, bytes(8), ()), THERE, counter)


def guard(runs_max: int = 10) -> ReplayGuard:
    return ReplayGuard(lambda: 7, lambda: runs_max)


def test_believed_run_gets_back_what_waited_and_is_recent() -> None:
    watch = guard()
    for counter in (0, 100, 90):
        assert watch.admit(b"run", counter)
        watch.hold(b"run", held(counter), NOW)
    assert [waiting.counter for waiting in watch.believe(b"run")] == [100, 90]
    assert watch.believes(b"run")
    assert not watch.admit(b"run", 100)


def test_stranger_is_asked_seldom_and_holds_little() -> None:
    watch = guard()
    asked = 0
    for counter in range(40):
        if watch.hold(b"run", held(counter), NOW + counter / 100):
            watch.ask(b"run", NOW + counter / 100)
            asked += 1
    assert asked == 2
    watch.admit(b"run", 39)
    assert len(watch.believe(b"run")) == 8


def test_stranger_whom_no_question_could_be_sent_is_asked_next_time() -> None:
    """An empty packet is too short for a question in answer; the news right after it must not wait for that."""
    watch = guard()
    assert watch.hold(b"run", held(0), NOW)
    assert watch.hold(b"run", held(1), NOW + 0.001)
    watch.ask(b"run", NOW + 0.001)
    assert not watch.hold(b"run", held(2), NOW + 0.002)


def test_strangers_and_runs_are_bounded() -> None:
    watch = guard(runs_max=10)
    for number in range(200):
        run = number.to_bytes(12, "big")
        watch.hold(run, held(0), NOW)
        watch.believe(run)
    assert len(watch) == 10
    for number in range(200):
        watch.hold(number.to_bytes(12, "big"), held(0), NOW)
    assert len(watch._strangers) == 64


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
    sealed.node.dispatch.hear_on_stream(HELLO, "n2", ELSEWHERE, NOW)
    number = sealed.node.messaging.ping("n1", NOW)
    sealed.node.datagrams()
    sealed.hear(sealed.packet(Ack(number), HELLO))
    assert sealed.hear(sealed.packet(Ping(9, "n0")))[0] == (THERE, Ack(9))


def test_two_sealed_nodes_that_are_strangers_come_to_believe_each_other() -> None:
    nodes: dict[Address, Node] = {}
    for name, address in (("n0", HERE), ("n1", THERE)):
        seal = Seal("", Keyring([KEY]), PROTOCOL, random.Random(name).randbytes)
        me = Member(name, address, 1, 0, State.ALIVE, b"", changed_at=NOW)
        nodes[address] = Node(GossipConfig(), me, seal, random.Random(name), NOW)
    nodes[HERE].dispatch.hear_on_stream(HELLO, "n2", ELSEWHERE, NOW)
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
