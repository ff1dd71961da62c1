"""Agents as processes of their own on 127.0.0.x, with temporary folders."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_START_S = 15.0
_STOP_S = 10.0
_POLL_S = 0.02


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(slots=True)
class Node:
    """A running agent.

    Args:
        name: its name in the cluster.
        url: of its client endpoint.
        gossip: its gossip address.
        process: it.
        log: the file that it logs to.
    """

    name: str
    url: str
    gossip: str
    process: asyncio.subprocess.Process
    log: Path

    def kill(self) -> None:
        """End it without warning."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def stop(self) -> int:
        """Ask it to end, as an operator would; return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), _STOP_S)
        except TimeoutError:
            self.kill()
            return await self.process.wait()


class Cluster:
    """Starts agents, asks them things, and sees to it that none is left.

    Args:
        folder: for their data and logs.
        upstream: URL of the registry that they take for docker.io.
        http: for asking them.
    """

    def __init__(self, folder: Path, upstream: str, http: aiohttp.ClientSession) -> None:
        self._folder = folder
        self._upstream = upstream
        self._http = http
        self.nodes: list[Node] = []

    async def start(self, count: int) -> list[Node]:
        """Start agents, the first one as seed of the others, and wait until all see each other."""
        started = [await self._start_node() for _ in range(count)]
        await asyncio.gather(*(self._sees(node, len(self._alive())) for node in started))
        return started

    async def knows(self, node: Node, digest: str, holder: str) -> None:
        """Wait until a node has heard that another holds a digest."""
        async for answer in self._polled(node, f"/api/v1/find?q={digest}"):
            if any(row["member"] == holder for row in answer["holders"].get(digest, ())):
                return

    async def fetches(self, node: Node) -> dict[str, dict[str, int]]:
        """Where a node's bytes came from: by digest, then by source."""
        answer = await self._get(node, "/api/v1/fetches")
        return {row["digest"]: row["sources"] for row in answer["fetches"] if row["outcome"] == "complete"}

    async def stop(self) -> None:
        """End all agents."""
        await asyncio.gather(*(node.stop() for node in self._alive()))

    def _alive(self) -> list[Node]:
        return [node for node in self.nodes if node.process.returncode is None]

    async def _start_node(self) -> Node:
        number = len(self.nodes) + 1
        name, host = f"node{number}", f"127.0.0.{number + 1}"
        listen, peer, gossip = (f"{host}:{_free_port(host)}" for _ in range(3))
        folder = self._folder / name
        folder.mkdir()
        log = folder / "agent.log"
        flags = [
            "--name", name, "--data-dir", str(folder), "--listen", listen, "--peer", peer, "--gossip", gossip,
            "--upstream", f"docker.io={self._upstream}",
        ]  # fmt: skip
        for seed in self._alive()[:2]:
            flags += ["--join", seed.gossip]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SKVALLER_")}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mirror", "agent", *flags,
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True,
            )  # fmt: skip
        node = Node(name, f"http://{listen}", gossip, process, log)
        self.nodes.append(node)
        return node

    async def _sees(self, node: Node, count: int) -> None:
        async for answer in self._polled(node, "/api/v1/members"):
            if sum(row["state"] == "alive" for row in answer["members"]) >= count:
                return

    async def _polled(self, node: Node, path: str) -> AsyncIterator[Any]:
        """RangeRequest a node the same thing again and again, for a bounded time."""
        deadline = asyncio.get_running_loop().time() + _START_S
        while asyncio.get_running_loop().time() < deadline:
            if node.process.returncode is not None:
                tail = node.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise DemoError(f"{node.name} ended with status {node.process.returncode}: {''.join(tail)}")
            with contextlib.suppress(aiohttp.ClientError):
                yield await self._get(node, path)
            await asyncio.sleep(_POLL_S)
        raise DemoError(f"{node.name} did not come to see what it should within {_START_S:g} s; its log: {node.log}")

    async def _get(self, node: Node, path: str) -> Any:
        async with self._http.get(node.url + path) as answer:
            answer.raise_for_status()
            return await answer.json()


def _free_port(host: str) -> int:
    """A port that is free for TCP and UDP on a loopback address."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            port = int(tcp.getsockname()[1])
            with contextlib.suppress(OSError):
                udp.bind((host, port))
                return port
    raise DemoError(f"no free port on {host}")
