"""A cluster: a control plane, nodes, and a registry that stands for the rest of the world."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..network import Address, Network, remove_orphans
from ..processes import remove_folder, wait_until
from ..registry import Registry
from .control import Control
from .images import Images
from .node import KubernetesNode, remove_cgroups
from .programs import Programs

START_S: Final = 90.0
"""How long a node, or a pod, may take to be ready on a machine whose cores are all busy, seconds."""


class Cluster:
    """A Kubernetes without nodes yet.

    Args:
        folder: for its files; a short path, because of Unix sockets.
        programs: what is run.
        stack: stops and removes everything.
    """

    def __init__(self, folder: Path, programs: Programs, stack: ExitStack) -> None:
        remove_orphans()
        self._folder = folder
        self._programs = programs
        self._stack = stack
        stack.callback(remove_folder, folder)
        stack.callback(remove_cgroups)
        self.network = Network(stack)
        self.images = Images(folder / "images")
        upstream = self.network.host("upstream")
        self.registry = Registry(folder / "r", Address(upstream.address, 5000), netns=upstream.netns)
        stack.enter_context(self.registry)
        self.control = Control(folder / "control", self.network.host("control"), programs, stack)
        self.nodes: dict[str, KubernetesNode] = {}

    def add_nodes(
        self, count: int, *, link_bits: int | None = None, reach_registry: bool = False
    ) -> list[KubernetesNode]:
        """More nodes, named `n1` and so on; they are ready, and have only the image of the pause container.

        Args:
            count: how many.
            link_bits: how fast their links are, bits per second; unlimited if not given.
            reach_registry: whether their containerd reaches the registry itself, where no agent answers.
        """
        new = []
        for _ in range(count):
            number = len(self.nodes) + 1
            host = self.network.host(f"n{number}", link_bits)
            self.control.serve(host)
            folder = self._folder / host.name
            pods = f"10.79.{number}.0/24"
            node = KubernetesNode(folder, host, self.control, self._programs, pods)
            if reach_registry:
                node.ask_registry(f"http://{self.registry.address}")
            self.nodes[node.name] = node
            self._stack.callback(node.remove)
            node.launch()
            new.append(node)
        for node in new:
            self.until_up(node)
        return new

    def until_up(self, node: KubernetesNode) -> None:
        """Wait until a node runs, has the image of the pause container, and is ready."""
        node.until(node.is_ready, "ready", START_S)
        if self.images.pause.name not in node.images():
            node.load(self.images.pause.archive())

    # What runs

    def deploy(
        self,
        name: str,
        image: str,
        *,
        node: str | None = None,
        replicas: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Have pods of an image, as a Deployment.

        Args:
            name: of the Deployment, and the label `app` of its pods.
            image: what they run.
            node: where, by the node's name; anywhere if it is not given.
            replicas: how many.
            labels: of its pods, beside `app`.
        """
        pod = _pod(image) | ({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {})
        self.control.apply(_workload("Deployment", name, pod, labels or {}, replicas=replicas))

    def deploy_everywhere(self, name: str, image: str) -> None:
        """Have a pod of an image on every node, as a DaemonSet."""
        self.control.apply(_workload("DaemonSet", name, _pod(image), {}))

    def pods(self, label: str, namespace: str = "default") -> list[dict[str, Any]]:
        """Pods with a label, `NAME=VALUE`, as the API server shows them."""
        return list(self.control.ask(f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(label)}")["items"])

    def until_running(
        self, count: int, label: str, namespace: str = "default", *, within_s: float = START_S
    ) -> list[dict[str, Any]]:
        """Wait until so many pods with a label run and are ready, and no other is there; return them."""
        found: list[dict[str, Any]] = []

        def all_run() -> bool:
            found[:] = self.pods(label, namespace)
            return len(found) == count and all(map(is_ready, found))

        wait_until(all_run, f"{count} pods with {label} to be ready", within_s)
        return found

    def troubles(self) -> list[str]:
        """What the kubelets have told of pulls that failed, with the name of the pod."""
        events = self.control.ask("/api/v1/events")["items"]
        return [
            f"{event['involvedObject']['name']}: {event['reason']}: {event['message']}"
            for event in events
            if event["reason"] in {"Failed", "BackOff"} and "image" in event["message"].lower()
        ]


def _pod(image: str) -> dict[str, Any]:
    """The specification of a pod of an image."""
    container = {"name": "it", "image": image, "imagePullPolicy": "IfNotPresent"}
    return {"containers": [container], "terminationGracePeriodSeconds": 1}


def _workload(kind: str, name: str, pod: Mapping[str, Any], labels: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    """A Deployment or a DaemonSet, whose pods have the label `app` with its name, and others."""
    template = {"metadata": {"labels": {"app": name, **labels}}, "spec": pod}
    chosen = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {**chosen, **spec}}


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready."""
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
