"""What is known of keys that were looked up: how long a wait is, when a key is asked again, what is forgotten."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mirror.routers.dht.lookups import Lookups, Outcome
from mirror.settings import DhtTiming

KEY, OTHER = bytes(32), bytes([1] * 32)
LONG_S = 600.0
"""A time to resolve that is never over here."""


class Dht:
    """Lookups, and the keys that were asked for."""

    def __init__(self, resolve_s: float = LONG_S, **timing: Any) -> None:
        self.asked: list[bytes] = []
        self.lookups = Lookups(self.asked.append, resolve_s, DhtTiming(**timing))

    def waits(self, key: bytes = KEY) -> bool:
        """Whether somebody who asks for a key has to wait."""
        return self.lookups.begin(key) is not None

    def counted(self) -> dict[Outcome, int]:
        return dict(self.lookups.outcomes)


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    return run


@on_loop
async def test_the_wait_ends_with_the_first_holder_and_more_may_follow() -> None:
    dht = Dht()
    waiting = dht.lookups.begin(KEY)
    assert waiting is not None
    dht.lookups.found(KEY, "a", is_local=True)
    await waiting
    assert not dht.waits()
    dht.lookups.found(KEY, "b", is_local=False)
    dht.lookups.found(KEY, "a", is_local=False)
    assert dht.lookups.holders(KEY) == ["a", "b"]
    assert dht.lookups.named() == {"a", "b"}
    assert dht.asked == [KEY]
    assert dht.counted() == {Outcome.LOCAL: 1}


@on_loop
async def test_the_wait_for_what_nobody_has_ends_with_the_lookup() -> None:
    dht = Dht()
    waiting = dht.lookups.begin(KEY)
    assert waiting is not None
    dht.lookups.ended(KEY, ())
    await waiting
    assert dht.counted() == {Outcome.MISSING: 1}
    assert not dht.waits(), "the answer is new"


@on_loop
async def test_the_wait_is_bounded_and_what_comes_later_counts() -> None:
    dht = Dht(resolve_s=0.0)
    waiting = dht.lookups.begin(KEY)
    assert waiting is not None
    await waiting
    assert dht.counted() == {Outcome.LATE: 1}
    dht.lookups.found(KEY, "a", is_local=False)
    assert dht.lookups.holders(KEY) == ["a"]
    assert dht.counted() == {Outcome.LATE: 1}


@on_loop
async def test_who_gives_up_leaves_the_wait_to_others() -> None:
    dht = Dht()
    first, second = (asyncio.ensure_future(dht.lookups.begin(KEY) or asyncio.sleep(0)) for _ in range(2))
    first.cancel()
    await asyncio.sleep(0)
    dht.lookups.ended(KEY, ["a"])
    await second
    assert dht.asked == [KEY]


@pytest.mark.parametrize(("holders", "again"), [(["a"], True), (["a", "b", "c"], False)])
def test_a_key_is_asked_again_sooner_where_few_holders_are_known(holders: list[str], again: bool) -> None:
    async def story() -> None:
        dht = Dht(lookup_again_s=0.0, lookup_kept_s=LONG_S)
        dht.lookups.begin(KEY)
        dht.lookups.ended(KEY, holders)
        assert dht.waits() is again
        assert dht.lookups.holders(KEY) == holders, "known until the new answer is here"
        if again:
            dht.lookups.ended(KEY, ["c"])
            assert dht.lookups.holders(KEY) == ["c"], "those that nobody names any more are gone"

    asyncio.run(story())


@on_loop
async def test_a_lookup_that_goes_on_is_not_begun_again() -> None:
    dht = Dht(resolve_s=0.0, lookup_again_s=0.0)
    await (dht.lookups.begin(KEY) or asyncio.sleep(0))
    assert not dht.waits()
    assert dht.asked == [KEY]


@on_loop
async def test_lookups_that_are_under_way_and_that_are_remembered_are_bounded() -> None:
    dht = Dht(lookups_max=2, lookups_kept_max=3)
    keys = [bytes([number] * 32) for number in range(8)]
    assert [dht.waits(key) for key in keys[:3]] == [True, True, False]
    assert dht.counted() == {Outcome.REFUSED: 1}
    for key in keys[:2]:
        dht.lookups.ended(key, ["a"])
    for key in keys[2:]:
        assert dht.waits(key)
        dht.lookups.ended(key, ["a"])
    assert [bool(dht.lookups.holders(key)) for key in keys] == [False] * 5 + [True] * 3


@on_loop
async def test_reports_about_what_is_forgotten_do_no_harm() -> None:
    dht = Dht(lookups_max=1)
    dht.lookups.begin(KEY)
    dht.lookups.found(OTHER, "a", is_local=True)
    dht.lookups.ended(KEY, ())
    assert dht.lookups.holders(OTHER) == ()


@on_loop
async def test_waits_are_counted_by_their_time() -> None:
    dht = Dht()
    dht.lookups.begin(KEY)
    dht.lookups.found(KEY, "a", is_local=True)
    histogram = dht.lookups.histogram()
    assert sum(histogram.values()) == 1
    assert list(histogram)[-1] == float("inf")
