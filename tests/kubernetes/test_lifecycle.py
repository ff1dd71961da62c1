"""A release of the chart from its test to its end: upgraded, its key changed, its pods replaced, taken away."""

import base64
import json
from collections.abc import Iterator

import pytest

from testbed.images import Image
from testbed.kubernetes.cluster import Cluster
from testbed.kubernetes.release import NAMESPACE, Release
from testbed.network import Address
from testbed.processes import wait_until
from testbed.registry import Registry
from tests.kubernetes.conftest import MEGABYTE, files_below

pytestmark = pytest.mark.timeout(600)

PRIVATE = "private.example.org"
HTPASSWD = "user:$2b$04$Go7wKXOVQM5EZ5lkH18oOOGCj9cqgB1IvIxardgtYtqDvft8KzDGq\n"
PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> dict[str, dict[str, str]]:
    """A fresh cluster of two nodes, and the files of /etc as they are there."""
    return {node.name: files_below(node.path("/etc/")) for node in cluster.add_nodes(2)}


@pytest.fixture(scope="module")
def private(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Image, Registry]]:
    """An image, and its registry, which wants a password."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "htpasswd").write_text(HTPASSWD)
    image = cluster.images.make(f"{PRIVATE}/team/app:1", [3 * MEGABYTE])
    place = Address(cluster.registry.address.host, 5443)
    settings = {"auth": {"htpasswd": {"realm": "lab", "path": str(folder / "htpasswd")}}}
    registry = Registry(folder / "registry", place, netns=cluster.registry.netns, settings=settings)
    registry.hold(image, "team/app", "1")
    with registry:
        yield image, registry


@pytest.fixture(scope="module")
def installed(before: object, private: object, release: Release, cluster: Cluster) -> Release:
    """The chart, with a private registry, and what agents keep to be deleted in the end."""
    host = cluster.registry.address.host
    urls = {"docker.io": f"http://{cluster.registry.address}", PRIVATE: f"http://{host}:5443"}
    registries = [{"name": name, "url": [url]} for name, url in urls.items()]
    login = {f"{host}:5443": {"username": "user", "password": PASSWORD}}  # an agent looks for the host of the URL
    release.install(
        f"agent.registries={json.dumps(registries)}",
        f"agent.private={json.dumps([{'pattern': [f'{PRIVATE}/*'], 'policy': 'checked'}])}",
        f"upstreamCredentials={json.dumps({'registries': login})}",
        'containerd.cleanup={"deleteData": true}',
    )
    return release


def kept(release: Release, cluster: Cluster) -> dict[str, int]:
    """Bytes in the cache of each agent."""
    return {node.name: release.ask(node, "/api/v1/status")["cache"]["bytes"] for node in cluster.nodes.values()}


def left_in(cluster: Cluster) -> list[str]:
    """All that is in the namespace of the release; Kubernetes itself makes a ConfigMap and an account in each."""
    kinds = "daemonsets,pods,jobs,services,endpointslices,configmaps,secrets,serviceaccounts,roles,rolebindings"
    return sorted(cluster.control.kubectl("get", kinds, "--namespace", NAMESPACE, "--output=name").split())


def runs_of_containerd(cluster: Cluster) -> dict[str, str]:
    """What tells the containerd that runs on each node from one that was started before or after it."""
    return {node.name: node.run("cat", "/run/containerd.pid") for node in cluster.nodes.values()}


def test_the_release_is_tested_by_helm(installed: Release) -> None:
    assert "Phase:          Succeeded" in installed.test()


def test_a_pod_gets_a_private_image_by_its_secret_and_no_other_pod_does(
    installed: Release, cluster: Cluster, private: tuple[Image, Registry]
) -> None:
    image, registry = private
    layer, size = image.layers[0], image.size(image.layers[0])
    first, second = cluster.nodes.values()
    login = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    secret = {".dockerconfigjson": json.dumps({"auths": {PRIVATE: {"auth": login}}})}
    kind = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}
    cluster.control.apply({**kind, "type": "kubernetes.io/dockerconfigjson", "stringData": secret})
    cluster.deploy("with-secret", image.name, node=first.name, pull_secret="login")
    cluster.until_running(1, "app=with-secret")

    cluster.deploy("without-secret", image.name, node=second.name)
    wait_until(lambda: cluster.troubles() != [], "the pull to be refused", 60)
    assert all(line.startswith("without-secret") for line in cluster.troubles())
    assert image.name not in second.images()
    cluster.deploy("with-secret-2", image.name, node=second.name, pull_secret="login")
    cluster.until_running(1, "app=with-secret-2")
    assert registry.served(layer, least=size) == size


def test_a_pod_that_is_replaced_comes_back_with_name_and_cache_and_nobody_suspects_it(
    installed: Release, cluster: Cluster
) -> None:
    first, second = cluster.nodes.values()
    there, runs = kept(installed, cluster), runs_of_containerd(cluster)
    installed.replace(second)
    assert kept(installed, cluster) == there
    assert runs_of_containerd(cluster) == runs
    assert there[second.name] > MEGABYTE
    lines = map(json.loads, installed.log(first).splitlines())
    events = [line["event"] for line in lines if line.get("member") == second.name]
    assert events[events.index("MemberLeft") :][:2] == ["MemberLeft", "MemberJoined"]
    assert not {"MemberSuspected", "MemberFailed"} & set(events)


def test_an_upgrade_keeps_the_key_and_what_agents_keep(installed: Release, cluster: Cluster) -> None:
    keys, there = installed.keys(), kept(installed, cluster)
    installed.upgrade('agent.logLevel="debug"')
    installed.until_ready()
    assert installed.keys() == keys
    assert kept(installed, cluster) == there


def test_the_key_is_changed_while_the_cluster_runs(installed: Release, cluster: Cluster) -> None:
    (old,) = installed.keys()
    seen = []
    for step in ("install", "use", "remove"):
        installed.upgrade(f'key.rotation="{step}"')
        installed.until_ready()
        seen.append(installed.keys())
    new = seen[-1][0]
    assert seen == [[old, new], [new, old], [new]]
    assert new != old


def test_nothing_is_left_of_what_was_installed(
    installed: Release, cluster: Cluster, before: dict[str, dict[str, str]]
) -> None:
    others = [node.path("/var/lib/skvaller/of-somebody-else") for node in cluster.nodes.values()]
    for path in others:
        path.write_text("stays")
    installed.uninstall()
    assert installed.pods() == []
    # The pods of the clean-up go a moment after what made them.
    wait_until(lambda: left_in(cluster) == ["configmap/kube-root-ca.crt", "serviceaccount/default"], "all to be gone")
    assert {name: files_below(node.path("/etc/")) for name, node in cluster.nodes.items()} == before
    assert [list(path.parent.iterdir()) for path in others] == [[path] for path in others]
    cluster.control.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def test_containerd_is_left_to_the_operator_where_the_value_says_so(
    release: Release, cluster: Cluster, before: dict[str, dict[str, str]]
) -> None:
    first, second = cluster.nodes.values()
    runs = runs_of_containerd(cluster)
    release.install("containerd.restart=false")
    assert runs_of_containerd(cluster) == runs
    for node in (first, second):
        node.restart("containerd")
    image = cluster.images.make("docker.io/library/after-restart:1", [MEGABYTE])
    first.load(image.archive())
    wait_until(lambda: first.name in release.holders(second, image.name), "the second node to know of it")
    cluster.deploy("after-restart", image.name, node=second.name)
    cluster.until_running(1, "app=after-restart")
    assert release.sources(second, image.layers[0]) == {first.name: image.size(image.layers[0])}

    runs = runs_of_containerd(cluster)
    release.uninstall()
    assert runs_of_containerd(cluster) == runs
    assert {name: files_below(node.path("/etc/")) for name, node in cluster.nodes.items()} == before
