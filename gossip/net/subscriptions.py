"""Events for those who listen, each at its own pace; the protocol never waits for them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from ..core.events import Event

_WAITING_MAX: Final = 1024


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
