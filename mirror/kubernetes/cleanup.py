"""The end of `helm uninstall`: a DaemonSet undoes the runtime's configuration on each node, and this waits for it.

A pod of it is ready when its node is done. What is waited for are all nodes on which the DaemonSet is to run, as its
controller counts them, so a node that is down is not taken for done: it is named.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .server import Server, ServerFailed

_LOOK_S: Final = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the nodes are.

    Args:
        wanted: nodes on which the DaemonSet is to run; None while its controller has not counted them.
        done: nodes that are done.
        left: nodes that are not, each with what its pod says.
    """

    wanted: int | None
    done: int
    left: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Whether all nodes are done."""
        return self.wanted is not None and self.done >= self.wanted


def progress_of(daemon_set: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Progress:
    """Read a DaemonSet and its pods, as the API server has them."""
    status = daemon_set.get("status", {})
    is_counted = status.get("observedGeneration", 0) >= daemon_set.get("metadata", {}).get("generation", 1)
    left = {_node_of(pod): _state_of(pod) for pod in pods if not _is_ready(pod)}
    wanted = status.get("desiredNumberScheduled", 0) if is_counted else None
    return Progress(wanted, status.get("numberReady", 0), dict(sorted(left.items())))


def wait(
    server: Server,
    name: str,
    timeout_s: float,
    tell: Callable[[str], object],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Wait until all nodes are done.

    Args:
        server: the API server.
        name: of the DaemonSet; its pods have the label `skvaller/cleanup` with this value.
        timeout_s: how long, s.
        tell: is told lines for people: how far it is whenever that changes, and in the end what is left.
        now: monotonic time, s.
        sleep: waits that many seconds.

    Returns:
        Whether all are done.
    """
    told = ""
    progress: Progress | None = None
    end = now() + timeout_s
    while True:
        try:
            progress = _look(server, name)
            line = "the nodes are not counted yet" if progress.wanted is None else _line(progress)
        except ServerFailed as failed:
            line = str(failed)
        if line != told:
            tell(line)
            told = line
        if progress is not None and progress.is_over:
            return True
        if now() >= end:
            break
        sleep(_LOOK_S)
    for node, state in (progress.left if progress is not None else {}).items():
        tell(f"not undone on {node}: {state}")
    tell("when they are back: helm uninstall once more, or `skvaller unconfigure` there")
    return False


def _look(server: Server, name: str) -> Progress:
    namespace = server.namespace
    daemon_set = server.get(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
    pods = server.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=skvaller%2Fcleanup%3D{name}")
    return progress_of(daemon_set, pods.get("items", []))


def _line(progress: Progress) -> str:
    return f"undone on {progress.done} of {progress.wanted} nodes"


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(it.get("type") == "Ready" and it.get("status") == "True" for it in conditions)


def _node_of(pod: Mapping[str, Any]) -> str:
    """The node of a pod: where it runs, or for which the DaemonSet made it."""
    spec = pod.get("spec", {})
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    meant = [value for term in terms for field in term.get("matchFields", []) for value in field.get("values", [])]
    return str(spec.get("nodeName") or next(iter(meant), "a node that is not known"))


def _state_of(pod: Mapping[str, Any]) -> str:
    """What a pod says of itself: why a container waits or ended, or why it has no node yet."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        for state in (container.get("state", {}), container.get("lastState", {})):
            for kind in ("waiting", "terminated"):
                told = state.get(kind, {})
                if told.get("reason") not in (None, "PodInitializing", "Completed"):
                    return ": ".join(filter(None, (told["reason"], told.get("message", "").strip()[-400:])))
    waits = (it["message"] for it in status.get("conditions", []) if it.get("status") == "False" and it.get("message"))
    return f"its pod is {status.get('phase', 'not there')}" + next((f": {message}" for message in waits), "")
