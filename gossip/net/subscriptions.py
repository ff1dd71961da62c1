"""Events for those who listen, each at its own pace; the protocol never waits for them."""

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
_PRESENT: Final = MemberJoined | MemberUpdated | MemberRecovered
_ABSENT: Final = MemberFailed | MemberLeft | MemberForgotten


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The listener was too slow: that many events are missing here."""

    count: int


class Subscription:
    """An endless asynchronous iterator of events; at most 1,024 wait in it, the oldest go first."""

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
        """The same, in batches in which each member stands once, with what became of it in the end.

        A member that went and came back, or came and went, within one batch is not in it; suspicions that were refuted
        are not either. Source: serf, coalescing of member events.

        Args:
            period_s: a batch takes at most that long after its first event.
            quiet_s: and ends sooner when nothing happens for that long.
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
    """What is left of a batch; `present` is what was told of each member before, and is brought up to date."""
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
    told: list[Event | EventsLost] = []
    for name, event in last.items():
        here = isinstance(event, _PRESENT | MemberSuspected)
        if isinstance(event, MemberUpdated | MemberSuspected) or present.get(name, False) is not here:
            told.append(event)
        present[name] = here
        if isinstance(event, MemberForgotten):
            del present[name]
    return told + others
