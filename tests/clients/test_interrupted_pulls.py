"""Pulls that are interrupted, cut into ranges or kept nowhere: agents as processes, on a registry that is held up."""

import hashlib
import http.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from mirror.cluster.homes import piece_size
from testbed.agents import Agent
from testbed.faulty import FaultyUpstream
from testbed.images import Image
from testbed.processes import wait_until
from testbed.registry import Registry
from tests.clients.pulling import Client, PullError, at_once

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90)]

APP, MEGABYTE = "library/app:1.0", 1_000_000
LAYER = 24 * MEGABYTE


@pytest.fixture
def registry(start_registry: Callable[..., Registry]) -> Registry:
    return start_registry()


@pytest.fixture
def app(registry: Registry, make_image: Callable[..., Image]) -> Image:
    image = make_image(f"docker.io/{APP}", [LAYER])
    registry.push(image, "library/app", "1.0")
    return image


@pytest.fixture
def upstream(registry: Registry) -> Iterator[FaultyUpstream]:
    with FaultyUpstream(registry.address, "abc").running() as proxy:
        yield proxy


@pytest.fixture
def start(
    start_agent: Callable[..., Agent], loopback: Callable[[], str], upstream: FaultyUpstream
) -> Callable[..., list[Agent]]:
    """Start agents with these names and flags, which join the first; they see each other when this returns."""

    def start_all(names: str, *flags: str) -> list[Agent]:
        agents: list[Agent] = []
        for name in names:
            asked = ["--upstream", f"docker.io={upstream.urls[name]}"]
            join = ["--join", agents[0].gossip] if agents else []
            agents.append(start_agent(name, loopback(), *asked, *join, *flags))
        for agent in agents:
            for other in agents:
                agent.until_state(other.name, "alive")
        return agents

    return start_all


def blob_path(digest: str) -> str:
    return f"/v2/library/app/blobs/{digest}"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_agent_goes_on_with_what_is_on_its_disk(
    damaged: bool, start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    (layer,) = app.layers
    unit = piece_size(app.size(layer))
    (agent,) = start("a")
    journal = agent.folder / "cache" / "spool" / f"{layer.removeprefix('sha256:')}.pieces"
    upstream.hold_after = 18 * MEGABYTE
    with ThreadPoolExecutor(1) as background:
        pull = background.submit(Client(agent).pull, APP)
        wait_until(lambda: journal.exists() and journal.stat().st_size >= 8 + 8 * 32, "eight pieces in the journal")
        agent.kill()
        with pytest.raises(PullError):
            pull.result(30)
    kept = (journal.stat().st_size - 8) // 32 * unit
    if damaged:
        with journal.with_suffix("").open("r+b") as spool:
            spool.seek(3 * unit + 5)
            (byte,) = spool.read(1)
            spool.seek(3 * unit + 5)
            spool.write(bytes([byte ^ 1]))
        kept = 3 * unit
    upstream.go_on()
    before = upstream.served[layer]

    agent.start()
    assert Client(agent).pull(APP) == app.manifest

    record = agent.fetch(layer)
    assert record["resumed"] == kept
    assert record["sources"] == {"upstream": app.size(layer) - kept}
    # The first request is for the first bytes, whatever is there of them: the answer tells the size.
    assert upstream.served[layer] - before <= app.size(layer) - kept + unit
    assert not list(journal.parent.iterdir())


def test_agents_without_a_cache_pull_through_each_other(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    agents = start("abc", "--cache-size", "0")

    assert set(at_once(*(partial(Client(agent).pull, APP) for agent in agents))) == {app.manifest}

    (layer,) = app.layers
    assert all(set(agent.sources(layer)) & {"a", "b", "c"} for agent in agents)
    assert upstream.served[layer] <= 1.1 * app.size(layer)
    for agent in agents:
        files = (path.relative_to(agent.folder / "cache") for path in agent.folder.glob("cache/**/*") if path.is_file())
        assert not [file for file in files if file.parts[0] in ("blobs", "spool")]


def read_part(agent: Agent, digest: str, offset: int, count: int) -> bytes:
    """Ask for everything from an offset on, read so much, and close: as containerd 2 does for each of its chunks."""
    with closing(http.client.HTTPConnection(*agent.address, timeout=40)) as connection:
        connection.request("GET", f"{blob_path(digest)}?ns=docker.io", headers={"Range": f"bytes={offset}-"})
        answer = connection.getresponse()
        assert answer.status == 206
        size = int(answer.headers["Content-Range"].rpartition("/")[2])
        assert answer.headers["Content-Range"] == f"bytes {offset}-{size - 1}/{size}"
        return answer.read(count)


def test_open_ranges_that_are_closed_early_cost_upstream_the_blob_once(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    """The whole blob is put together of parts that are read side by side, on two nodes at the same time."""
    (layer,) = app.layers
    size, chunk = app.size(layer), 3 * 1024 * 1024
    agents = start("ab")
    for agent in agents:
        with pytest.raises(PullError):  # a range that there is not
            Client(agent).get(blob_path(layer), wanted=f"bytes={size}-")
    parts = [partial(read_part, agent, layer, offset, chunk) for agent in agents for offset in range(0, size, chunk)]

    read = at_once(*parts)

    for half in (read[: len(read) // 2], read[len(read) // 2 :]):
        assert hashlib.sha256(b"".join(half)).hexdigest() == layer.removeprefix("sha256:")
    assert upstream.served[layer] <= 1.1 * size


def test_a_client_that_goes_away_in_the_middle_leaves_the_blob_to_the_next(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    (layer,) = app.layers
    (agent,) = start("a")
    upstream.hold_after = 8 * MEGABYTE
    assert len(read_part(agent, layer, 0, MEGABYTE)) == MEGABYTE
    agent.until_received(layer, "upstream", 6 * MEGABYTE)
    upstream.go_on()

    assert Client(agent).pull(APP) == app.manifest

    assert upstream.served[layer] == app.size(layer)
