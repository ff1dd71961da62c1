"""Authorizations: used while they are good, and fetched once for all who want one."""

import asyncio

import pytest

from mirror.errors import Reason, UpstreamError
from mirror.sources.upstream.tokens import Authorizations

URL = "https://registry-1.docker.io"
KEY = ("docker.io", URL, "repository:library/nginx:pull")


def test_an_authorization_is_used_while_it_is_good() -> None:
    known = Authorizations()
    known.put(KEY, "Bearer a", expires_at=130)
    assert known.get(KEY, now=129.9) == "Bearer a"
    assert known.get(KEY, now=130) is None
    assert known.get(KEY, now=129) is None


def test_only_the_refused_authorization_is_forgotten() -> None:
    known = Authorizations()
    known.put(KEY, "Bearer new", expires_at=130)
    known.forget(KEY, "Bearer old")
    assert known.get(KEY, now=100) == "Bearer new"
    known.forget(KEY, "Bearer new")
    known.forget(KEY, "Bearer new")
    assert known.get(KEY, now=100) is None


def test_the_least_recently_used_is_forgotten_beyond_the_bound() -> None:
    known = Authorizations()
    for i in range(1024):
        known.put(("docker.io", URL, str(i)), "Bearer", expires_at=1)
    known.get(("docker.io", URL, "0"), now=0)
    known.put(KEY, "Bearer", expires_at=1)
    assert known.get(("docker.io", URL, "0"), now=0) is not None
    assert known.get(("docker.io", URL, "1"), now=0) is None


def test_all_who_wait_share_what_one_fetches() -> None:
    async def run() -> None:
        known, fetched, go = Authorizations(), [], asyncio.Event()

        async def fetch() -> str:
            fetched.append(1)
            await go.wait()
            return "Bearer a"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(known.once(KEY, fetch)) for _ in range(5)]
            await asyncio.sleep(0)
            go.set()
        assert [task.result() for task in tasks] == ["Bearer a"] * 5
        assert len(fetched) == 1

    asyncio.run(run())


def test_all_who_wait_share_a_failure_and_the_next_tries_again() -> None:
    async def run() -> None:
        known, fetched = Authorizations(), []

        async def fetch() -> str:
            fetched.append(1)
            await asyncio.sleep(0)
            raise UpstreamError(Reason.STATUS, "no token today")

        results = await asyncio.gather(*(known.once(KEY, fetch) for _ in range(5)), return_exceptions=True)
        assert [str(result) for result in results] == ["no token today"] * 5
        assert len(fetched) == 1
        with pytest.raises(UpstreamError):
            await known.once(KEY, fetch)
        assert len(fetched) == 2

    asyncio.run(run())


def test_one_who_waits_takes_over_from_one_who_is_cancelled() -> None:
    async def run() -> None:
        known, fetched, begun = Authorizations(), [], asyncio.Event()

        async def fetch() -> str:
            fetched.append(1)
            begun.set()
            if len(fetched) == 1:
                await asyncio.Event().wait()
            return "Bearer b"

        first = asyncio.create_task(known.once(KEY, fetch))
        await begun.wait()
        second = asyncio.create_task(known.once(KEY, fetch))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "Bearer b"
        assert first.cancelled()

    asyncio.run(run())
