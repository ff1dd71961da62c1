"""Both event loops, for tests of what works on either."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from testbed.processes import wait_until

_PATIENCE_S = 50.0
"""Bounds one test, s: a busy machine takes some, and a test that hangs fails all the same."""

NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Makes one of the event loops."""
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


@pytest.fixture
def run(new_loop: NewLoop) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on one of the event loops, within bounds; no descriptor may be left open after it."""
    new_loop().close()  # uvloop keeps some descriptors from its first loop on

    def run(main: Coroutine[Any, Any, None]) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(main, _PATIENCE_S))
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors to be closed")

    return run
