"""What a node does for its application: messages, pings, questions, and whom it lets in."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import ConfigError, StateError, WireError
from gossip.core.events import Answered, BroadcastReceived, MemberFlapping, MemberSteady, MessageReceived, Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, Span, State
from gossip.core.messages import Ack, Alive, Broadcast, Dead, Ops, Ping, Record, UserMessage

Peer = Any


def alive(peer: Peer, name: str, incarnation: int = 0, *, epoch: int = 1, protocol: Span = PROTOCOL) -> Alive:
    return Alive(name, epoch, incarnation, peer.address(name), b"", protocol)


def events(peer: Peer, kind: type) -> list[Any]:
    return [event for event in peer.node.events() if isinstance(event, kind)]


# Messages


def test_broadcast_is_delivered_once_and_passed_on(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"), alive(node, "n2"))
    node.pass_time(node.now + 5)
    node.said()
    for sender in ("n1", "n2", "n1"):
        node.hear(sender, Broadcast("n1", 1, 0, b"hello"))
    assert events(node, BroadcastReceived) == [BroadcastReceived("n1", b"hello")]
    node.pass_time(node.now + 1)
    assert Broadcast("n1", 1, 0, b"hello") in [message for _, message in node.said()]


def test_broadcast_counts_anew_in_a_new_run_and_the_old_run_is_over(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"))
    for epoch in (1, 2, 1, 2):
        node.hear("n1", Broadcast("n1", epoch, 0, str(epoch).encode()), epoch=epoch)
    assert [event.payload for event in events(node, BroadcastReceived)] == [b"1", b"2"]


def test_broadcast_of_somebody_unknown_is_not_believed(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", Broadcast("n9", 1, 0, b"hello"))
    assert events(node, BroadcastReceived) == []


def test_own_broadcast_does_not_come_back(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"))
    node.node.messaging.broadcast(b"mine", node.now)
    node.hear("n1", Broadcast("n0", 1, 0, b"mine"))
    assert events(node, BroadcastReceived) == []


@pytest.mark.parametrize("datagram_max_bytes", [1400, 1024])
def test_too_long_messages_are_refused_with_what_would_fit(peer: Callable[..., Peer], datagram_max_bytes: int) -> None:
    node = peer(datagram_max_bytes=datagram_max_bytes)
    node.hear("n1", alive(node, "n1"))
    with pytest.raises(ConfigError, match=r"at most \d+ bytes") as refused:
        node.node.messaging.broadcast(bytes(513), node.now)
    longest = next(int(word) for word in str(refused.value).split() if word.isdigit())
    assert 400 < longest <= 512
    node.node.messaging.broadcast(random.Random(1).randbytes(longest), node.now)
    node.pass_time(node.now + 1)
    assert any(isinstance(message, Broadcast) for _, message in node.said())
    with pytest.raises(ConfigError, match="send it reliably"):
        node.node.messaging.send("n1", bytes(datagram_max_bytes))
    with pytest.raises(ConfigError, match="1048576"):
        node.node.messaging.send_reliably("n1", bytes(2**20 + 1))


def test_longest_message_fits_one_datagram(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"))
    node.pass_time(node.now + 5)
    node.said()
    noise = random.Random(1).randbytes(1400)
    with pytest.raises(ConfigError) as refused:
        node.node.messaging.send("n1", noise)
    longest = next(int(word) for word in str(refused.value).split() if word.isdigit() and int(word) < 1400)
    node.node.messaging.send("n1", noise[:longest])
    (sent,) = node.node.datagrams()
    assert 1380 <= len(sent.payload) <= 1400


def test_message_to_nobody_is_refused(peer: Callable[..., Peer]) -> None:
    node = peer()
    for send in (node.node.messaging.send, node.node.messaging.send_reliably):
        with pytest.raises(StateError, match="no member 'n1'"):
            send("n1", b"hello")


def test_message_is_received(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", UserMessage(b"hello"))
    assert events(node, MessageReceived) == [MessageReceived("n1", b"hello")]


# Pings


def test_ping_measures_the_round_trip_of_the_one_that_was_asked(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", alive(node, "n1"), alive(node, "n2"))
    number = node.node.messaging.ping("n1", node.now)
    node.now += 0.25
    node.hear("n2", Ack(number))
    assert events(node, Answered) == []
    node.hear("n1", Ack(number, b"payload"))
    (answer,) = events(node, Answered)
    assert (answer.member.name, answer.rtt_s, answer.payload) == ("n1", 0.25, b"payload")
    assert node.node.view.rtt_s("n1") == 0.25
    node.hear("n1", Ack(number))
    assert events(node, Answered) == []


class Application(Delegate):
    """Answers as the test wants."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def admit(self, member: Member) -> bool:
        return bool(self.answers.get("admit", lambda _: True)(member))

    def merge(self, members: Sequence[Member]) -> bool:
        return bool(self.answers.get("merge", lambda _: True)(members))

    def acknowledge(self) -> bytes:
        return bytes(self.answers.get("acknowledge", b""))


def test_answer_to_a_ping_carries_what_the_application_attaches(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(acknowledge=b"coordinates"))
    node.hear("n1", alive(node, "n1"))
    node.hear("n1", Ping(7, "n0"))
    assert (peer().address("n1"), Ack(7, b"coordinates")) in node.said()


# Whom it lets in


def test_application_keeps_a_member_out_and_an_update_back(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(admit=lambda member: member.metadata != b"bad"))
    bad = dataclasses.replace(alive(node, "n1"), metadata=b"bad")
    node.hear("n1", bad)
    assert node.node.view.members() == []
    node.hear("n1", alive(node, "n1"))
    node.hear("n1", dataclasses.replace(bad, incarnation=1))
    assert [member.metadata for member in node.node.view.members()] == [b""]
    assert [event.reason for event in events(node, Rejected)] == ["veto", "veto"]


def test_application_refuses_a_whole_cluster_and_nothing_of_it_is_taken(peer: Callable[..., Peer]) -> None:
    node = peer(delegate=Application(merge=lambda members: len(members) < 3))
    records = [Record(f"n{i}", 1, 0, State.ALIVE, node.address(f"n{i}"), b"", PROTOCOL) for i in range(1, 5)]
    with pytest.raises(WireError, match="does not want"):
        node.node.full_state.merge(records, node.now, stranger=True)
    assert node.node.view.members() == []
    node.node.full_state.merge(records[:2], node.now, stranger=True)
    assert not node.node.full_state.is_stranger("n1")
    node.node.full_state.merge(records, node.now, stranger=False)
    assert len(node.node.view.members()) == 4


def test_only_allowed_networks_are_heard_answered_and_believed(peer: Callable[..., Peer]) -> None:
    node = peer(allow=("10.9.0.0/29", "fd00::/8"))
    node.hear("n20", Ping(1, "n0"))
    assert node.said() == []
    node.hear(
        "n1",
        alive(node, "n1"),
        alive(node, "n20"),
        dataclasses.replace(alive(node, "n2"), address=Address("fd00::1", 1)),
    )
    assert [member.name for member in node.node.view.members()] == ["n1", "n2"]
    with pytest.raises(WireError):
        node.node.answer(node.address("n20"))
    assert [event.reason for event in events(node, Rejected)] == ["allow", "allow"]


@pytest.mark.parametrize("allow", [(), ("10.0.0.0/8", "nonsense"), ("10.0.0.1/8",)])
def test_networks_that_are_none_are_refused(allow: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="allow"):
        GossipConfig(allow=allow)


# Versions


def test_the_highest_version_is_spoken_that_all_live_members_understand(peer: Callable[..., Peer]) -> None:
    node = peer(protocol=Span(1, 3))
    assert node.node.view.protocol == 3
    node.hear("n1", alive(node, "n1", protocol=Span(1, 2)))
    node.hear("n2", alive(node, "n2", protocol=Span(1, 1)))
    assert node.node.view.protocol == 1
    node.hear("n1", Dead("n2", 1, 0, "n1"))
    assert node.node.view.protocol == 2
    node.hear("n2", alive(node, "n2", epoch=2, protocol=Span(2, 3)))
    assert node.node.view.protocol == 2


def test_member_that_would_leave_no_version_in_common_is_kept_out(peer: Callable[..., Peer]) -> None:
    node = peer(protocol=Span(1, 2))
    node.hear("n1", alive(node, "n1", protocol=Span(1, 1)))
    node.hear("n2", alive(node, "n2", protocol=Span(2, 3)))
    node.hear("n3", alive(node, "n3", protocol=Span(3, 4)))
    assert [member.name for member in node.node.view.members()] == ["n1"]
    assert [event.reason for event in events(node, Rejected)] == ["version", "version"]


# Flapping


def test_member_that_died_three_times_is_left_out_of_lookups_until_it_was_steady(peer: Callable[..., Peer]) -> None:
    node = peer(flap_window_s=600, flap_within_s=60)
    key = bytes(8)
    for epoch in range(1, 5):
        node.hear("n1", alive(node, "n1", epoch=epoch), epoch=epoch)
        assert node.node.view.is_left_out("n1", node.now) is (epoch == 4)
        if epoch < 4:
            node.hear("n1", Dead("n1", epoch, 0, "n2"), epoch=epoch)
            node.now += 10
    (flapping,) = events(node, MemberFlapping)
    node.node.dissemination.directory.apply(Ops("n1", 4, 0, 14, 0, key))
    assert node.node.view.holders(key) == []
    node.hear("n1", alive(node, "n1", 1, epoch=4), epoch=4)
    assert node.node.view.holders(key) == [], "news of it do not end that"
    steady: list[Any] = []
    while not steady and node.now < flapping.until + 1:
        node.hear("n1", alive(node, "n1", 2, epoch=4), epoch=4)
        node.now = flapping.until
        node.node.tick(node.now)
        steady = events(node, MemberSteady)
    assert [member.name for member in node.node.view.holders(key)] == ["n1"]


def test_restart_long_after_the_failure_is_no_flap(peer: Callable[..., Peer]) -> None:
    node = peer(flap_within_s=5)
    for epoch in range(1, 6):
        node.hear("n1", alive(node, "n1", epoch=epoch), epoch=epoch)
        node.hear("n1", Dead("n1", epoch, 0, "n2"), epoch=epoch)
        node.now += 6
    assert not node.node.view.is_left_out("n1", node.now)
