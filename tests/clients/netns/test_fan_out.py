"""Nodes that pull the same image at the same moment: upstream serves it once, for all of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.images import Image
from testbed.network import MBIT, Host, Network
from testbed.nodes import Cluster, Node
from testbed.processes import wait_until
from testbed.registry import Registry
from tests.clients.pulling import Client, at_once

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

MEGABYTE = 1_000_000
FIRST, SECOND = "docker.io/library/first:1.0", "docker.io/library/second:1.0"
MORE = 1.25
"""Upstream may serve so many times the bytes that it has to: on a busy machine some homes seem slow, and what they are
to bring is asked of others too. Without homes it would be four times."""


def copy(node: Node, image: str, folder: Path) -> None:
    """Pull with skopeo, which names the registry in the path and asks for the tag's manifest by GET."""
    source = ["--src-tls-verify=false", f"docker://127.0.0.1:5000/{image}"]
    node.host.run("skopeo", "--insecure-policy", "copy", "--quiet", *source, f"dir:{folder}")


def copied(image: Image, folder: Path) -> bool:
    blobs = (image.config, *image.layers)
    whole = all((folder / digest.removeprefix("sha256:")).read_bytes() == image.read(digest) for digest in blobs)
    return whole and (folder / "manifest.json").read_bytes() == image.read(image.manifest)


def asked_once(upstream: Registry, image: Image, repository: str, nodes: int) -> bool:
    """Whether upstream was asked once for the manifest, and what the tag means once by each of the nodes at most."""
    heads = upstream.accesses("HEAD", f"/{repository}/manifests/")
    gets = upstream.accesses("GET", f"/{repository}/manifests/")
    tags = [head.path.partition("?")[0].rpartition("/")[2] for head in heads]
    return (
        set(tags) == {"1.0"}
        and len(tags) <= nodes
        and [get.path.partition("?")[0].rpartition("/")[2] for get in gets] == [image.manifest]
    )


def test_nodes_with_containerd_and_skopeo_pull_at_once_and_a_second_image_adds_what_is_new(
    start_node: Callable[..., Node], upstream: Registry, make_image: Callable[..., Image], tmp_path: Path
) -> None:
    first = make_image(FIRST, [24 * MEGABYTE, 3 * MEGABYTE, 9 * MEGABYTE], seed=1)
    second = make_image(SECOND, [24 * MEGABYTE, 3 * MEGABYTE, 5 * MEGABYTE], seed=1)
    new = [digest for digest in second.digests if digest not in first.digests]
    assert len(new) == 3
    upstream.push(first, "library/first", "1.0")
    upstream.push(second, "library/second", "1.0")
    upstream.forget_accesses()
    nodes: list[Node] = []
    for name in "abcd":
        nodes.append(start_node(name, *nodes[:1]))
    for node in nodes:
        for other in nodes:
            node.agent.until_state(other.agent.name, "alive")

    at_once(*(partial(node.pull, FIRST) for node in nodes))

    assert all(node.has(first) and node.digest_of(FIRST) == first.manifest for node in nodes)
    assert upstream.served(*first.digests, least=first.total) <= MORE * first.total
    assert asked_once(upstream, first, "library/first", len(nodes))

    folders = [tmp_path / "copied-a", tmp_path / "copied-b"]
    copies = [partial(copy, node, SECOND, folder) for node, folder in zip(nodes, folders, strict=False)]
    at_once(*(partial(node.pull, SECOND) for node in nodes), *copies)

    assert all(node.has(second) and node.digest_of(SECOND) == second.manifest for node in nodes)
    assert all(copied(second, folder) for folder in folders)
    size = sum(map(second.size, new))
    assert upstream.served(*new, least=size) <= MORE * size
    assert asked_once(upstream, second, "library/second", len(nodes))
    assert upstream.served(*first.digests) <= MORE * first.total


def test_who_joins_late_and_a_second_client_cost_upstream_nothing(
    network: Network,
    upstream: Registry,
    start_cluster: Callable[..., Cluster],
    start_member: Callable[..., tuple[Host, Agent]],
    make_image: Callable[..., Image],
) -> None:
    image = make_image(FIRST, [30 * MEGABYTE, 10 * MEGABYTE])
    upstream.push(image, "library/first", "1.0")
    upstream.forget_accesses()
    agents = list(start_cluster("abc", odd=dict.fromkeys("abc", "settled")).agents.values())
    for agent in agents:
        wait_until(lambda agent=agent: agent.homes() == set("abc"), f"{agent.name} to see homes")  # type: ignore[misc]
    network.hosts["upstream"].limit_sent(40 * MBIT)
    early = [Client(agent) for agent in agents for _ in range(2)]
    with ThreadPoolExecutor(len(early) + 1) as background:
        pulls = [background.submit(client.pull, "library/first:1.0") for client in early]
        agents[0].until_received(image.layers[0], "upstream", 3 * MEGABYTE)
        _, late = start_member("d", agents[0])
        late.until_state("c", "alive")
        assert agents[0].fetch(image.layers[0])["outcome"] == "running"
        pulls.append(background.submit(Client(late).pull, "library/first:1.0"))
        assert {pull.result(60) for pull in pulls} == {image.manifest}

    assert "upstream" not in late.sources(image.layers[0])
    assert upstream.served(*image.digests, least=image.total) <= MORE * image.total
    assert asked_once(upstream, image, "library/first", len(agents) + 1)
