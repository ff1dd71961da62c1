"""Events for listeners, each at its own pace; the protocol never waits for them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from ..core.events import (
    Event,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)

_WAITING_MAX: Final = 1024
"""Events that wait for a slow listener: all members of a large cluster may join at once."""
_PRESENT: Final = MemberJoined | MemberUpdated | MemberRecovered
_ABSENT: Final = MemberFailed | MemberLeft | MemberForgotten


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The listener was too slow: that many events are missing here."""

    count: int


class Subscription:
    """An asynchronous iterator of events, endless until the node stops.

    At most 1,024 events wait in it; beyond that the oldest are dropped, and `EventsLost` says how many.
    """

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._arrived = asyncio.Event()
        self.closed = False

    def put(self, event: Event) -> None:
        """Add an event."""
        if len(self._waiting) >= _WAITING_MAX:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration after what is waiting."""
        self.closed = True
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Event | EventsLost]:
        return self

    async def __anext__(self) -> Event | EventsLost:
        while not self._waiting:
            if self.closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return EventsLost(lost)
        return self._waiting.popleft()

    async def coalesced(self, period_s: float, quiet_s: float) -> AsyncIterator[list[Event | EventsLost]]:
        """The same events in batches in which each member appears once, with what became of it in the end.

        A member that left and came back, or came and left, within one batch is not in it. Nor is a suspicion that was
        refuted. Other events come after those of members, in order. Source: serf, coalescing of member events.

        Args:
            period_s: a batch ends at most this long after its first event, s.
            quiet_s: it ends sooner if nothing happens for this long, s.
        """
        present: dict[str, bool] = {}
        while True:
            try:
                batch = [await anext(self)]
            except StopAsyncIteration:
                return
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + period_s
            while (room_s := min(quiet_s, ends_at - loop.time())) > 0:
                try:
                    batch.append(await asyncio.wait_for(anext(self), room_s))
                except (TimeoutError, StopAsyncIteration):
                    break
            if outcome := _coalesce(batch, present):
                yield outcome


def _coalesce(batch: list[Event | EventsLost], present: dict[str, bool]) -> list[Event | EventsLost]:
    """What is left of a batch; `present` says which members earlier batches left as present, and is updated."""
    last: dict[str, Event] = {}
    others: list[Event | EventsLost] = []
    for event in batch:
        if isinstance(event, _PRESENT | _ABSENT | MemberSuspected):
            if isinstance(last.get(event.member.name), MemberUpdated) and isinstance(event, MemberRecovered):
                continue
            last.pop(event.member.name, None)
            last[event.member.name] = event
        else:
            others.append(event)
    left: list[Event | EventsLost] = []
    for name, event in last.items():
        here = isinstance(event, _PRESENT | MemberSuspected)
        if isinstance(event, MemberUpdated | MemberSuspected) or present.get(name, False) is not here:
            left.append(event)
        present[name] = here
        if isinstance(event, MemberForgotten):
            del present[name]
    return left + others
