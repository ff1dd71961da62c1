"""Shared: one piece of work for all who ask for it at the same time; it stops when nobody waits for it any more."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


@dataclass(slots=True)
class _UnderWay(Generic[T]):
    """A piece of work, and how many wait for it."""

    task: asyncio.Task[T]
    waiting: int = 0


class Shared(Generic[K, T]):
    """Pieces of work, by key."""

    def __init__(self) -> None:
        self._under_way: dict[K, _UnderWay[T]] = {}

    async def result(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the work of that key, which is begun unless it is under way.

        Raises:
            Exception: whatever the work raises, for all who wait.
        """
        it = self._under_way.get(key)
        if it is None:
            it = self._under_way[key] = _UnderWay(asyncio.create_task(work()))
        it.waiting += 1
        try:
            return await asyncio.shield(it.task)
        finally:
            it.waiting -= 1
            if not it.waiting:
                del self._under_way[key]
                it.task.cancel()

    async def close(self) -> None:
        """Stop all of it."""
        tasks = [it.task for it in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
