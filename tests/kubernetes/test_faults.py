"""What Kubernetes does to nodes and pods while others pull: no pull fails for it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.images import Image
from testbed.kubernetes.cluster import Cluster
from testbed.kubernetes.node import KubernetesNode
from testbed.kubernetes.release import Release
from testbed.network import MBIT
from testbed.processes import wait_until
from tests.kubernetes.conftest import MEGABYTE

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def installed(cluster: Cluster, release: Release) -> Release:
    """Three nodes, on which the chart was installed while no registry answered."""
    cluster.registry.stop()
    cluster.add_nodes(3)
    release.install()
    return release


@pytest.fixture(autouse=True)
def no_pull_fails(installed: Release, cluster: Cluster) -> Iterator[None]:
    """No kubelet reports a pull that failed, but for what its containerd was doing when that was restarted."""
    told = set(cluster.troubles())
    yield
    new = {line for line in cluster.troubles() if not line.startswith("restarted-puller")} - told
    assert new == set()
    assert installed.out_of_memory() == []


def brought(cluster: Cluster, release: Release, node: KubernetesNode, name: str, *sizes: int) -> Image:
    """An image that only one node has, from a file; the others know that."""
    image = cluster.images.make(f"docker.io/library/{name}", sizes)
    node.load(image.archive())
    for other in cluster.nodes.values():
        wait_until(lambda other=other: node.name in release.holders(other, image.name), f"{other.name} to find {name}")  # type: ignore[misc]
    return image


def until_begun(release: Release, node: KubernetesNode, image: Image) -> None:
    """Wait until a node has a part of an image's first layer."""
    layer = image.layers[0]
    wait_until(lambda: sum(release.sources(node, layer).values()) > MEGABYTE, f"{node.name} to pull {image.name}", 60)


def test_a_cluster_that_starts_without_its_registry_shares_what_it_has(installed: Release, cluster: Cluster) -> None:
    first, second, _ = cluster.nodes.values()
    image = brought(cluster, installed, first, "no-registry:1", MEGABYTE)
    cluster.deploy("no-registry", image.name, node=second.name)
    cluster.until_running(1, "app=no-registry")
    assert installed.sources(second, image.layers[0]) == {first.name: image.size(image.layers[0])}


def test_an_image_that_the_kubelet_collects_is_pulled_to_its_end_though_nobody_else_has_it(
    installed: Release, cluster: Cluster, figure: Callable[[str], None]
) -> None:
    first, second, _ = cluster.nodes.values()
    others = first.contents()
    image = brought(cluster, installed, first, "collected:1", *[10 * MEGABYTE] * 6)
    own = first.contents() & set(image.digests) - others  # it shares a layer with the image of the pause
    first.host.limit_sent(12 * MBIT)
    try:
        cluster.deploy("collected", image.name, node=second.name)
        until_begun(installed, second, image)
        # The disk is never so empty: the kubelet removes at once what no container uses.
        pressed = {"evictionHard": {"imagefs.available": "99%"}, "evictionPressureTransitionPeriod": "1s"}
        first.set_kubelet({**pressed, "imageMinimumGCAge": "1ns"})
        first.restart("kubelet")
        wait_until(lambda: image.name not in first.images(), "the kubelet to collect the image", 60)
        assert image.manifest in first.contents()
        cluster.until_running(1, "app=collected")
        assert {holder for layer in image.layers for holder in installed.sources(second, layer)} == {first.name}
        first.host.limit_sent(10_000 * MBIT)
        begun = time.monotonic()
        wait_until(lambda: not first.contents() & own, "containerd to free its space", 240)
        figure(f"a collected image is gone {time.monotonic() - begun:.0f} s after the pod that pulled it runs")
    finally:
        first.host.limit_sent(10_000 * MBIT)
        first.set_kubelet({})
        first.restart("kubelet")


@pytest.mark.parametrize("where", ["holder", "puller"])
def test_containerd_is_restarted_in_the_middle_of_a_pull(where: str, installed: Release, cluster: Cluster) -> None:
    first, second, _ = cluster.nodes.values()
    image = brought(cluster, installed, first, f"restarted-{where}:1", 60 * MEGABYTE)
    first.host.limit_sent(80 * MBIT)
    try:
        cluster.deploy(f"restarted-{where}", image.name, node=second.name)
        until_begun(installed, second, image)
        (first if where == "holder" else second).restart("containerd")
        cluster.until_running(1, f"app=restarted-{where}")
    finally:
        first.host.limit_sent(10_000 * MBIT)


def test_a_node_that_is_drained_and_rebooted(
    installed: Release, cluster: Cluster, figure: Callable[[str], None]
) -> None:
    first, second, _ = cluster.nodes.values()
    image = brought(cluster, installed, first, "moves:1", MEGABYTE)
    cluster.deploy("moves", image.name, replicas=2)
    cluster.until_running(2, "app=moves")
    cluster.control.kubectl("drain", first.name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    pods = cluster.until_running(2, "app=moves")
    assert first.name not in {pod["spec"]["nodeName"] for pod in pods}

    first.power_off()
    wait_until(lambda: first.name not in installed.alive(second), "the others to miss the node", 60)
    begun = time.monotonic()
    first.launch()
    cluster.until_up(first)
    installed.until_ready()
    figure(f"a node that was switched on again has its agent, and all know it, after {time.monotonic() - begun:.1f} s")
    cluster.control.kubectl("uncordon", first.name)
    wait_until(lambda: first.name in installed.holders(second, image.name), "what the node has to be found again", 60)


def test_many_pods_at_once(installed: Release, cluster: Cluster, figure: Callable[[str], None]) -> None:
    images, pods = 20, 110
    first, second, _ = cluster.nodes.values()
    made = [cluster.images.make(f"docker.io/library/many-{number}:1", [3 * MEGABYTE]) for number in range(images)]
    first.load(*(image.archive() for image in made))
    for image in made:
        wait_until(lambda name=image.name: first.name in installed.holders(second, name), "all to be found")  # type: ignore[misc]
    # By itself a kubelet begins five pulls in a second at most, and calls failed what is more.
    second.set_kubelet({"registryPullQPS": 0})
    second.restart("kubelet")
    begun = time.monotonic()
    with ThreadPoolExecutor(4) as several:
        for number, image in enumerate(made):
            replicas = pods // images + (number < pods % images)
            several.submit(
                cluster.deploy,
                f"many-{number}",
                image.name,
                node=second.name,
                replicas=replicas,
                labels={"many": "yes"},
            )
    cluster.until_running(pods, "many=yes", within_s=600)
    figure(f"{pods} pods of {images} images on one node run after {time.monotonic() - begun:.0f} s")
    most, failed = installed.charged(second)
    figure(f"its agent's container: {most / 2**20:.0f} MiB at the highest, {failed} times at the limit of 128 MiB")
    cluster.control.kubectl("delete", "deployments", "--all", "--wait=false")
