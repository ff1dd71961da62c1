"""A listener for a store."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

from .processes import WAIT_S


class Recorder:
    """The keys that a store can serve now, as it reports them, and a way to wait until they are as expected.

    `twice` has the keys that were reported as new but were known, or as gone but were not.
    """

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.twice: list[bytes] = []
        self._changed = asyncio.Event()

    def appeared(self, keys: Collection[bytes]) -> None:
        """The store can serve more keys."""
        self.twice.extend(self.keys.intersection(keys))
        self.keys.update(keys)
        self._changed.set()

    def vanished(self, keys: Collection[bytes]) -> None:
        """The store can serve fewer keys."""
        self.twice.extend(set(keys) - self.keys)
        self.keys.difference_update(keys)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for reports until a condition holds; look from time to time as well: a moved tag is not reported."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                self._changed.clear()
