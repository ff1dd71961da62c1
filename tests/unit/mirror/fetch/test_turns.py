"""One fetch of a blob writes to the cache at a time."""

import asyncio

import pytest

from mirror.fetch.turns import Turns


def test_a_successor_waits_for_its_predecessor_and_others_do_not() -> None:
    async def story() -> None:
        turns = Turns()
        await turns.take("a")
        await turns.take("b")
        successor = asyncio.create_task(turns.take("a"))
        await asyncio.sleep(0)
        assert not successor.done()
        turns.give_back("a")
        await successor
        turns.give_back("a")
        turns.give_back("b")

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_successor_that_gives_up_is_not_waited_for() -> None:
    async def story() -> None:
        turns = Turns()
        await turns.take("a")
        successor = asyncio.create_task(turns.take("a"))
        await asyncio.sleep(0)
        successor.cancel()
        with pytest.raises(asyncio.CancelledError):
            await successor
        turns.give_back("a")
        await turns.take("a")

    asyncio.run(asyncio.wait_for(story(), 10))
