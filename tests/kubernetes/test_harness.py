"""The Kubernetes that the other tests use is one."""

from testbed.kubernetes.cluster import Cluster


def test_pods_run_on_the_node_that_they_name(cluster: Cluster) -> None:
    image = cluster.images.make("docker.io/library/here:1", [100_000])
    for node in cluster.add_nodes(2):
        node.load(image.archive())
        cluster.deploy(f"on-{node.name}", image.name, node=node.name)
    for name in cluster.nodes:
        (pod,) = cluster.until_running(1, f"app=on-{name}")
        assert pod["spec"]["nodeName"] == name
        assert pod["status"]["podIP"].startswith(f"10.79.{name.removeprefix('n')}.")
