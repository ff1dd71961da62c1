"""Whether a runtime asks the agent is seen by a pull that fails at once, asks nobody else, and keeps nothing."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mirror.cli.running_agent import exchange, read
from mirror.doctor.patient import RunningAgent
from mirror.doctor.probing import ProbeFacts, cri, ctr, probe, program
from testbed.agents import Agent, Endpoints
from testbed.containerd import write_hosts
from testbed.processes import Process, run, wait_until
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

SETTINGS = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{hosts}"
"""
REGISTRIES = """\
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "{agent}/docker.io"
insecure = true
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One that asks no registry: it would have to for any other image."""
    need("setpriv")
    with Agent(tmp_path_factory.mktemp("agent"), "n1", Endpoints.free(), ["--offline", "all"]) as started:
        yield started


@pytest.fixture
def running(agent: Agent) -> RunningAgent:
    return RunningAgent(
        lambda path: read(agent.url, exchange(agent.url, path)),
        lambda path: read(agent.url, exchange(agent.url, path, b"")),
    )


def methods(facts: ProbeFacts) -> list[str]:
    return [seen.method for seen in facts.sightings]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's."""
    with TemporaryDirectory(prefix="skvaller-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def test_containerd_is_seen_by_its_kubernetes_interface_and_by_ctr(
    agent: Agent, running: RunningAgent, folder: Path
) -> None:
    need("containerd", "ctr", "setpriv")
    hosts = write_hosts(folder / "hosts", agent.url)
    settings = folder / "config.toml"
    settings.write_text(SETTINGS.format(folder=folder, hosts=hosts))
    socket = str(folder / "c.sock")
    containerd = Process("containerd", ["containerd", "--config", str(settings)], folder / "log")
    containerd.launch()
    try:
        client = ["ctr", "--address", socket]
        wait_until(lambda: _answers([*client, "version"]), "containerd to answer")
        for way in (cri(socket), ctr(socket, str(hosts))):
            facts = probe([way], running)
            assert methods(facts) == ["HEAD"], facts
            assert facts.sightings[0].registry == "docker.io"
        for namespace in ("k8s.io", "default"):
            for kept in ("images", "content"):
                assert run([*client, "--namespace", namespace, kept, "ls", "--quiet"]) == ""
        (hosts / "docker.io/hosts.toml").write_text('server = "http://127.0.0.1:1"\n')
        assert methods(probe([cri(socket)], running)) == [], "it asks another one"
    finally:
        containerd.stop()


def _answers(command: list[str]) -> bool:
    with suppress(Exception):
        run(command)
        return True
    return False


def test_podman_is_seen_and_keeps_nothing(
    agent: Agent, running: RunningAgent, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("podman")
    registries = folder / "registries.conf"
    registries.write_text(REGISTRIES.format(agent=agent.address))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries))
    own = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    facts = probe([program("podman", *own, "pull", "--quiet")], running)
    assert methods(facts)[:1] == ["GET"], facts
    assert facts.sightings[0].registry == "docker.io"
    assert run(["podman", *own, "images", "--quiet"]) == ""


def test_an_agent_that_is_not_told_of_a_probe_takes_it_for_an_image(agent: Agent) -> None:
    answer = exchange(agent.url, "/v2/skvaller-doctor/0123456789abcdef01234567/manifests/probe?ns=docker.io")
    assert answer.status == 404
