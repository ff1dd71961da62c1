"""The tasks of one node, which end with it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """Background work; an error of a task is logged, and ends that task alone."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, object], on_end: Callable[[], None] | None = None) -> None:
        """Begin something; `on_end` is called when it has ended, also if it was cancelled before it had begun."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_error)
        if on_end is not None:
            task.add_done_callback(lambda _: on_end())

    async def cancel(self) -> None:
        """End them all, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _log_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("gossip task failed", exc_info=task.exception())
