"""What ends the demo before its time: Ctrl-C, or a signal that asks it to end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Takes signals while it is entered. The first one ends the work, and the others are too late.

    Work ends where it waits; what cleans up after it runs outside of it, and is not disturbed.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._end: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def status(self) -> int | None:
        """The exit status of a program that a signal has ended, by the shell's rule; None if none has come."""
        return None if self._received is None else 128 + self._received

    async def ends(self, work: Coroutine[Any, Any, None]) -> None:
        """Run some work, and return when it has ended by itself or by a signal; raise what it raised."""
        loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
        self._end = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._received is not None:
            task.cancel()
        await asyncio.wait([task])
        self._end = None
        if self._received is None:
            await task
        elif not task.cancelled():
            task.exception()  # whatever failed because it ended

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = number
            if self._end is not None:
                self._end()
