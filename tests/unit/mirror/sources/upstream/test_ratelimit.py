"""Registries that answered 429, and for how long they are not asked."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from mirror.errors import UpstreamRateLimited
from mirror.settings import UpstreamSettings
from mirror.sources.upstream.ratelimit import RateLimits, parse_retry_after
from mirror.sources.upstream.registries import Registry

HUB, QUAY = (Registry(name, f"https://{name}") for name in ("docker.io", "quay.io"))
NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 1),
        ("999999999999", 21_600),
        ("Sat, 01 Aug 2026 12:02:00 GMT", 120),
        ("Sat, 01 Aug 2026 12:02:00 -0000", 120),
        ("Sat, 01 Aug 2026 14:02:00 +0200", 120),
        ("Sat, 01 Aug 2020 12:02:00 GMT", 1),
        ("Sat, 01 Aug 2099 12:02:00 GMT", 21_600),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 21_600),
        (None, 60),
        ("", 60),
        ("soon", 60),
        ("-5", 60),
        ("1.5", 60),
        ("٣", 60),
        ("Sat, 99 Aug 2026 12:02:00 GMT", 60),
    ],
)
def test_reads_retry_after_within_bounds(header: str | None, seconds: float) -> None:
    assert parse_retry_after(header, NOW, UpstreamSettings()) == seconds


def retry_after(text: str) -> Mapping[str, str]:
    return {"Retry-After": text}


def test_a_registry_is_left_alone_until_its_time_and_no_other() -> None:
    limits = RateLimits()
    assert limits.note_429(HUB, retry_after("60"), NOW, now=100).retry_after_s == 60
    limits.note_429(HUB, retry_after("10"), NOW, now=110)  # a shorter one does not shorten the first
    limits.check(QUAY, now=110)
    with pytest.raises(UpstreamRateLimited) as refusal:
        limits.check(HUB, now=150)
    assert refusal.value.retry_after_s == 10
    limits.check(HUB, now=160)


def test_an_answer_of_429_blocks_for_as_long_as_it_says() -> None:
    limits = RateLimits()
    date = retry_after("Sat, 01 Aug 2026 12:02:00 GMT")
    assert limits.note_429(HUB, date, NOW, now=100).retry_after_s == 120
    with pytest.raises(UpstreamRateLimited) as refusal:
        limits.check(HUB, now=219)
    assert refusal.value.retry_after_s == 1
    limits.check(HUB, now=220)


def test_no_more_pulls_are_under_way_than_are_left() -> None:
    async def story() -> None:
        limits, loop = RateLimits(), asyncio.get_running_loop()
        left, asked, go_on = 2, 0, asyncio.Event()
        limits.note(HUB, remaining(left), loop.time())

        async def pull() -> None:
            nonlocal left, asked
            async with limits.asked(HUB, is_pull=True):
                asked += 1
                await go_on.wait()
                left -= 1
                limits.note(HUB, remaining(left), loop.time())

        pulls = [asyncio.create_task(pull()) for _ in range(5)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert asked == 2
        async with limits.asked(HUB, is_pull=False):  # which costs nothing
            pass
        async with limits.asked(QUAY, is_pull=True):
            pass
        go_on.set()
        outcomes = await asyncio.gather(*pulls, return_exceptions=True)
        assert asked == 2
        assert [type(outcome) for outcome in outcomes if outcome] == [UpstreamRateLimited] * 3
        assert "no pull left" in str(outcomes[-1])
        assert "UTC" in str(outcomes[-1])

    asyncio.run(asyncio.wait_for(story(), 10))


def test_after_a_wait_one_pull_finds_out_whether_there_are_any() -> None:
    async def story() -> None:
        limits, now = RateLimits(), asyncio.get_running_loop().time()
        limits.note(HUB, remaining(0), now - 3600)
        limits.check(HUB, now)
        async with limits.asked(HUB, is_pull=True):
            second = asyncio.create_task(pull_once(limits))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not second.done()
            limits.note_429(HUB, retry_after("60"), NOW, now, is_pull=True)
        with pytest.raises(UpstreamRateLimited):
            await second

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_wait_that_is_nearly_over_is_waited_for_so_that_no_other_member_is_asked() -> None:
    async def story() -> None:
        limits, loop = RateLimits(), asyncio.get_running_loop()
        limits.note_429(HUB, retry_after("1"), NOW, loop.time() - 0.95)
        async with limits.asked(HUB, is_pull=True):
            limits.check(HUB, loop.time())
        limits.note_429(HUB, retry_after("60"), NOW, loop.time())
        with pytest.raises(UpstreamRateLimited):
            await pull_once(limits)

    asyncio.run(asyncio.wait_for(story(), 10))


async def pull_once(limits: RateLimits) -> None:
    async with limits.asked(HUB, is_pull=True):
        pass


def remaining(count: int) -> Mapping[str, str]:
    return {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": f"{count};w=21600"}
