"""A home that fails in the middle of everybody's pull: all others end right, and upstream serves little more for it."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.images import Image
from testbed.network import MBIT, Host, Network
from testbed.nodes import Cluster
from testbed.processes import run, wait_until
from testbed.registry import Registry
from tests.clients.pulling import Client, at_once, pulled

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

APP = "library/app:1.0"
MEGABYTE = 1_000_000
SHARE = 0.25
"""Of four homes each brings so much of an image: what one that is lost has brought may have to be brought again."""

LATE = 0.5
"""Pieces that come at a third of the others' pace are asked for twice, as links are full, and the machine is busy."""


@pytest.fixture
def app(upstream: Registry, make_image: Callable[..., Image]) -> Image:
    image = make_image(f"docker.io/{APP}", [48 * MEGABYTE, 16 * MEGABYTE])
    upstream.push(image, "library/app", "1.0")
    upstream.forget_accesses()
    return image


@contextmanager
def pulling(network: Network, cluster: Cluster, image: Image, *, insists: int = 0) -> Iterator[dict[str, Future[str]]]:
    """Have all nodes pull over limited links; wait for all at the end."""
    network.hosts["upstream"].limit_sent(100 * MBIT)
    for host in cluster.hosts.values():
        host.limit_sent(200 * MBIT)
    with ThreadPoolExecutor(len(cluster.agents)) as background:
        clients = {name: Client(agent, insists=insists) for name, agent in cluster.agents.items()}
        yield {name: background.submit(client.pull, APP) for name, client in clients.items()}


@pytest.mark.parametrize("fault", ["killed", "stopped", "cut off", "slow"])
def test_a_home_is_lost_in_the_middle(
    fault: str, network: Network, upstream: Registry, start_cluster: Callable[..., Cluster], app: Image
) -> None:
    cluster = start_cluster("abcd")
    host, victim = cluster.hosts["d"], cluster.agents["d"]
    with pulling(network, cluster, app) as pulls:
        for agent in cluster.agents.values():
            agent.until_received(app.layers[0], "upstream", 2 * MEGABYTE)
        harm(fault, host, victim)
        for name in "abc":
            assert pulls[name].result(60) == app.manifest
        # What d was being sent, and had passed on, the registry writes down when that connection ends: perhaps not yet.
        least = round((1 - SHARE) * app.total)
        assert upstream.served(*app.digests, least=least) <= (1 + SHARE + LATE) * app.total
        heal(fault, host, victim)
        if fault in ("stopped", "slow"):
            assert pulls["d"].result(60) == app.manifest

    wait_until(lambda: pulled(victim, APP), "the victim to pull as well", 40)
    assert upstream.served(*app.digests) <= (1 + SHARE + LATE) * app.total


def harm(fault: str, host: Host, victim: Agent) -> None:
    match fault:
        case "killed":
            victim.kill()
        case "stopped":
            victim.send(signal.SIGSTOP)
        case "cut off":
            host.cut()
        case "slow":
            host.limit_sent(10 * MBIT)


def heal(fault: str, host: Host, victim: Agent) -> None:
    match fault:
        case "killed":
            victim.start()
        case "stopped":
            victim.send(signal.SIGCONT)
        case "cut off":
            host.rejoin()
        case "slow":
            host.limit_sent(200 * MBIT)


def test_a_home_whose_disk_is_full_goes_on_through_memory(
    network: Network, upstream: Registry, start_cluster: Callable[..., Cluster], app: Image, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)])
    try:
        cluster = start_cluster("abcd", flags={"d": ["--data-dir", str(small), "--log-level", "debug"]})
        with pulling(network, cluster, app) as pulls:
            for pull in pulls.values():
                assert pull.result(60) == app.manifest
        for layer in app.layers:
            assert f"{layer} passes through memory without being kept" in cluster.agents["d"].output
        for agent in cluster.agents.values():
            agent.kill()
    finally:
        run(["umount", str(small)])

    assert upstream.served(*app.digests, least=app.total) <= (1 + SHARE + LATE) * app.total


def test_a_home_that_lies_is_named_and_left_alone(
    network: Network,
    upstream: Registry,
    start_cluster: Callable[..., Cluster],
    app: Image,
    make_image: Callable[..., Image],
) -> None:
    cluster = start_cluster("abcd", odd={"d": "lying"})
    honest = [cluster.agents[name] for name in "abc"]
    clients = [Client(agent, insists=5) for agent in cluster.agents.values()]
    assert set(at_once(*(partial(client.pull, APP) for client in clients))) == {app.manifest}

    for agent in honest:
        # As a home he may have passed on what others sent; once his own pull has ended he lies about a copy of his own.
        assert any(f"member d {sent} bytes of" in agent.output for sent in ("may have sent wrong", "sent corrupt"))
        assert not any(
            f"member {other} {sent}" in agent.output for other in "abc" for sent in ("sent", "may have sent")
        )
    # Each of the three brings again what the liar sent it.
    assert upstream.served(*app.digests, least=app.total) <= (1 + 3 * SHARE + LATE) * app.total

    after = make_image("docker.io/library/after:1.0", [8 * MEGABYTE])
    upstream.push(after, "library/after", "1.0")
    at_once(*(partial(Client(agent).pull, "library/after:1.0") for agent in honest))
    assert not any("d" in agent.sources(digest) for agent in honest for digest in after.digests)


def test_nodes_that_hold_each_other_for_dead_pull_and_find_together_again(
    network: Network,
    upstream: Registry,
    start_cluster: Callable[..., Cluster],
    app: Image,
    make_image: Callable[..., Image],
) -> None:
    """Gossip alone is lost between two sides; each sees the other die while it pulls, and can still reach it."""
    cluster = start_cluster("abcd", flags={name: ["--gossip-profile", "fast"] for name in "abcd"})
    for name in "cd":
        cluster.hosts[name].drop(7946, cluster.hosts["a"], cluster.hosts["b"])
    with pulling(network, cluster, app) as pulls:
        for name, other in ("ac", "bd", "ca", "db"):
            cluster.agents[name].until_state(other, "dead")
        for pull in pulls.values():
            assert pull.result(60) == app.manifest
    assert upstream.served(*app.digests, least=app.total) <= (2 + 2 * LATE) * app.total  # once for each side

    for name in "cd":
        cluster.hosts[name].drop_nothing()
    cluster.until_all()
    after = make_image("docker.io/library/after:1.0", [12 * MEGABYTE])
    upstream.push(after, "library/after", "1.0")
    upstream.forget_accesses()
    at_once(*(partial(Client(agent).pull, "library/after:1.0") for agent in cluster.agents.values()))
    assert upstream.served(*after.digests, least=after.total) <= (1 + LATE) * after.total
