"""Events for listeners: bounded, in order, and in batches where that is wanted."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from gossip import (
    Address,
    Event,
    EventsLost,
    KeysChanged,
    Member,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    State,
    Subscription,
)


def member(name: str) -> Member:
    return Member(name, Address("10.0.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)


A, B = member("a"), member("b")


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


def test_events_come_in_order_and_end_after_what_is_waiting() -> None:
    async def story() -> None:
        subscription = Subscription()
        for event in (MemberJoined(A), MemberLeft(A)):
            subscription.put(event)
        subscription.close()
        assert [event async for event in subscription] == [MemberJoined(A), MemberLeft(A)]

    run(story())


def test_listener_waits_for_the_next_event() -> None:
    async def story() -> None:
        subscription = Subscription()
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        assert not waiting.done()
        subscription.put(MemberJoined(A))
        assert await waiting == MemberJoined(A)

    run(story())


def test_slow_listener_is_told_how_many_it_missed() -> None:
    async def story() -> None:
        subscription = Subscription()
        for number in range(1024 + 7):
            subscription.put(KeysChanged((number.to_bytes(4, "big"),)))
        assert await anext(subscription) == EventsLost(7)
        assert await anext(subscription) == KeysChanged(((7).to_bytes(4, "big"),))

    run(story())


async def batches(events: list[Event]) -> AsyncIterator[list[Event | EventsLost]]:
    """The batches of events that all are there at once."""
    subscription = Subscription()
    for event in events:
        subscription.put(event)
    subscription.close()
    async for batch in subscription.coalesced(period_s=60, quiet_s=60):
        yield batch


@pytest.mark.parametrize(
    ("events", "batch"),
    [
        ([MemberJoined(A), MemberJoined(B)], [MemberJoined(A), MemberJoined(B)]),
        ([MemberJoined(A), MemberFailed(A)], None),
        ([MemberJoined(A), MemberSuspected(A), MemberRecovered(A)], [MemberRecovered(A)]),
        ([MemberJoined(A), MemberUpdated(A)], [MemberUpdated(A)]),
        ([MemberUpdated(A), MemberRecovered(A)], [MemberUpdated(A)]),
        ([MemberSuspected(A)], [MemberSuspected(A)]),
        ([MemberJoined(A), MemberLeft(A), MemberForgotten(A)], None),
        ([KeysChanged(()), MemberJoined(A), KeysChanged(())], [MemberJoined(A), KeysChanged(()), KeysChanged(())]),
    ],
)
def test_each_member_stands_in_a_batch_once_with_what_became_of_it(
    events: list[Event], batch: list[Event] | None
) -> None:
    async def story() -> None:
        assert [batch async for batch in batches(events)] == ([batch] if batch is not None else [])

    run(story())


def test_what_an_earlier_batch_told_is_not_told_again() -> None:
    async def story() -> None:
        subscription = Subscription()
        for event in (MemberJoined(A), MemberJoined(A), MemberFailed(A), MemberFailed(A), MemberJoined(A)):
            subscription.put(event)
        subscription.close()
        told = [batch async for batch in subscription.coalesced(period_s=60, quiet_s=0)]
        assert told == [[MemberJoined(A)], [MemberFailed(A)], [MemberJoined(A)]]

    run(story())
