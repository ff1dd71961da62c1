"""The bytes of a stream as frames."""

from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Alive
from gossip.core.streams.frames import FRAME_MAX_BYTES
from tests.unit.gossip.conversing import NOW, address, node
from tests.unit.gossip.streams.hand import Hand, refused


def test_frame_too_long_is_refused_by_its_head() -> None:
    hand = Hand(node(0))
    with refused("size"):
        hand.half.feed((FRAME_MAX_BYTES + 1).to_bytes(4, "big"), NOW)


def test_frame_is_taken_when_its_last_byte_is_there() -> None:
    answering = node(0)
    hand = Hand(answering)
    frame = hand.frame(Alive("x", 1, 0, address(5), b"", PROTOCOL))
    hand.half.feed(frame[:-1], NOW)
    assert answering.view.members() == []
    hand.half.feed(frame[-1:], NOW)
    assert len(answering.view.members()) == 1
