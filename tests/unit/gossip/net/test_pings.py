"""Pings of the application, from the question to the answer."""

import asyncio

import pytest

from gossip import Address, Answered, DeliveryError, Member, State
from gossip.net.pings import Pings

MEMBER = Member("a", Address("10.0.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)


def test_answer_of_the_right_number_ends_the_wait() -> None:
    async def story() -> None:
        pings = Pings()
        waiting = asyncio.ensure_future(pings.answer(7, "a", 60))
        await asyncio.sleep(0)
        pings.note(Answered(MEMBER, 8, 0.1, b""))
        await asyncio.sleep(0)
        assert not waiting.done()
        pings.note(Answered(MEMBER, 7, 0.25, b""))
        assert await waiting == 0.25

    asyncio.run(story(), debug=True)


def test_no_answer_in_time_is_an_error_that_names_the_member() -> None:
    async def story() -> None:
        with pytest.raises(DeliveryError, match="a did not answer within 0 s"):
            await Pings().answer(7, "a", 0)

    asyncio.run(story(), debug=True)
