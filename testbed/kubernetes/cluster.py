"""A cluster: a control plane, nodes, and a registry that stands for the rest of the world."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..network import Address, Host, Network, remove_orphans
from ..processes import remove_folder, wait_until
from ..registry import Registry
from .control import Control
from .families import IPV4, Family
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
        families: of its addresses; what has one address has one of the first.
    """

    def __init__(
        self, folder: Path, programs: Programs, stack: ExitStack, families: Sequence[Family] = (IPV4,)
    ) -> None:
        remove_orphans()
        self.families = families
        self._folder = folder
        self._programs = programs
        self._stack = stack
        stack.callback(remove_folder, folder)
        stack.callback(remove_cgroups)
        self.network = Network(stack)
        self.images = Images(folder / "images")
        upstream = self._host("upstream")
        self.registry = Registry(folder / "r", Address(upstream.address, 5000), netns=upstream.netns)
        stack.enter_context(self.registry)
        control = self._host("control")
        self.control = Control(folder / "control", control, programs, stack, families)
        self.nodes: dict[str, KubernetesNode] = {}
        self._servers = [upstream, control]

    def _host(self, name: str, link_bits: int | None = None) -> Host:
        """A host with an address of each family."""
        host = self.network.host(name, link_bits)
        number = len(self.network.hosts)
        return host.renumber(*(f"{family.host(number)}/{family.bits}" for family in self.families))

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
            host = self._host(f"n{number}", link_bits)
            self.control.serve(host)
            folder = self._folder / host.name
            pods = [family.pods_of(number) for family in self.families]
            node = KubernetesNode(folder, host, self.control, self._programs, pods)
            self._route(node)
            if reach_registry:
                node.ask_registry(f"http://{self.registry.address}")
            self.nodes[node.name] = node
            self._stack.callback(node.remove)
            node.launch()
            new.append(node)
        for node in new:
            self.until_up(node)
        return new

    def _route(self, node: KubernetesNode) -> None:
        """Lead to the pods of a node, and from it to those of all others, as a network plugin of the cluster does."""
        others = list(self.nodes.values())
        ways = [(host, node) for host in (*self._servers, *(other.host for other in others))]
        for host, there in [*ways, *((node.host, other) for other in others)]:
            for pods, address in zip(there.pods, (there.host.address, *there.host.others), strict=True):
                host.run("ip", "route", "add", pods, "via", address)

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
        pull_secret: str | None = None,
    ) -> None:
        """Have pods of an image, as a Deployment.

        Args:
            name: of the Deployment, and the label `app` of its pods.
            image: what they run.
            node: where, by the node's name; anywhere if it is not given.
            replicas: how many.
            labels: of its pods, beside `app`.
            pull_secret: name of a secret with the registry's password.
        """
        pod = _pod(image) | ({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {})
        if pull_secret:
            pod["imagePullSecrets"] = [{"name": pull_secret}]
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
