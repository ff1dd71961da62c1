"""Whatever a client sends, a connection keeps its rules."""

import asyncio
import random

import pytest

from tests.fuzz.requests import requests


@pytest.mark.parametrize("seed", range(8))
def test_random_requests_break_no_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        requests(rng.randbytes(rng.choice((20, 60, 200, 600, 1500))))


def test_a_loop_that_a_busy_machine_held_up_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(story(), debug=True)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
