"""Shared work: once for all who wait, and no longer than anybody does."""

import asyncio

import pytest

from mirror.stores.shared import Shared


def test_work_is_done_once_for_all_who_wait_and_its_error_reaches_all() -> None:
    async def story() -> None:
        shared: Shared[str, int] = Shared()
        begun: list[str] = []

        async def work() -> int:
            begun.append("work")
            await asyncio.sleep(0)
            if len(begun) > 1:
                raise ValueError("wrong")
            return 7

        assert await asyncio.gather(*(shared.result("a", work) for _ in range(3))) == [7, 7, 7]
        assert begun == ["work"]
        outcomes = await asyncio.gather(*(shared.result("a", work) for _ in range(2)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["wrong", "wrong"]
        assert len(begun) == 2

    asyncio.run(story(), debug=True)


def test_work_ends_with_the_last_who_waits_or_when_all_is_closed() -> None:
    async def story() -> None:
        shared: Shared[str, int] = Shared()
        ended: list[str] = []

        async def work(name: str) -> int:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)
            return 0

        first, second = (asyncio.create_task(shared.result("a", lambda: work("a"))) for _ in range(2))
        other = asyncio.create_task(shared.result("b", lambda: work("b")))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        await asyncio.sleep(0)
        assert ended == []
        second.cancel()
        await asyncio.wait([second])
        await asyncio.sleep(0)
        assert ended == ["a"]
        await shared.close()
        assert ended == ["a", "b"]
        with pytest.raises(asyncio.CancelledError):
            await other

    asyncio.run(story(), debug=True)
