"""The sink of a flight: a worker thread writes to it, and it reports on the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..sources import RangeReply
from .plan import Flight
from .spool import Spool


@dataclass(frozen=True, slots=True)
class Expectation:
    """The reply that a worker thread may take by itself: the size that is known, and the end that was asked for."""

    size: int
    stop: int

    def matches(self, reply: RangeReply) -> bool:
        """Whether a reply is just that."""
        return reply.ranged and reply.size == self.size and reply.stop == self.stop


class FlightSink:
    """A `Sink`: the thread compares with an expectation that does not change and writes; the loop decides.

    Args:
        flight: whose bytes come.
        spool: where they go.
        size: the blob's size, in bytes, once it is agreed on; None until then. That a spool has its file is not enough:
            what an earlier fetch left in it may be under verification, and nobody may write to it meanwhile.
        notice_s: time between two reports, s.
        on_reply: is told on the loop what will come; it may have to wait, and may refuse.
        on_bytes: is told on the loop what came: the expected reply with the first report, the end of what has arrived,
            and the ranges that were written.
    """

    def __init__(
        self,
        flight: Flight,
        spool: Spool,
        size: int | None,
        notice_s: float,
        on_reply: Callable[[Flight, RangeReply], Coroutine[Any, Any, None]],
        on_bytes: Callable[[Flight, RangeReply | None, int, list[tuple[int, int]]], None],
    ) -> None:
        self._flight = flight
        self._spool = spool
        self._notice_s = notice_s
        self._on_reply = on_reply
        self._on_bytes = on_bytes
        is_known = size is not None and flight.stop is not None
        self._expectation = Expectation(size or 0, flight.stop or 0) if is_known else None
        self._expected_reply: RangeReply | None = None
        """Taken in a thread, and not reported yet."""
        self._loop = asyncio.get_running_loop()
        self._position = flight.start
        self._reported = flight.start
        self._written: deque[tuple[int, int]] = deque()
        self._is_called = False
        self._noticed_at = 0.0

    async def begin(self, reply: RangeReply) -> None:
        """Take note of what will come; see `Sink.begin`."""
        await self._on_reply(self._flight, reply)

    def begin_at_once(self, reply: RangeReply) -> bool:
        """Take an expected reply, in a thread; see `Sink.begin_at_once`."""
        if self._expectation is None or not self._expectation.matches(reply):
            return False
        self._expected_reply = reply
        return True

    async def wait_for_space(self, position: int) -> None:
        """Wait until what follows can be held; see `Sink.wait_for_space`."""
        await self._spool.wait_for_space(position)

    def put(self, position: int, part: bytes | memoryview) -> None:
        """Write bytes, in a thread. The loop is called once, and not again before it has looked."""
        self._written.extend(self._spool.put(position, part))
        self._position = position + len(part)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._report_soon)

    def report(self) -> None:
        """Report what has arrived so far; on the loop."""
        self._is_called = False  # before anything is read: what comes after calls again
        reply, self._expected_reply = self._expected_reply, None
        position = self._position
        if reply is not None or position > self._reported:
            self._noticed_at, self._reported = time.monotonic(), position
            written = [self._written.popleft() for _ in range(len(self._written))]
            self._on_bytes(self._flight, reply, position, written)

    def _report_soon(self) -> None:
        wait_s = self._noticed_at + self._notice_s - time.monotonic()
        if wait_s > 0:
            self._loop.call_later(wait_s, self.report)
        else:
            self.report()
