"""The feed: the last events of this node in order, and those who follow them.

There is one bounded ring, and nothing is kept for those who follow but a place in it: one that reads slower than things
happen loses its place, and nobody else notices.

Numbers grow by one. The first one is the Unix time in microseconds when the agent began: so they are higher after each
start, and who resumes after a number of an earlier run gets all that has happened since the start.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from ..settings import EventSettings
from .values import Event

_TEXT_MAX: Final = 500
"""Bounds a text of an event in JSON, in characters: reasons quote what others said."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its place.

    Args:
        number: of the event; one more than that of the event before.
        time_unix_s: when it happened, Unix time.
        event: what happened.
    """

    number: int
    time_unix_s: float
    event: Event

    def row(self) -> dict[str, Any]:
        """It as it goes into JSON."""
        fields = {**asdict(self.event), "kind": self.event.kind.value}
        fields = {name: value[:_TEXT_MAX] if isinstance(value, str) else value for name, value in fields.items()}
        return {"number": self.number, "time_unix_s": round(self.time_unix_s, 3), "kind": fields.pop("kind"), **fields}


@dataclass(frozen=True, slots=True)
class Batch:
    """What a reader gets at once.

    Args:
        lost: events after its place that are not remembered any more.
        entries: all others after its place.
        after: its next place.
    """

    lost: int
    entries: Sequence[Entry]
    after: int


class Feed:
    """The last events. It belongs to the event loop.

    Args:
        settings: bounds.
        clock: Unix time, s.
    """

    def __init__(self, settings: EventSettings | None = None, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings or EventSettings()
        self._clock = clock
        self._first = self._next = round(clock() * 1_000_000)
        self._kept: deque[Entry] = deque(maxlen=self.settings.kept_max)
        self._waiting: set[asyncio.Future[None]] = set()
        self.is_closed = False
        """Whether nothing more comes for those who follow."""

    @property
    def newest(self) -> int:
        """The number of the last event."""
        return self._next - 1

    def tell(self, event: Event) -> None:
        """Take note of what happened; whoever follows gets it in the next turn of the event loop."""
        self._kept.append(Entry(self._next, self._clock(), event))
        self._next += 1
        self._wake()

    def close(self) -> None:
        """Let those who follow come to their end; events are still noted."""
        self.is_closed = True
        self._wake()

    def since(self, after: int, within_s: float | None = None) -> Batch:
        """All that is remembered after a place.

        Args:
            after: a number; one of an earlier run counts as the place before the first event.
            within_s: leave out what is older, s; None: nothing is.
        """
        if not self._first - 1 <= after < self._next:
            after = self._first - 1
        oldest = self._kept[0].number if self._kept else self._next
        entries = list(islice(self._kept, max(0, after + 1 - oldest), None))
        if within_s is not None:
            since_unix_s = self._clock() - within_s
            entries = [entry for entry in entries if entry.time_unix_s >= since_unix_s]
        return Batch(max(0, oldest - after - 1), entries, self.newest)

    async def news(self, after: int, within_s: float) -> bool:
        """Wait for an event after a place, or for the end; return whether there is either, after `within_s` at most."""
        if after < self.newest or self.is_closed:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(within_s):
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)
        return True

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
