"""What a signal ends, and what it leaves alone."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from mirror.demo.interrupt import Interrupt

STEPS = 6


@pytest.fixture
def before() -> Iterator[Callable[[], list[object]]]:
    """The handlers of both signals; they must be the same at the end."""

    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    first = handlers()
    yield handlers
    assert handlers() == first


class Story:
    """Work of some steps, then what cleans up after it; a signal comes at one of the moments between."""

    def __init__(self, number: signal.Signals, moment: int) -> None:
        self._number = number
        self._moment = moment
        self._now = 0
        self.steps = 0
        self.cleaned = 0

    async def run(self, interrupt: Interrupt) -> None:
        try:
            self._pass()
            await interrupt.ends(self._work())
        finally:
            await self._clean()

    async def _work(self) -> None:
        for _ in range(STEPS):
            self._pass()
            await asyncio.sleep(0)
            self.steps += 1

    async def _clean(self) -> None:
        for _ in range(STEPS):
            self._pass()
            await asyncio.sleep(0)
            self.cleaned += 1

    def _pass(self) -> None:
        if self._now == self._moment:
            os.kill(os.getpid(), self._number)
            os.kill(os.getpid(), signal.SIGTERM)  # somebody who is impatient
        self._now += 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", range(2 * STEPS + 1))
def test_a_signal_ends_the_work_at_any_moment_and_never_what_cleans_up(
    before: Callable[[], list[object]], number: signal.Signals, status: int, moment: int
) -> None:
    with Interrupt() as interrupt:
        story = Story(number, moment)
        asyncio.run(story.run(interrupt))
    assert interrupt.status == status
    assert story.steps == min(max(moment - 1, 0), STEPS)
    assert story.cleaned == STEPS


def test_work_that_fails_raises_unless_a_signal_ended_it(before: Callable[[], list[object]]) -> None:
    async def failing(number: signal.Signals | None) -> None:
        if number is not None:
            os.kill(os.getpid(), number)
        raise ExceptionGroup("pulls", [ValueError("of one")])

    with Interrupt() as interrupt:
        with pytest.raises(ExceptionGroup, match="pulls"):
            asyncio.run(interrupt.ends(failing(None)))
        assert interrupt.status is None
        asyncio.run(interrupt.ends(failing(signal.SIGINT)))
        assert interrupt.status == 130


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    first = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.status is None
    finally:
        signal.signal(signal.SIGINT, first)
