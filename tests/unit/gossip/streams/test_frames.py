"""The bytes of a stream as frames."""

import pytest

from gossip.core.errors import Rejection, WireError
from gossip.core.events import StateReceived
from gossip.core.messages import UserState
from gossip.core.streams.frames import FRAME_MAX_BYTES, FrameReader, refusal
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


@pytest.mark.parametrize("reason", Rejection)
def test_refusal_is_read_as_it_was_said_and_most_reasons_are_not_told(reason: Rejection) -> None:
    reader, said = FrameReader(), refusal(reason)
    reader.feed(said)
    told = reason in (Rejection.KEY, Rejection.SEAL, Rejection.CLUSTER, Rejection.VERSION, Rejection.KIND)
    assert (len(said), reader.refusal()) == ((4, reason) if told else (0, None))


def test_refusal_of_an_unknown_reason_is_none_and_no_frame_either() -> None:
    reader = FrameReader()
    reader.feed(b"\xff\xff\xff\xfe")
    assert reader.refusal() is None
    with pytest.raises(WireError):
        reader.payload()
