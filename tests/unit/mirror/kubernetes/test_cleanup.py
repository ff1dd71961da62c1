"""Waiting for the clean-up: all nodes that the DaemonSet's controller counts, and why some are not done."""

from collections.abc import Callable
from typing import Any

import pytest

from mirror.kubernetes.cleanup import Progress, progress_of, wait
from mirror.kubernetes.server import ServerFailed


def daemon_set(wanted: int, ready: int, *, seen: int = 1) -> dict[str, Any]:
    status = {"observedGeneration": seen, "desiredNumberScheduled": wanted, "numberReady": ready}
    return {"metadata": {"generation": 1}, "status": status}


def pod(node: str, *, ready: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", [])]
    return {"spec": {"nodeName": node}, "status": {"phase": "Pending", "conditions": conditions, **status}}


def waiting_for(node: str) -> dict[str, Any]:
    """A pod that no scheduler has put on its node yet."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    why = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 1 had free ports."}
    return {"spec": {"affinity": affinity}, "status": {"phase": "Pending", "conditions": [why]}}


CRASH = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
NO_FILE = {"state": {"terminated": {"reason": "Error", "message": "config.toml:3: it is not in order\n"}}}


@pytest.mark.parametrize(
    ("pods", "left"),
    [
        ([pod("a", ready=True)], {}),
        ([pod("b", initContainerStatuses=[CRASH])], {"b": "CrashLoopBackOff: back-off 10s"}),
        ([pod("b", initContainerStatuses=[NO_FILE])], {"b": "Error: config.toml:3: it is not in order"}),
        ([waiting_for("c")], {"c": "its pod is Pending: 0/3 nodes are available: 1 had free ports."}),
        ([pod("d", phase="Unknown")], {"d": "its pod is Unknown"}),
        ([{}], {"a node that is not known": "its pod is not there"}),
    ],
)
def test_nodes_that_are_not_done_are_named_with_what_their_pods_say(pods: list[Any], left: dict[str, str]) -> None:
    assert progress_of(daemon_set(3, 2), pods) == Progress(3, 2, left)


def test_nodes_count_only_when_the_controller_has_counted_them() -> None:
    early = progress_of({"metadata": {"generation": 1}, "status": {}}, [])
    assert (early.wanted, early.is_over) == (None, False)
    assert progress_of(daemon_set(0, 0), []).is_over
    assert not progress_of(daemon_set(2, 1), []).is_over
    assert progress_of(daemon_set(2, 2), []).is_over


class Server:
    """An API server that says one thing after the other, the last one for ever."""

    namespace = "images"

    def __init__(self, *said: tuple[Any, list[Any]] | ServerFailed) -> None:
        self.said = list(said)
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        now = self.said[0]
        if isinstance(now, ServerFailed):
            self.said = self.said[1:]
            raise now
        if "/pods?" not in path:
            return now[0]
        self.said = self.said[1:] or self.said
        return {"items": now[1]}


@pytest.fixture
def run() -> Callable[..., tuple[bool, list[str]]]:
    """Wait at most 5 s of a clock of its own."""

    def go(server: Any) -> tuple[bool, list[str]]:
        told: list[str] = []
        clock = [0.0]

        def sleep(seconds: float) -> None:
            clock[0] += seconds

        return wait(server, "x-cleanup", 5.0, told.append, now=lambda: clock[0], sleep=sleep), told

    return go


def test_it_waits_until_all_are_done_and_says_how_far_it_is(run: Callable[..., tuple[bool, list[str]]]) -> None:
    failed = ServerFailed("the API server does not answer: refused")
    server = Server(
        failed,
        (daemon_set(0, 0, seen=0), []),
        (daemon_set(2, 1), [pod("a", ready=True), pod("b")]),
        (daemon_set(2, 2), []),
    )
    assert run(server) == (
        True,
        [str(failed), "the nodes are not counted yet", "undone on 1 of 2 nodes", "undone on 2 of 2 nodes"],
    )
    assert server.asked[-2:] == [
        "/apis/apps/v1/namespaces/images/daemonsets/x-cleanup",
        "/api/v1/namespaces/images/pods?labelSelector=skvaller%2Fcleanup%3Dx-cleanup",
    ]


def test_it_gives_up_and_names_who_is_left(run: Callable[..., tuple[bool, list[str]]]) -> None:
    is_done, told = run(Server((daemon_set(2, 1), [pod("a", ready=True), waiting_for("edge-4")])))
    assert not is_done
    assert told[1] == "not undone on edge-4: its pod is Pending: 0/3 nodes are available: 1 had free ports."
    assert "skvaller unconfigure" in told[-1]
