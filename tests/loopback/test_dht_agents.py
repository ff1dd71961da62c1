"""Agents that find blobs and tags with each other by a DHT, without gossip and without a registry."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from mirror.demo.image import make_image
from mirror.demo.registry import CountingRegistry
from testbed.agents import Agent, Endpoints
from testbed.network import Address, free_address, get
from testbed.processes import wait_until

pytest.importorskip("libp2p")
NAMES = ["a", "b", "c"]


def start(folder: Path, upstream: str, stack: ExitStack) -> Sequence[Agent]:
    """Agents that all begin with the first of them, and know each other."""
    agents: list[Agent] = []
    first: Address | None = None
    for name in NAMES:
        dht = free_address()
        flags = ["--router", "dht", "--dht", str(dht), "--resolve-timeout", "5s", "--upstream", f"lab={upstream}"]
        flags += [] if first is None else ["--bootstrap", str(first)]
        first = first or dht
        agents.append(Agent(folder / name, name, Endpoints.free(), flags))
        stack.push(agents[-1])
        agents[-1].launch()  # those that begin before the first listens try again
    for agent in agents:
        wait_until(agent.is_ready, f"{agent.name} to be ready")
    for agent in agents:
        wait_until(lambda agent=agent: agent.alive() == set(NAMES), f"{agent.name} to know all")  # type: ignore[misc]
    return agents


def pull(agent: Agent, path: str, digest: str) -> None:
    body = get(f"{agent.url}/v2/app/{path}?ns=lab")
    assert f"sha256:{sha256(body).hexdigest()}" == digest


def told(agent: Agent) -> float:
    return agent.metrics()['skvaller_dht_told_total{outcome="taken"}']


@pytest.mark.timeout(120)
def test_agents_find_what_others_hold_and_go_on_when_one_is_killed(tmp_path: Path) -> None:
    async def story() -> None:
        image = await asyncio.to_thread(make_image, tmp_path, 2**20, 1, lambda _: None)
        layer, manifest = str(image.blobs[-1].digest), str(image.manifest.digest)
        registry = CountingRegistry(image)
        upstream = await registry.start()
        with ExitStack() as stack:
            a, b, c = await asyncio.to_thread(start, tmp_path, upstream, stack)
            for path, digest in (("manifests/1.0", manifest), (f"blobs/{layer}", layer)):
                await asyncio.to_thread(pull, a, path, digest)
            await registry.stop()
            await asyncio.to_thread(wait_until, lambda: told(a) >= 3, "a to tell its keys")

            await asyncio.to_thread(pull, b, "manifests/1.0", manifest)
            await asyncio.to_thread(pull, b, f"blobs/{layer}", layer)
            assert b.sources(layer) == {"a": image.blobs[-1].size}
            assert b.holders(layer) == {"a", "b"}
            await asyncio.to_thread(wait_until, lambda: told(b) >= 2, "b to tell its blobs")

            a.send(signal.SIGKILL)
            await asyncio.to_thread(a.wait)
            await asyncio.to_thread(pull, c, f"blobs/{layer}", layer)
            assert c.sources(layer) == {"b": image.blobs[-1].size}
            assert [agent.homes() for agent in (b, c)] == [{"b"}, {"c"}], "there are none beside the node itself"
            await asyncio.to_thread(partial(b.send, signal.SIGTERM))
            assert await asyncio.to_thread(b.wait) == 0
        assert registry.bytes_served[layer] == image.blobs[-1].size

    asyncio.run(story())
