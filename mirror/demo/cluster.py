"""The demo's cluster: agents on 127.0.0.x, each with a folder of its own."""

import asyncio
import json
from pathlib import Path

import aiohttp

from .process import AgentProcess


class Cluster:
    """Starts agents, asks them things, and stops all of them at the end.

    Args:
        folder: for their data and logs.
        upstream: URL of the registry that they take for docker.io.
        http: for asking them.
    """

    def __init__(self, folder: Path, upstream: str, http: aiohttp.ClientSession) -> None:
        self._folder = folder
        self._upstream = upstream
        self._http = http
        self._nodes: list[AgentProcess] = []

    async def start(self, count: int) -> list[AgentProcess]:
        """Start agents that join through those that run, and wait until all see each other."""
        started = [await self._start_node() for _ in range(count)]
        await asyncio.gather(*(self._wait_for_members(node, len(self._running())) for node in started))
        return started

    async def wait_for_holder(self, node: AgentProcess, digest: str, holder: str) -> None:
        """Wait until a node has learnt that another one holds a digest."""
        async for body in node.poll(self._http, f"/api/v1/find?q={digest}"):
            if any(row["member"] == holder for row in json.loads(body)["holders"].get(digest, ())):
                return

    async def fetches(self, node: AgentProcess) -> dict[str, dict[str, int]]:
        """Where a node's bytes came from: by digest, then by source."""
        answer = await node.get_json(self._http, "/api/v1/fetches")
        return {row["digest"]: row["sources"] for row in answer["fetches"] if row["outcome"] == "complete"}

    async def stop(self) -> None:
        """Stop all agents."""
        await asyncio.gather(*(node.stop() for node in self._running()))

    def _running(self) -> list[AgentProcess]:
        return [node for node in self._nodes if node.is_running]

    async def _start_node(self) -> AgentProcess:
        number = len(self._nodes) + 1
        flags = ["--upstream", f"docker.io={self._upstream}"]
        for seed in self._running()[:2]:
            flags += ["--join", seed.gossip]
        name = f"node{number}"
        start = asyncio.create_task(AgentProcess.start(name, self._folder / name, flags, f"127.0.0.{number + 1}"))
        try:
            await asyncio.shield(start)
        finally:  # who is interrupted meanwhile still knows of the process, to stop it
            self._nodes.append(await start)
        return self._nodes[-1]

    async def _wait_for_members(self, node: AgentProcess, count: int) -> None:
        async for body in node.poll(self._http, "/api/v1/members"):
            if sum(row["state"] == "alive" for row in json.loads(body)["members"]) >= count:
                return
