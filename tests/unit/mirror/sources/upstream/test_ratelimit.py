"""What is remembered of upstream between requests: authorisations, and rate limits."""

import asyncio
from datetime import UTC, datetime

import pytest

from mirror.errors import Reason, UpstreamError, UpstreamRateLimited
from mirror.sources.upstream.ratelimit import RateLimits, parse_retry_after
from mirror.sources.upstream.tokens import Authorizations

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
KEY = ("docker.io", "repository:library/nginx:pull")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 1),
        ("999999999999", 3600),
        ("Sat, 01 Aug 2026 12:02:00 GMT", 120),
        ("Sat, 01 Aug 2026 12:02:00 -0000", 120),
        ("Sat, 01 Aug 2026 14:02:00 +0200", 120),
        ("Sat, 01 Aug 2020 12:02:00 GMT", 1),
        ("Sat, 01 Aug 2099 12:02:00 GMT", 3600),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
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
    assert parse_retry_after(header, NOW) == seconds


def test_a_registry_is_left_alone_until_its_time_and_no_other() -> None:
    limits = RateLimits()
    assert limits.block("docker.io", 60, now=100).retry_after_s == 60
    limits.block("docker.io", 10, now=110)  # a shorter one does not shorten the first
    limits.check("quay.io", now=110)
    with pytest.raises(UpstreamRateLimited) as refusal:
        limits.check("docker.io", now=150)
    assert refusal.value.retry_after_s == 10
    limits.check("docker.io", now=160)


def test_an_authorization_is_used_while_it_is_good() -> None:
    kept = Authorizations()
    kept.keep(KEY, "Bearer a", good_until=130)
    assert kept.get(KEY, now=129.9) == "Bearer a"
    assert kept.get(KEY, now=130) is None
    assert kept.get(KEY, now=129) is None


def test_only_the_refused_authorization_is_forgotten() -> None:
    kept = Authorizations()
    kept.keep(KEY, "Bearer new", good_until=130)
    kept.forget(KEY, "Bearer old")
    assert kept.get(KEY, now=100) == "Bearer new"
    kept.forget(KEY, "Bearer new")
    kept.forget(KEY, "Bearer new")
    assert kept.get(KEY, now=100) is None


def test_the_least_recently_used_is_forgotten_beyond_the_bound() -> None:
    kept = Authorizations()
    for i in range(1024):
        kept.keep(("docker.io", str(i)), "Bearer", good_until=1)
    kept.get(("docker.io", "0"), now=0)
    kept.keep(KEY, "Bearer", good_until=1)
    assert kept.get(("docker.io", "0"), now=0) is not None
    assert kept.get(("docker.io", "1"), now=0) is None


def test_all_who_wait_share_what_one_fetches() -> None:
    async def run() -> None:
        kept, fetched, go = Authorizations(), [], asyncio.Event()

        async def fetch() -> str:
            fetched.append(1)
            await go.wait()
            return "Bearer a"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(kept.once(KEY, fetch)) for _ in range(5)]
            await asyncio.sleep(0)
            go.set()
        assert [task.result() for task in tasks] == ["Bearer a"] * 5
        assert len(fetched) == 1

    asyncio.run(run())


def test_all_who_wait_share_a_failure_and_the_next_tries_again() -> None:
    async def run() -> None:
        kept, fetched = Authorizations(), []

        async def fetch() -> str:
            fetched.append(1)
            await asyncio.sleep(0)
            raise UpstreamError(Reason.STATUS, "no token today")

        results = await asyncio.gather(*(kept.once(KEY, fetch) for _ in range(5)), return_exceptions=True)
        assert [str(result) for result in results] == ["no token today"] * 5
        assert len(fetched) == 1
        with pytest.raises(UpstreamError):
            await kept.once(KEY, fetch)
        assert len(fetched) == 2

    asyncio.run(run())


def test_one_who_waits_takes_over_from_one_who_is_cancelled() -> None:
    async def run() -> None:
        kept, fetched, begun = Authorizations(), [], asyncio.Event()

        async def fetch() -> str:
            fetched.append(1)
            begun.set()
            if len(fetched) == 1:
                await asyncio.Event().wait()
            return "Bearer b"

        first = asyncio.create_task(kept.once(KEY, fetch))
        await begun.wait()
        second = asyncio.create_task(kept.once(KEY, fetch))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "Bearer b"
        assert first.cancelled()

    asyncio.run(run())
