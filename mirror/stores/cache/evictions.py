"""Evictions: blobs that leave to make room, told as one event for all of a few seconds. One pull may evict hundreds."""

import asyncio

from ...events import CacheEvicted, Tell


class Evictions:
    """Counts what leaves. It belongs to the event loop.

    Args:
        on_event: told of all that left within some time.
        within_s: that time, s, from the first of them on.
    """

    def __init__(self, on_event: Tell, within_s: float) -> None:
        self._on_event = on_event
        self._within_s = within_s
        self._count = 0

    def note(self, count: int) -> None:
        """Take note of blobs that left."""
        if count and not self._count:
            asyncio.get_running_loop().call_later(self._within_s, self._tell)
        self._count += count

    def _tell(self) -> None:
        count, self._count = self._count, 0
        self._on_event(CacheEvicted(count, self._within_s))
