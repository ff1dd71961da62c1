"""What of a node's events a person finds in the log."""

import logging

import pytest

from gossip import (
    Address,
    Answered,
    Counters,
    Event,
    FilterFull,
    KeysChanged,
    Member,
    MemberFailed,
    MemberUnreached,
    NameConflict,
    Paused,
    Rejected,
    Rejection,
    State,
)
from gossip.net.event_log import EventLog

THERE = Address("10.0.0.1", 7946)
MEMBER = Member("a", THERE, 1, 0, State.ALIVE, b"", changed_at=0.0)


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (MemberFailed(MEMBER), "INFO", "event=MemberFailed member=a address=10.0.0.1:7946"),
        (Paused(2.0), "INFO", "event=Paused duration_s=2.0"),
        (KeysChanged((b"\x01\x02\x03\x04",)), "INFO", "ids=01020304"),
        (NameConflict(THERE, True), "ERROR", "name=me address=10.0.0.1:7946 this node gives way"),
        (NameConflict(THERE, False), "ERROR", "the other has to give way"),
        (FilterFull(3, 1024), "WARNING", "left_out=3 room=1024"),
        (Rejected(Rejection.KEY, THERE), "WARNING", "reason=key source=10.0.0.1:7946"),
    ],
)
def test_event_is_one_line(caplog: pytest.LogCaptureFixture, event: Event, level: str, text: str) -> None:
    with caplog.at_level(logging.DEBUG):
        EventLog("me", Counters()).note(event)
    ((line, found),) = [(record.getMessage(), record.levelname) for record in caplog.records]
    assert text in line
    assert found == level


def test_answers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        EventLog("me", Counters()).note(Answered(MEMBER, 1, 0.1, b""))
    assert caplog.records == []


def test_junk_is_warned_of_once_in_a_while_with_totals(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    log = EventLog("me", counters)
    for reason in (Rejection.CBOR, Rejection.KEY, Rejection.CBOR):
        event = Rejected(reason, THERE)
        counters.note_event(event)
        log.note(event)
    assert [record.getMessage().partition("totals=")[2] for record in caplog.records] == [
        "cbor:1",
        "key:1,cbor:1",
    ], "once for each reason"


def test_members_out_of_reach_are_warned_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can speak of members that are not there."""
    counters = Counters()
    log = EventLog("me", counters)
    for _ in range(2000):
        counters.note_event(MemberUnreached(MEMBER))
        log.note(MemberUnreached(MEMBER))
    (record,) = caplog.records
    assert "member=a address=10.0.0.1:7946 total=1" in record.getMessage()
