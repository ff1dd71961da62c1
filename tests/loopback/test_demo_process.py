"""Agents as processes of their own: started, waited for, stopped."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from mirror.demo.process import AgentProcess, ProcessError


def test_an_agent_is_started_waited_for_asked_and_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        agent = await AgentProcess.start("a", tmp_path / "a")
        async with aiohttp.ClientSession() as http:
            try:
                await anext(agent.poll(http, "/readyz"))
                members = await agent.get_json(http, "/api/v1/members")
                assert [row["name"] for row in members["members"]] == ["a"]
                assert agent.is_running
            finally:
                status = await agent.stop()
        assert (status, agent.is_running) == (0, False)

    asyncio.run(asyncio.wait_for(story(), 50))


def test_an_agent_that_ends_is_reported_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    async def story() -> None:
        agent = await AgentProcess.start("a", tmp_path / "a", ["--cache-size", "nonsense"])
        async with aiohttp.ClientSession() as http:
            with pytest.raises(ProcessError, match=r"a ended with status 2: .*'nonsense' is not allowed"):
                await anext(agent.poll(http, "/readyz"))

    asyncio.run(asyncio.wait_for(story(), 50))
