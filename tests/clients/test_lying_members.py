"""Members whose every part of a blob has a wrong bit: real clients see none of it, and have the image at the first try.

containerd goes on by range where it was cut short, and keeps what it got: one wrong byte that it is given, it keeps for
ever. So a client must not be given any.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.containerd import Containerd, write_hosts
from testbed.images import Image
from testbed.registry import Registry
from tests.clients.pulling import Client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

APP, MEGABYTE = "library/app:1.0", 1_000_000
IMAGE = f"docker.io/{APP}"


@pytest.fixture
def registry(start_registry: Callable[..., Registry]) -> Registry:
    return start_registry()


@pytest.fixture
def app(registry: Registry, make_image: Callable[..., Image]) -> Image:
    image = make_image(IMAGE, [24 * MEGABYTE, 3 * MEGABYTE])
    registry.push(image, "library/app", "1.0")
    return image


@pytest.fixture
def start(
    start_agent: Callable[..., Agent], loopback: Callable[[], str], registry: Registry
) -> Callable[..., list[Agent]]:
    """Start agents, each with what is odd about it; they see each other when this returns."""

    def start_all(*odds: str) -> list[Agent]:
        agents: list[Agent] = []
        for name, odd in zip("abcdef", odds, strict=False):
            join = ["--join", agents[0].gossip] if agents else []
            agents.append(
                start_agent(name, loopback(), "--upstream", f"docker.io=http://{registry.address}", *join, odd=odd)
            )
        for agent in agents:
            for other in agents:
                agent.until_state(other.name, "alive")
        return agents

    return start_all


def pull(containerd: Containerd, hosts: Path) -> None:
    containerd.ctr("images", "pull", "--hosts-dir", str(hosts), IMAGE)


def test_containerd_gets_the_right_image_at_the_first_try_from_among_liars(
    start: Callable[..., list[Agent]],
    start_containerd: Callable[..., Containerd],
    registry: Registry,
    app: Image,
    tmp_path: Path,
) -> None:
    victim, *liars = start("settled", "lying,settled", "lying,settled")
    for liar in liars:
        Client(liar).pull(APP)  # what it holds is right: it lies to members alone
    containerd = start_containerd()
    pull(containerd, write_hosts(tmp_path / "hosts", victim.url, f"http://{registry.address}"))
    for digest in app.layers:
        assert containerd.blob_path(digest).stat().st_size == app.size(digest)
    assert not list(containerd.content_root.glob("ingest/*"))


def test_all_clients_of_honest_nodes_pull_right_while_one_home_lies(
    start: Callable[..., list[Agent]], app: Image
) -> None:
    agents = start("settled", "settled", "lying,settled", "settled")
    honest = [agent for agent in agents if agent.name != "c"]
    with ThreadPoolExecutor(len(honest)) as threads:
        digests = list(threads.map(lambda agent: Client(agent).pull(APP), honest))
    assert digests == [app.manifest] * len(honest)
