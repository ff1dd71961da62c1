"""Turns: of the fetches of one blob, one at a time writes to the cache.

A fetch that has been detached may still be ending while its successor begins: that one waits until the file is free.
"""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Who may write which blob now."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    async def take(self, blob: str) -> None:
        """Wait until nobody else writes the blob of this hexadecimal digest. `give_back` ends the turn."""
        turn = self._turns.setdefault(blob, _Turn())
        turn.users += 1
        try:
            await turn.lock.acquire()
        except asyncio.CancelledError:
            self._leave(blob, turn)
            raise

    def give_back(self, blob: str) -> None:
        """End a turn."""
        turn = self._turns[blob]
        turn.lock.release()
        self._leave(blob, turn)

    def _leave(self, blob: str, turn: _Turn) -> None:
        turn.users -= 1
        if not turn.users:
            del self._turns[blob]
