"""Two nodes under one name: the one that started later gives way."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gossip.core.config import GossipConfig
from gossip.core.events import NameConflict, Rejected
from gossip.core.membership.member import PROTOCOL, Address, Member, State
from gossip.core.messages import Ack, Message, NameClaim, Ping
from gossip.core.node import Node
from gossip.core.packets.codec import decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from tests.unit.gossip.conftest import Peer

ELSEWHERE = Address("10.9.7.7", 7946)


def seal() -> Seal:
    return Seal("", Keyring(), PROTOCOL, random.Random(5).randbytes)


def hear(peer: Peer, *messages: Message, source: Address = ELSEWHERE) -> list[tuple[Address, Any]]:
    """Let a packet under the node's own name arrive. Returns what the node says to that."""
    packet = encode_packet("n0", 1, bytes(8), map(encode_message, messages))
    peer.node.receive(seal().wrap(packet), source, peer.now)
    return list(peer.said())


def challenge(said: list[tuple[Address, Any]]) -> Ping:
    """The question that the node asks a namesake."""
    (ping,) = [message for _, message in said if isinstance(message, Ping)]
    return ping


@pytest.mark.parametrize(("started", "gives_way"), [(0, True), (2, False)])
def test_the_later_one_gives_way_and_the_earlier_one_stays(
    peer: Callable[..., Peer], started: int, gives_way: bool
) -> None:
    node = peer()
    ping = challenge(hear(node, NameClaim(started, 1)))
    hear(node, Ack(ping.number), NameClaim(started, 1))
    assert node.events(NameConflict) == [NameConflict(ELSEWHERE, gives_way)]
    assert node.node.view.gave_way_to == (ELSEWHERE if gives_way else None)
    assert (node.node.next_deadline() is None) is gives_way
    node.hear("n1", node.alive("n1"))
    assert bool(node.node.view.members()) is not gives_way


def test_claim_alone_stops_nobody_nor_does_an_answer_from_elsewhere(peer: Callable[..., Peer]) -> None:
    node, other = peer(), Address("10.9.6.6", 7946)
    ping = challenge(hear(node, NameClaim(0, 1)))
    for _ in range(3):
        hear(node, NameClaim(0, 1))
        hear(node, Ack(ping.number ^ 1), NameClaim(0, 1))
        hear(node, Ack(ping.number), NameClaim(0, 1), source=other)
    assert (node.events(NameConflict), node.node.view.gave_way_to) == ([], None)
    node.hear("n1", node.alive("n1"))
    assert [member.name for member in node.node.view.members()] == ["n1"]


def test_namesake_that_asks_is_answered_with_the_claim(peer: Callable[..., Peer]) -> None:
    node = peer()
    said = hear(node, NameClaim(2, 1), Ping(5, "n0"))
    assert {type(message) for _, message in said} == {Ack, NameClaim, Ping}
    assert (ELSEWHERE, Ack(5)) in said


def test_claim_is_made_where_the_other_is_at_most_once_a_second(peer: Callable[..., Peer]) -> None:
    node = peer()
    (address, claim), (_, ping) = hear(node)
    assert (address, isinstance(claim, NameClaim), claim.started) == (ELSEWHERE, True, 1)
    assert isinstance(ping, Ping)
    for _ in range(9):
        assert hear(node) == []
        node.pass_time(node.now + 1)
        said = [message for address, message in node.said() if address == ELSEWHERE]
        assert ([type(message) for message in said], said[1]) == ([NameClaim, Ping], ping)
    node.pass_time(node.now + 1)
    assert ELSEWHERE not in {address for address, _ in node.said()}, "one that does not answer is given up"
    assert ELSEWHERE in [address for address, _ in hear(node)], "until it speaks again"


def test_address_where_nobody_answers_is_left_alone_for_a_while(peer: Callable[..., Peer]) -> None:
    """This node may have moved from there, and others still speak of it."""
    node, heard = peer(), 0
    while node.now < 150:
        node.hear("n1", replace(node.alive("n0"), address=ELSEWHERE))
        heard += sum(address == ELSEWHERE and isinstance(message, NameClaim) for address, message in node.said())
        node.pass_time(node.now + 0.5)
    assert heard == 10


def test_record_of_ones_name_at_another_address_is_answered_there(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.said()
    node.hear("n1", replace(node.alive("n0"), address=ELSEWHERE))
    assert ELSEWHERE in [address for address, message in node.said() if isinstance(message, NameClaim)]


@pytest.mark.parametrize("started", [0, 10**6], ids=["that one's clock is behind", "that one's clock is ahead"])
@pytest.mark.parametrize("is_new", [True, False])
def test_newcomer_gives_way_to_one_that_is_none_whatever_their_clocks_say(
    peer: Callable[..., Peer], started: int, is_new: bool
) -> None:
    node = peer()
    if not is_new:
        node.now += 10
    theirs = NameClaim(started, 8 | (not is_new))
    ping = challenge(hear(node, theirs))
    hear(node, Ack(ping.number), theirs)
    assert node.node.view.gave_way_to == (ELSEWHERE if is_new else None)


def test_ones_own_voice_is_no_conflict(peer: Callable[..., Peer]) -> None:
    node = peer()
    assert hear(node, source=node.node.view.me.address) == []
    (_, claim), (_, ping) = hear(node)
    hear(node, claim, Ack(ping.number))
    assert node.events(NameConflict) == []


def test_node_that_has_left_needs_its_name_no_longer(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.node.leave(node.now)
    assert hear(node, NameClaim(0, 1)) == []
    assert [event.reason for event in node.events(Rejected)] == ["self"]


def test_of_two_real_nodes_exactly_one_gives_way() -> None:
    nodes = {}
    for number, started in ((1, 1000), (2, 1001)):
        address = Address(f"10.0.0.{number}", 7946)
        me = Member("n0", address, started, 0, State.ALIVE, b"", changed_at=0.0)
        nodes[address] = Node(GossipConfig(), me, seal(), random.Random(number), 0.0)
    early, late = nodes
    packet = encode_packet("n0", 1000, bytes(8), [])
    nodes[late].receive(seal().wrap(packet), early, 1.0)
    for _ in range(6):
        for address, node in nodes.items():
            for sent in node.datagrams():
                if any(decode_packet(seal().unwrap(sent.payload).packet, 65536).messages):
                    nodes[sent.destination].receive(sent.payload, address, 1.0)
    assert nodes[late].view.gave_way_to == early
    assert nodes[early].view.gave_way_to is None
