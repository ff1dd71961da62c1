"""`skvaller configure`, and a real containerd that starts with what was written and pulls as for the kubelet."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from testbed.agents import Agent, skvaller
from testbed.images import Image
from testbed.processes import Process, remove_folder, run
from testbed.registry import Registry
from tests.clients.conftest import need

pytestmark = pytest.mark.clients

IMAGE = "docker.io/library/made:1"
AS_SHIPPED = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
"""Debian's configuration."""


class KubernetesContainerd(Process):
    """containerd with its plugin for Kubernetes; a folder's `etc/containerd` and `var/lib/containerd` are its own."""

    def __init__(self, host: Path) -> None:
        self.socket = host / "run" / "c.sock"
        binds = "".join(f"mount --bind {host}{path} {path}\n" for path in ("/etc/containerd", "/var/lib/containerd"))
        script = f"set -e\n{binds}exec containerd --state {host}/run/state --address {self.socket}\n"
        super().__init__("containerd", ["unshare", "--mount", "sh", "-c", script], host / "containerd.log")

    def is_ready(self) -> bool:
        return self.call("RuntimeService/Status") is not None

    def call(self, method: str, body: bytes = b"") -> bytes | None:
        """Ask its CRI; the answer's bytes, or None if it gives none."""
        with grpc.insecure_channel(f"unix://{self.socket}") as channel:
            try:
                return bytes(channel.unary_unary(f"/runtime.v1.{method}")(body, timeout=20))
            except grpc.RpcError:
                return None

    def pull(self, image: str) -> bool:
        """Pull an image as the kubelet does; whether it is there then."""
        name = image.encode()
        spec = b"\x0a" + bytes([len(name)]) + name  # ImageSpec.image
        return self.call("ImageService/PullImage", b"\x0a" + bytes([len(spec)]) + spec) is not None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A folder that is the `/` of a host with Debian's containerd."""
    need("containerd", "unshare", "mount")
    host = tmp_path / "host"
    for folder in ("etc/containerd", "usr/bin", "var/lib/containerd", "run"):
        (host / folder).mkdir(parents=True)
    (host / "etc/containerd/config.toml").write_text(AS_SHIPPED)
    shutil.copy(shutil.which("containerd") or "", host / "usr/bin/containerd")
    for folder in ("/etc/containerd", "/var/lib/containerd"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    yield host
    remove_folder(host)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_containerd_pulls_through_the_agent_and_has_its_files_back(
    host: Path,
    tmp_path: Path,
    loopback: Callable[[], str],
    start_registry: Callable[..., Registry],
    start_agent: Callable[..., Agent],
    make_image: Callable[..., Image],
) -> None:
    upstream = start_registry()
    image = make_image(IMAGE, [300_000, 50_000])
    upstream.push(image, "library/made", "1")
    agent = start_agent("a", loopback(), "--upstream", f"docker.io=http://{upstream.address}")
    before = files(host / "etc")
    places = ("--root", str(host), "--data-dir", str(tmp_path / "state"))
    told = json.loads(run(skvaller("configure", "containerd", *places, "--agent", str(agent.address), "--json")))
    assert told["silent"] is None
    with KubernetesContainerd(host) as containerd:
        assert containerd.pull(IMAGE), containerd.output[-3000:]
    assert agent.fetch(image.layers[0])["sources"].keys() == {"upstream"}
    run(skvaller("unconfigure", *places))
    assert files(host / "etc") == before
    assert not (host / "etc/containerd/certs.d").exists()
