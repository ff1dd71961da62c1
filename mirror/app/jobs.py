"""Jobs: orders that take longer than an answer may. Whoever gave one asks again how far it is."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import MirrorError

log = logging.getLogger(__name__)

_RUNNING_MAX: Final = 4
"""Bounds the jobs that run at once: people start them."""
_KEPT_MAX: Final = 16
"""Bounds the jobs that are remembered; the oldest that has ended is forgotten first."""


@dataclass(slots=True)
class Job:
    """One of them, as it goes into JSON.

    Args:
        identity: whoever knows it may ask.
        state: `runs`, `done`, or `failed`.
        rows: what is known by now, as a table.
        progress: how far it is.
        error: why it failed; empty if it did not.
    """

    identity: str
    state: str = "runs"
    rows: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """All of it."""
        return {
            "job": self.identity,
            "state": self.state,
            "rows": self.rows,
            "progress": self.progress,
            "error": self.error,
        }


class Jobs:
    """The jobs of a node."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, identity: str) -> Job | None:
        """The job of that identity, if it is remembered."""
        return self._jobs.get(identity)

    def start(self, run: Callable[[Job], Awaitable[None]]) -> Job:
        """Begin a job; raise ValueError if too many run already."""
        if len(self._tasks) >= _RUNNING_MAX:
            raise ValueError(f"{_RUNNING_MAX} such orders are carried out already: wait until one has ended")
        ended = [identity for identity, job in self._jobs.items() if job.state != "runs"]
        for identity in ended[: max(0, len(self._jobs) + 1 - _KEPT_MAX)]:
            del self._jobs[identity]
        job = Job(secrets.token_hex(8))
        self._jobs[job.identity] = job
        task = asyncio.create_task(self._run(job, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job, run: Callable[[Job], Awaitable[None]]) -> None:
        try:
            await run(job)
            job.state = "failed" if job.error else "done"
        except MirrorError as error:
            job.error = str(error)
        except Exception:  # the root of a task: a bug here must not go unseen
            log.exception("an order was not carried out")
            job.error = "an error of this agent: see its log"
        finally:
            if job.state == "runs":
                job.state = "failed"
