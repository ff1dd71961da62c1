"""podman, skopeo, Docker and BuildKit, each told by the files that are written for it, pull through one agent.

The images' registries are names that lead nowhere here, so whoever does not ask the agent fails.
"""

import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mirror.runtimes import Runtime, Wanted
from mirror.runtimes.buildkit import BuildKit
from mirror.runtimes.configuring import carry_out, plan_adding
from mirror.runtimes.docker import Docker
from mirror.runtimes.host import Host
from mirror.runtimes.podman import Podman
from mirror.runtimes.records import Records
from testbed.agents import Agent
from testbed.errors import RunError
from testbed.images import Image
from testbed.processes import Process, remove_folder, run, wait_until
from testbed.registry import Registry
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

REGISTRIES = ("docker.io", "quay.io")


@dataclass
class Site:
    """A host with an agent, and an image that its registries have.

    Args:
        root: stands for the host's `/`.
    """

    agent: Agent
    image: Image
    registry: Registry
    root: Path

    def configure(self, runtime: Runtime, program: str, files: dict[str, str]) -> str:
        """Let a runtime ask the agent, beside what its files say already; the command that is to follow."""
        for path, text in {**files, program: ""}.items():
            place = self.root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        records = Records(self.root / "var/lib/skvaller")
        plan = plan_adding(runtime, Host(self.root), Wanted(self.agent.url, REGISTRIES), records)
        assert plan is not None
        with records.locked():
            carry_out(plan, Host(self.root), records)
        return " ".join(plan.restart)

    def assert_served_once(self) -> None:
        """The registry sent the layer, and nobody else could."""
        layer = self.image.layers[0]
        assert self.registry.served(layer, least=1) == self.image.size(layer)


@pytest.fixture
def site(
    tmp_path: Path,
    make_image: Callable[..., Image],
    start_registry: Callable[..., Registry],
    start_agent: Callable[..., Agent],
    loopback: Callable[[], str],
) -> Site:
    registry, image = start_registry(), make_image("docker.io/library/app:1", [100_000], compress=True)
    for repository in ("library/app", "team/app"):
        registry.push(image, repository, "1")
    upstream = [flag for name in REGISTRIES for flag in ("--upstream", f"{name}=http://{registry.address}")]
    return Site(start_agent("a", loopback(), *upstream), image, registry, tmp_path / "host")


def test_podman_and_skopeo_pull_through_the_agent(site: Site) -> None:
    need("podman", "skopeo", "unshare")
    team = '[[registry]]\nlocation = "quay.io/team"\n[[registry.mirror]]\nlocation = "127.0.0.1:9/quay"\n'
    hint = site.configure(Podman(), "/usr/bin/podman", {"/etc/containers/registries.conf.d/50-corp.conf": team})
    assert hint == ""
    policy = site.root / "etc/containers/policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    with TemporaryDirectory(prefix="podman-") as short:

        def within(*command: str) -> None:
            mount = f'mount --bind {site.root}/etc/containers /etc/containers && exec "$@"'
            run(["unshare", "--mount", "sh", "-c", mount, "sh", "env", f"HOME={short}", f"TMPDIR={short}", *command])

        folders = ["--root", f"{short}/root", "--runroot", f"{short}/run", "--tmpdir", f"{short}/tmp"]
        apart = ["--storage-driver", "vfs", "--events-backend", "none"]
        within("podman", *folders, *apart, "pull", "--quiet", "docker.io/library/app:1")
        within("skopeo", "copy", "--quiet", "docker://quay.io/team/app:1", f"dir:{short}/copy")
        assert json.loads(Path(short, "copy/manifest.json").read_text())["config"]["digest"] == site.image.config
    site.assert_served_once()


class Dockerd(Process):
    """A dockerd without networks, and its own containerd, in one folder."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.socket = folder / "docker.sock"
        command = ["dockerd", "--config-file", str(config), "--host", f"unix://{self.socket}", "--bridge", "none"]
        command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        command += ["--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]
        super().__init__("dockerd", command, folder / "log")

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self.ask("GET", "/_ping") == b"OK"
        except OSError:
            return False

    def ask(self, method: str, path: str) -> bytes:
        with socket(AF_UNIX) as connected, closing(HTTPConnection("docker", timeout=60)) as connection:
            connected.connect(str(self.socket))
            connection.sock = connected
            connection.request(method, path)
            with connection.getresponse() as answer:
                return answer.read()

    def mirrors(self) -> Any:
        return json.loads(self.ask("GET", "/info"))["RegistryConfig"]["Mirrors"]


def test_docker_reads_its_file_again_when_it_is_told_and_pulls_through_the_agent(site: Site) -> None:
    need("dockerd", "containerd", "runc")
    config = site.root / "etc/docker/daemon.json"
    config.parent.mkdir(parents=True)
    config.write_text('{\n  "max-concurrent-downloads": 2\n}\n')
    with TemporaryDirectory(prefix="docker-") as folder:
        with Dockerd(Path(folder), config) as dockerd:
            assert dockerd.mirrors() == []
            hint = site.configure(Docker(), "/usr/bin/dockerd", {})
            assert hint == "systemctl try-reload-or-restart docker"
            os.kill(dockerd.pid, signal.SIGHUP)  # what docker.service does for it
            wait_until(lambda: dockerd.mirrors() == [f"{site.agent.url}/"], "dockerd to know the mirror")
            answer = dockerd.ask("POST", "/images/create?fromImage=library/app&tag=1").decode()
            assert "Downloaded newer image" in answer, answer
        remove_folder(Path(folder))
    site.assert_served_once()


class Buildkitd(Process):
    """A buildkitd in one folder, that runs nothing."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.address = f"unix://{folder}/buildkitd.sock"
        command = ["buildkitd", "--config", str(config), "--addr", self.address, "--root", f"{folder}/root"]
        worker = ["--oci-worker-snapshotter", "native", "--oci-worker-net", "host", "--containerd-worker", "false"]
        super().__init__("buildkitd", [*command, *worker], folder / "log")

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.ctl("debug", "workers"))
        except RunError:
            return False

    def ctl(self, *arguments: str) -> str:
        return run(["buildctl", "--addr", self.address, *arguments])


def test_buildkit_pulls_through_the_agent(site: Site) -> None:
    need("buildkitd", "buildctl", "runc")
    config = "/etc/buildkit/buildkitd.toml"
    files = {config: 'debug = true\n\n[registry."docker.io"]\n', "/usr/lib/systemd/system/buildkit.service": ""}
    assert site.configure(BuildKit(), "/usr/bin/buildkitd", files) == "systemctl try-restart buildkit"
    with TemporaryDirectory(prefix="buildkit-") as folder:
        context = Path(folder, "context")
        context.mkdir()
        lines = ("FROM docker.io/library/app:1 AS first", "FROM quay.io/team/app:1", "COPY --from=first / /first/")
        Path(context, "Dockerfile").write_text("\n".join(lines))
        with Buildkitd(Path(folder), site.root / config.lstrip("/")) as buildkitd:
            build = ["build", "--frontend", "dockerfile.v0", "--local", f"context={context}", "--local"]
            buildkitd.ctl(*build, f"dockerfile={context}", "--output", f"type=oci,dest={folder}/out.tar")
        remove_folder(Path(folder, "root"))
    site.assert_served_once()
