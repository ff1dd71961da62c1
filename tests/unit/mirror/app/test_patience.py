"""A client waits for a registry that lets nobody ask for a moment, and not for one that lets nobody ask for long."""

import asyncio

import pytest

from mirror.app.patience import patiently
from mirror.errors import RateLimited, Unavailable


class Request:
    """Is answered once these errors are used up; no time passes but what is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Unavailable) -> None:
        self.errors, self.waits, self.tries = list(errors), list[float](), 0
        monkeypatch.setattr("time.monotonic", lambda: sum(self.waits))
        monkeypatch.setattr("asyncio.sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def answer(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)

    def run(self, patience_s: float = 20.0) -> None:
        asyncio.run(patiently(self.answer, patience_s, 0.25))


def test_a_request_waits_until_the_registry_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(monkeypatch, RateLimited("later", 7.0), RateLimited("a little later", 0.01))
    request.run()
    assert (request.waits, request.tries) == ([7.0, 0.25], 3)


def test_one_that_would_wait_for_too_long_is_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(monkeypatch, RateLimited("in an hour", 3600.0))
    with pytest.raises(RateLimited) as caught:
        request.run()
    assert caught.value.retry_after_s == 3600.0
    assert request.waits == []


def test_all_waits_of_one_request_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(monkeypatch, *(RateLimited("later", 6.0) for _ in range(9)))
    with pytest.raises(RateLimited):
        request.run()
    assert request.waits == [6.0] * 3


def test_nothing_else_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(monkeypatch, Unavailable("the registry is out", 2.0))
    with pytest.raises(Unavailable):
        request.run()
    assert request.waits == []
