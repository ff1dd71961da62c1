"""An image that is on one node of a Kubernetes, and a pod of it on another one: with one `helm install`."""

import time
from collections.abc import Callable

import pytest

from testbed.kubernetes.cluster import Cluster
from testbed.kubernetes.release import Release
from testbed.processes import wait_until
from tests.kubernetes.conftest import MEGABYTE, files_below

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> dict[str, dict[str, str]]:
    """A fresh cluster of two nodes, and the files of /etc/containerd as its distribution wrote them."""
    return {node.name: files_below(node.path("/etc/containerd")) for node in cluster.add_nodes(2)}


@pytest.fixture(scope="module")
def installed(before: dict[str, dict[str, str]], release: Release, figure: Callable[[str], None]) -> Release:
    """The chart, installed by one command on nodes where nothing was prepared."""
    begun = time.monotonic()
    release.install()
    figure(f"helm install until both agents are ready: {time.monotonic() - begun:.1f} s")
    return release


def start(cluster: Cluster, name: str, image: str, node: str) -> float:
    """Have a pod of an image on a node; return how long it took until it ran, seconds."""
    begun = time.monotonic()
    cluster.deploy(name, image, node=node)
    cluster.until_running(1, f"app={name}")
    return time.monotonic() - begun


def test_an_agent_that_waits_is_small(installed: Release, cluster: Cluster, figure: Callable[[str], None]) -> None:
    used = [installed.resident(node) / 2**20 for node in cluster.nodes.values()]
    charged = [installed.charged(node)[0] / 2**20 for node in cluster.nodes.values()]
    figure(
        f"agents that wait, resident: {', '.join(f'{each:.0f} MiB' for each in used)}; "
        f"charged to their containers, at most: {', '.join(f'{each:.0f} MiB' for each in charged)}"
    )
    assert max(used) <= 80, "what the documents promise"


def test_the_second_node_pulls_from_the_first(
    installed: Release, cluster: Cluster, figure: Callable[[str], None]
) -> None:
    image = cluster.images.make("docker.io/library/app:1", [3 * MEGABYTE])
    cluster.registry.push(image, "library/app", "1")
    cluster.registry.forget_accesses()
    first, second = cluster.nodes.values()

    figure(f"first pod, from upstream: {start(cluster, 'app-1', image.name, first.name):.2f} s")
    figure(f"second pod, from the first node: {start(cluster, 'app-2', image.name, second.name):.2f} s")

    layer, size = image.layers[0], image.size(image.layers[0])
    assert first.name in installed.sources(second, layer)
    assert cluster.registry.served(layer, least=size) == size


@pytest.mark.parametrize("how", ["tagged", "imported"])
def test_an_image_that_only_a_person_brought_runs_on_the_other_node(
    how: str, installed: Release, cluster: Cluster, figure: Callable[[str], None]
) -> None:
    wanted = f"docker.io/library/{how}-by-hand:1.27.4"
    image = cluster.images.make(wanted if how == "imported" else "example.org/built-here:7", [3 * MEGABYTE])
    first, second = cluster.nodes.values()
    first.load(image.archive())
    if how == "tagged":
        first.ctr("images", "tag", image.name, wanted)
    wait_until(lambda: first.name in installed.holders(second, wanted), "the second node to know of it")

    took = start(cluster, how, wanted, second.name)

    figure(f"{how} by hand on the first node, until the pod runs on the second: {took:.2f} s")
    assert installed.sources(second, image.layers[0]) == {first.name: image.size(image.layers[0])}
    assert not [line for line in cluster.troubles() if line.startswith(how)]


def test_an_agent_that_has_served_is_small(installed: Release, cluster: Cluster, figure: Callable[[str], None]) -> None:
    used = [installed.resident(node) / 2**20 for node in cluster.nodes.values()]
    figure(f"agents that have served pulls, resident: {', '.join(f'{each:.0f} MiB' for each in used)}")
    assert max(used) <= 128 - 32, "the limit of the chart, less what the page cache of the agent's container takes"


def test_what_was_installed_leaves_nothing_behind(
    installed: Release, cluster: Cluster, before: dict[str, dict[str, str]]
) -> None:
    installed.uninstall()
    assert {name: files_below(node.path("/etc/containerd")) for name, node in cluster.nodes.items()} == before
