"""Clusters of IPv6, and of both families, and agents that are reached by a port of their node alone."""

import ipaddress
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from testbed.kubernetes.families import IPV4, IPV6
from testbed.kubernetes.programs import Programs
from testbed.kubernetes.release import Release
from testbed.processes import wait_until
from tests.kubernetes.conftest import MEGABYTE, a_cluster, files_below

pytestmark = pytest.mark.timeout(600)

CASES = {
    "IPv6": ([IPV6], {}),
    "both, IPv4 first": ([IPV4, IPV6], {}),
    "hostPort": ([IPV4], {"mode": "hostPort"}),
    "hostPort, IPv6": ([IPV6], {"mode": "hostPort", "hostIP": ""}),
}
"""Families of addresses, and the chart's values of `network`."""


@pytest.mark.parametrize("case", CASES)
def test_agents_meet_and_share_in_every_network(case: str, programs: Programs, image: Path) -> None:
    families, values = CASES[case]
    with a_cluster(programs, families) as cluster:
        release = Release(cluster, image, on_loopback=values.get("hostIP") != "")
        first, second = cluster.add_nodes(2)
        before = {node.name: files_below(node.path("/etc/")) for node in (first, second)}
        release.install(f"network={json.dumps(values)}")

        is_in_pods = values.get("mode") == "hostPort"
        for node in (first, second):
            networks = [ipaddress.ip_network(pods) for pods in node.pods]
            (row,) = (it for it in release.ask(node, "/api/v1/members")["members"] if it["name"] == node.name)
            address = ipaddress.ip_address(urlsplit(row["peer"]).hostname)
            assert address.version == (6 if families[0] is IPV6 else 4)
            assert (address in networks[0]) == is_in_pods
        assert "Phase:          Succeeded" in release.test()

        made = cluster.images.make("docker.io/library/by-hand:1", [3 * MEGABYTE])
        first.load(made.archive())
        wait_until(lambda: first.name in release.holders(second, made.name), "the second node to know of it")
        cluster.deploy("by-hand", made.name, node=second.name)
        cluster.until_running(1, "app=by-hand")
        assert release.sources(second, made.layers[0]) == {first.name: made.size(made.layers[0])}

        release.uninstall()
        assert {node.name: files_below(node.path("/etc/")) for node in (first, second)} == before
