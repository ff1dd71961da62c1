"""Notices to slow homes: a member that nobody asks any more would not learn otherwise that it was slow."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from ..routers import Peer, Rings, Serves
from ..settings import ClusterSettings
from .throughput import Throughput


class SlowNotifier:
    """Tells homes that are slow how slow they are.

    Args:
        rings: knows who serves as a home.
        throughput: knows how fast they deliver.
        notify: tells one member its relative rate.
        settings: how often.
    """

    def __init__(
        self,
        rings: Rings,
        throughput: Throughput,
        notify: Callable[[Peer, float], Awaitable[None]],
        settings: ClusterSettings | None = None,
    ) -> None:
        self._rings = rings
        self._throughput = throughput
        self._notify = notify
        self._settings = settings or ClusterSettings()
        self._notified_at = -self._settings.slow_notice_s
        self._notices: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Drop notices that are under way."""
        for notice in self._notices.values():
            notice.cancel()
        await asyncio.gather(*self._notices.values(), return_exceptions=True)

    def notify(self, homes: Collection[str]) -> None:
        """Tell those of some homes that are slow, but not too often, and one notice at a time to each."""
        now = time.monotonic()
        if now < self._notified_at + self._settings.slow_notice_s:
            return
        self._notified_at = now
        for seat in self._rings.seats():
            name = seat.peer.name
            if name not in homes or seat.serves is Serves.NO or name in self._notices:
                continue
            rate = self._throughput.relative_rate(name, homes, now)
            if rate is not None and rate < self._settings.slow_rate:
                self._notices[name] = asyncio.create_task(self._send(seat.peer, rate), name=f"notify {name}")

    async def _send(self, peer: Peer, rate: float) -> None:
        try:
            await self._notify(peer, rate)
        finally:
            del self._notices[peer.name]
