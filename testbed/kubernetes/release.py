"""The chart, installed in a cluster, and what its agents say."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..network import Address, get
from ..processes import usage, wait_until
from .cluster import START_S, Cluster
from .node import KubernetesNode

CHART: Final = Path(__file__).parents[2] / "deploy" / "chart" / "skvaller"
NAMESPACE: Final = "skvaller"
_HERE: Final = ("--namespace", NAMESPACE)
_PORT: Final = 5000
_AGENTS: Final = ("app.kubernetes.io/component=agent", NAMESPACE)


class Release:
    """A release of the chart, which is not installed yet.

    Args:
        cluster: where.
        image: archive of the agent's image, with one name.
        on_loopback: whether a node asks its agent at 127.0.0.1; else at the node's own address.
    """

    def __init__(self, cluster: Cluster, image: Path, *, on_loopback: bool = True) -> None:
        self._cluster = cluster
        self._image = image
        self._on_loopback = on_loopback

    def bring_image(self, *nodes: KubernetesNode) -> str:
        """Put the agent's image onto nodes, as a person would who has it as a file; return its name."""
        names = set()
        for node in nodes:
            before = node.images()
            node.load(self._image)
            names |= {name for name in node.images() if "/skvaller:" in name} or node.images() - before
        (name,) = names
        return name

    def install(self, *settings: str, wait: bool = True) -> None:
        """One `helm install`, with the image on all nodes; settings are as for `--set-json`."""
        nodes = list(self._cluster.nodes.values())
        repository, _, tag = self.bring_image(*nodes).rpartition(":")
        upstream = [{"name": "docker.io", "url": [f"http://{self._cluster.registry.address}"]}]
        values = [
            f"image={json.dumps({'repository': repository, 'tag': tag})}",
            f"agent.registries={json.dumps(upstream)}",
            *settings,
        ]
        sets = [word for value in values for word in ("--set-json", value)]
        command = ["install", "skvaller", str(CHART), *_HERE, "--create-namespace", *sets]
        self._cluster.control.helm(*command)
        if wait:
            self.until_ready()

    def upgrade(self, *settings: str) -> None:
        """`helm upgrade` to other settings, as for `--set-json`; return when all pods are rolled."""
        sets = [word for value in settings for word in ("--set-json", value)]
        self._cluster.control.helm("upgrade", "skvaller", str(CHART), *_HERE, "--reuse-values", *sets)
        self._until_rolled()

    def test(self) -> str:
        """`helm test`; return what it printed, or raise RunError."""
        return self._cluster.control.helm("test", "skvaller", *_HERE)

    def keys(self) -> list[str]:
        """The cluster's keys, as the secret has them: the first one seals."""
        secret = self._cluster.control.ask(f"/api/v1/namespaces/{NAMESPACE}/secrets/skvaller-key")
        return base64.b64decode(secret["data"]["cluster.key"]).decode().split()

    def log(self, node: KubernetesNode) -> str:
        """What the agent of a node has written, as `kubectl logs` shows it."""
        (pod,) = (pod for pod in self.pods() if pod["spec"]["nodeName"] == node.name)
        return self._cluster.control.kubectl("logs", *_HERE, pod["metadata"]["name"], "--container=agent")

    def replace(self, node: KubernetesNode) -> None:
        """Delete the pod of a node's agent, and wait until another is ready."""
        (pod,) = (pod for pod in self.pods() if pod["spec"]["nodeName"] == node.name)
        self._cluster.control.kubectl("delete", "pod", *_HERE, pod["metadata"]["name"])
        self.until_ready()

    def uninstall(self) -> None:
        """`helm uninstall`."""
        self._cluster.control.helm("uninstall", "skvaller", *_HERE, "--wait")

    def until_ready(self) -> None:
        """Wait until an agent is ready on every node, and all of them know each other."""
        nodes = self._cluster.nodes
        self._cluster.until_running(len(nodes), *_AGENTS, within_s=4 * START_S)
        wait_until(lambda: all(self.alive(node) == set(nodes) for node in nodes.values()), "agents to meet", START_S)

    def roll(self) -> None:
        """Replace all agents' pods, as an upgrade does; return when Kubernetes says that it is done."""
        self._cluster.control.kubectl("rollout", "restart", "daemonset", *_HERE)
        self._until_rolled()

    def _until_rolled(self) -> None:
        command = ["rollout", "status", "daemonset", *_HERE, "--timeout=900s"]
        self._cluster.control.kubectl(*command, timeout_s=920)

    def pods(self) -> list[dict[str, Any]]:
        """The agents' pods."""
        return self._cluster.pods(*_AGENTS)

    def out_of_memory(self) -> list[str]:
        """The pods of agents that the kernel killed, because they had too much memory."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            for status in pod["status"].get("containerStatuses", ())
            if "OOMKilled" in json.dumps([status.get("state"), status.get("lastState")])
        ]

    # What the agent of a node says

    def ask(self, node: KubernetesNode, path: str) -> Any:
        """What it answers on a status endpoint."""
        place = Address("127.0.0.1" if self._on_loopback else node.host.address, _PORT)
        return json.loads(get(f"http://{place}{path}", node.host.netns))

    def alive(self, node: KubernetesNode) -> set[str]:
        """The members that it sees alive, itself included; none if it does not answer."""
        with suppress(OSError):
            return {row["name"] for row in self.ask(node, "/api/v1/members")["members"] if row["state"] == "alive"}
        return set()

    def sources(self, node: KubernetesNode, digest: str) -> Mapping[str, int]:
        """Bytes by source of its last fetch of some content; empty if it never fetched any."""
        fetches = self.ask(node, "/api/v1/fetches")["fetches"]
        return next((dict(row["sources"]) for row in fetches if row["digest"] == digest), {})

    def holders(self, node: KubernetesNode, name: str) -> set[str]:
        """The members that, as it finds, hold the image of a name."""
        with suppress(OSError):
            found = self.ask(node, f"/api/v1/find?q={name}")
            return {row["member"] for rows in found["holders"].values() for row in rows if row["has"]}
        return set()

    def resident(self, node: KubernetesNode) -> int:
        """Resident memory of its process now, bytes."""
        found = usage(node.pid_of("/usr/bin/skvaller agent"))
        assert found is not None
        return found.rss_bytes

    def charged(self, node: KubernetesNode) -> tuple[int, int]:
        """What its container's limit counts: the most so far, bytes, and how often that was at the limit.

        Files that were read count as well, until something else needs the memory. Source: cgroup v1, memory.rst.
        """
        (pod,) = (pod for pod in self.pods() if pod["spec"]["nodeName"] == node.name)
        (status,) = pod["status"]["containerStatuses"]
        group = Path("/sys/fs/cgroup/memory/k8s.io", status["containerID"].removeprefix("containerd://"))
        most, failed = ((group / f"memory.{name}").read_text() for name in ("max_usage_in_bytes", "failcnt"))
        return int(most), int(failed)
