"""Pulls as a kubelet makes them: over CRI, by a containerd that discards layers, with the credentials of a pod.

A containerd that throws layers away once it has unpacked them, as Amazon's, Google's, Kind's and Talos' do, has nothing
to share. The agent through which they were pulled has them in its cache, and gives them to the other nodes.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from testbed.agents import Agent
from testbed.containerd import Containerd, Programs, version_of, write_hosts
from testbed.images import Image
from testbed.network import free_address
from testbed.processes import remove_folder, run, wait_until
from testbed.registry import Registry
from tests.clients.conftest import need
from tests.clients.test_private_registries import HTPASSWD, PASSWORD

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

NAME = "docker.io/library/app:1"

_OLD = """
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{hosts}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    discard_unpacked_layers = true
"""
_NEW = """
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  discard_unpacked_layers = true
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{hosts}"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_port = "0"
"""
"""The settings of containerd 1 and of later ones."""


class Kubelets(Containerd):
    """A containerd with the plugin for Kubernetes, that discards layers."""

    def __init__(self, folder: Path, agent: Agent, programs: Programs) -> None:
        super().__init__(folder, programs=programs)
        hosts = write_hosts(folder / "certs.d", agent.url, "http://127.0.0.1:9")
        settings = folder / "config.toml"
        lines = [line for line in settings.read_text().splitlines() if not line.startswith("disabled_plugins")]
        others = 'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]'
        lines.insert(3, others)
        plugin = _OLD if programs.version[0] == 1 else _NEW
        settings.write_text("\n".join(lines) + plugin.format(hosts=hosts))

    def pull(self, name: str, user: str = "", password: str = "") -> None:
        """Pull as a kubelet does, with the credentials of a pod, which name no server.

        It is PullImageRequest(image=ImageSpec(image=…), auth=AuthConfig(username=…, password=…)) of runtime.v1.
        """
        message = _field(1, _field(1, name.encode()))
        if user:
            message += _field(2, _field(1, user.encode()) + _field(2, password.encode()))
        with grpc.insecure_channel(f"unix://{self.socket}") as channel:
            channel.unary_unary("/runtime.v1.ImageService/PullImage")(message, timeout=60)


def _field(number: int, content: bytes) -> bytes:
    """A field of a message of Protocol Buffers that has bytes, fewer than 128 of them."""
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, Agent], Kubelets]]:
    """Start a containerd in front of an agent."""
    need("containerd", "ctr")
    programs = Programs("containerd", "ctr", version_of(run(["containerd", "--version"])))
    started: list[Kubelets] = []

    def go(name: str, agent: Agent) -> Kubelets:
        containerd = Kubelets(tmp_path / name, agent, programs)
        containerd.start()
        started.append(containerd)
        return containerd

    yield go
    for each in started:
        each.stop()
        remove_folder(each.folder)


def test_node_serves_others_what_its_containerd_has_thrown_away(
    start: Callable[[str, Agent], Kubelets],
    start_agent: Callable[..., Agent],
    start_registry: Callable[..., Registry],
    make_image: Callable[..., Image],
    loopback: Callable[[], str],
    tmp_path: Path,
) -> None:
    registry, app = start_registry(), make_image("app", [3_000_000, 1_000_000], compress=True)
    registry.push(app, "library/app", "1")
    asked = ["--upstream", f"docker.io=http://{registry.address}"]
    first = start_agent("n1", loopback(), *asked, "--containerd", str(tmp_path / "c1" / "c.sock"))
    containerd = start("c1", first)
    containerd.pull(NAME)
    wait_until(lambda: not any(containerd.blob_path(layer).exists() for layer in app.layers), "layers are discarded")
    assert containerd.blob_path(app.config).exists()
    second = start_agent("n2", loopback(), *asked, "--join", first.gossip)
    second.until_found(NAME, "n1")
    registry.stop()
    start("c2", second).pull(NAME)
    for layer in app.layers:
        assert second.sources(layer).keys() == {"n1"}


def test_pod_gets_a_private_image_by_its_own_password_and_no_other_pod_does(
    start: Callable[[str, Agent], Kubelets],
    start_agent: Callable[..., Agent],
    make_image: Callable[..., Image],
    loopback: Callable[[], str],
    tmp_path: Path,
) -> None:
    need("docker-registry", "skopeo", "setpriv")
    files = {
        "htpasswd": HTPASSWD,
        "auth.json": "",
        "key": base64.b64encode(bytes(range(32))).decode(),
        "agent.toml": '[[private]]\npattern = "docker.io/*"\npolicy = "checked"\n',
    }
    app, address = make_image("app", [200_000], compress=True), free_address(loopback())
    login = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    files["auth.json"] = json.dumps({"auths": {str(address): {"auth": login}}})
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    settings = {"auth": {"htpasswd": {"realm": "lab", "path": str(tmp_path / "htpasswd")}}}
    (tmp_path / "htpasswd").chmod(0o644)
    registry = Registry(tmp_path / "images" / "registry", address, settings=settings)
    registry.hold(app, "library/app", "1")
    flags = ["--config", str(tmp_path / "agent.toml"), "--upstream-auth", str(tmp_path / "auth.json")]
    with registry:
        agent = start_agent(
            "n1", loopback(), *flags, "--key-file", str(tmp_path / "key"), "--upstream", f"docker.io=http://{address}"
        )
        containerd = start("c1", agent)
        for user, password in (("", ""), ("user", "wrong")):
            with pytest.raises(grpc.RpcError):
                containerd.pull(NAME, user, password)
        containerd.pull(NAME, "user", PASSWORD)
    assert agent.has_cached(app.layers[0])
