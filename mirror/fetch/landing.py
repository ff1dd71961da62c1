"""Where the bytes of a flight come down."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from ..sources import RangeReply
from .plan import Flight

if TYPE_CHECKING:
    from .fetch import Fetch

_NOTICE_S = 0.004
"""Bytes that arrived are noticed so often at most: a reader is woken for each time."""


class Landing:
    """A `Sink`: written to in a thread, telling the fetch on the event loop.

    Args:
        fetch: whose flight it is.
        flight: the flight.
    """

    def __init__(self, fetch: "Fetch", flight: Flight) -> None:
        self._fetch = fetch
        self._flight = flight
        self._loop = asyncio.get_running_loop()
        self._position = flight.start
        self._written: deque[tuple[int, int]] = deque()
        self._called = False
        self._noticed_at = 0.0

    async def begin(self, promise: RangeReply) -> None:
        """Hear what will come; see `Sink.begin`."""
        await self._fetch.begin(self._flight, promise)

    def begin_at_once(self, promise: RangeReply) -> bool:
        """Hear what will come, where there is nothing to decide; see `Sink.begin_at_once`."""
        return self._fetch.begin_at_once(self._flight, promise)

    async def wait_for_space(self, position: int) -> None:
        """Wait until what follows can be kept; see `Sink.wait_for_space`."""
        await self._fetch.spool.wait_for_space(position)

    def put(self, position: int, part: bytes) -> None:
        """Write bytes, in a thread. The loop is called once for all that come until it has looked."""
        self._written.extend(self._fetch.spool.put(position, part))
        self._position = position + len(part)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._look_soon)

    def settle(self) -> None:
        """Take note of what has arrived so far."""
        self._called = False  # before anything is read: what comes after calls again
        position = self._position
        if position > self._flight.position:
            self._noticed_at = time.monotonic()
            written = [self._written.popleft() for _ in range(len(self._written))]
            self._fetch.count(self._flight, position, written)

    def _look_soon(self) -> None:
        wait_s = self._noticed_at + _NOTICE_S - time.monotonic()
        if wait_s > 0:
            self._loop.call_later(wait_s, self.settle)
        else:
            self.settle()
