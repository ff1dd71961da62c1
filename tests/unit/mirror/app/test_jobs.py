"""What becomes of orders that take a while."""

import asyncio

import pytest

from mirror.app.jobs import Job, Jobs
from mirror.errors import MirrorError


@pytest.mark.parametrize(
    ("said", "raised", "state"),
    [("", None, "done"), ("some images lack", None, "failed"), ("", MirrorError("no"), "failed")],
)
def test_a_job_that_says_why_it_failed_has_failed(said: str, raised: Exception | None, state: str) -> None:
    async def order() -> str:
        ended = asyncio.Event()

        async def run(job: Job) -> None:
            asyncio.get_running_loop().call_soon(ended.set)
            job.error = said
            if raised is not None:
                raise raised

        jobs = Jobs()
        job = jobs.start(run)
        await ended.wait()
        await jobs.close()
        return str(job.shown()["state"])

    assert asyncio.run(order()) == state
