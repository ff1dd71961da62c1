"""The tasks of a node end with it."""

import asyncio

import pytest

from gossip.net.tasks import Tasks


def test_all_tasks_end_when_they_are_cancelled_and_somebody_is_told_of_each() -> None:
    async def story() -> None:
        tasks, began, ended = Tasks(), list[str](), list[str]()

        async def work(name: str) -> None:
            began.append(name)
            await asyncio.Event().wait()

        tasks.spawn(work("early"), lambda: ended.append("early"))
        await asyncio.sleep(0)
        tasks.spawn(work("late"), lambda: ended.append("late"))
        await tasks.cancel()
        assert (began, sorted(ended)) == (["early"], ["early", "late"])

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
