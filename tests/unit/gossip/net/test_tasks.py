"""The tasks of a node end with it."""

import asyncio

import pytest

from gossip.net.tasks import Tasks


def test_all_tasks_end_when_they_are_cancelled() -> None:
    async def story() -> None:
        tasks, ended = Tasks(), list[str]()

        async def work(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        tasks.spawn(work("own"))
        tasks.track(asyncio.get_running_loop().create_task(work("of somebody else")))
        await asyncio.sleep(0)
        await tasks.cancel()
        assert sorted(ended) == ["of somebody else", "own"]

    asyncio.run(story(), debug=True)


def test_error_ends_its_task_alone_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        tasks = Tasks()

        async def fail() -> None:
            raise RuntimeError("broken")

        tasks.spawn(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await tasks.cancel()

    asyncio.run(story(), debug=True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["gossip task failed"]
