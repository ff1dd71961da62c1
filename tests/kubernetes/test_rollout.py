"""The agents are replaced, one node after the other, while all nodes pull."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.kubernetes.cluster import Cluster
from testbed.kubernetes.release import Release
from testbed.network import MBIT
from tests.kubernetes.conftest import MEGABYTE

pytestmark = pytest.mark.timeout(1800)

NODES = int(os.environ.get("KUBERNETES_NODES", "8"))
"""Fewer are for a machine with little memory: a node takes some 300 MB."""


def test_agents_are_rolled_while_all_nodes_pull(
    cluster: Cluster, release: Release, figure: Callable[[str], None]
) -> None:
    # While the agent of a node is away, its containerd asks the registry itself.
    cluster.add_nodes(NODES, link_bits=200 * MBIT, reach_registry=True)
    release.install()
    begun, pulled = time.monotonic(), 0
    with ThreadPoolExecutor(1) as background:
        rolled = background.submit(release.roll)
        while not rolled.done():
            name = f"wave-{pulled}"
            image = cluster.images.make(f"docker.io/library/{name}:1", [20 * MEGABYTE, 10 * MEGABYTE])
            cluster.registry.push(image, f"library/{name}", "1")
            cluster.deploy_everywhere(name, image.name)
            cluster.until_running(NODES, f"app={name}", within_s=300)
            cluster.control.kubectl("delete", "daemonset", name, "--wait=false")
            pulled += 1
        rolled.result()

    release.until_ready()
    figure(f"{NODES} nodes, all agents replaced in {time.monotonic() - begun:.0f} s, meanwhile {pulled} fan-outs")
    most = [release.charged(node)[0] / 2**20 for node in cluster.nodes.values()]
    figure(f"the agents' containers: {min(most):.0f} to {max(most):.0f} MiB at the highest, the limit is 128 MiB")
    assert cluster.troubles() == []
    assert release.out_of_memory() == []
