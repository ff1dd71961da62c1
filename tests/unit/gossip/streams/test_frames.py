"""The bytes of a stream as frames."""

from gossip.core.events import StateReceived
from gossip.core.messages import UserState
from gossip.core.streams.frames import FRAME_MAX_BYTES
from tests.unit.gossip.conversing import NOW, node, of_kind
from tests.unit.gossip.streams.hand import Hand, refused


def test_frame_too_long_is_refused_by_its_head() -> None:
    hand = Hand(node(0))
    with refused("size"):
        hand.half.feed((FRAME_MAX_BYTES + 1).to_bytes(4, "big"), NOW)


def test_frame_is_taken_when_its_last_byte_is_there() -> None:
    answering = node(0)
    hand = Hand(answering)
    frame = hand.frame(UserState(b"state"))
    hand.half.feed(frame[:-1], NOW)
    assert of_kind(answering, StateReceived) == []
    hand.half.feed(frame[-1:], NOW)
    assert of_kind(answering, StateReceived) == [StateReceived("x", b"state")]
