"""Counters, all of which are there from the start."""

from typing import get_args

from gossip import Address, Counters, Direction, Event, Failure, MemberJoined, Rejected, Rejection
from gossip.core.events import KeysChanged

THERE = Address("10.0.0.1", 7946)


def test_all_are_there_before_anything_happens() -> None:
    counters = Counters()
    assert counters.events == dict.fromkeys(get_args(Event), 0)
    assert counters.rejected == dict.fromkeys(Rejection, 0)
    assert counters.failures == dict.fromkeys(Failure, 0)
    assert counters.datagrams == counters.bytes == dict.fromkeys(Direction, 0)
    assert MemberJoined in counters.events


def test_datagrams_are_counted_with_their_bytes() -> None:
    counters = Counters()
    for size in (10, 20):
        counters.note_datagram(Direction.SENT, size)
    assert (counters.datagrams[Direction.SENT], counters.bytes[Direction.SENT]) == (2, 30)
    assert (counters.datagrams[Direction.RECEIVED], counters.bytes[Direction.RECEIVED]) == (0, 0)


def test_events_are_counted_and_rejections_by_their_reason() -> None:
    counters = Counters()
    for event in (KeysChanged(()), Rejected(Rejection.KEY, THERE), Rejected(Rejection.KEY, THERE)):
        counters.note_event(event)
    assert (counters.events[KeysChanged], counters.events[Rejected]) == (1, 2)
    assert {reason: count for reason, count in counters.rejected.items() if count} == {Rejection.KEY: 2}
