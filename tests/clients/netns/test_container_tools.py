"""skopeo and podman, which name the registry in the path: what one host's containerd holds, pulled on another host."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from testbed.containerd import write_hosts
from testbed.images import Image
from testbed.nodes import Node
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

NAME = "docker.io/library/made:1.0"


@pytest.fixture
def made(a: Node, b: Node, make_image: Callable[..., Image]) -> Image:
    """An image that only the first node's containerd has, and that the second node knows of."""
    image = make_image(NAME, [6_000_000, 200_000], compress=True)
    a.import_image(image)
    b.agent.until_found(NAME, "a")
    return image


def by_digest(image: Image) -> str:
    return f"{NAME.rpartition(':')[0]}@{image.manifest}"


@pytest.fixture(params=["tag", "digest"])
def wanted(request: pytest.FixtureRequest, made: Image) -> str:
    """The image's name in both forms."""
    return NAME if request.param == "tag" else by_digest(made)


def test_skopeo_copies_through_the_agent(b: Node, made: Image, wanted: str, tmp_path: Path) -> None:
    target = tmp_path / "copied"
    source = ["--src-tls-verify=false", f"docker://127.0.0.1:5000/{wanted}"]
    b.host.run("skopeo", "--insecure-policy", "copy", "--quiet", *source, f"dir:{target}")

    assert (target / "manifest.json").read_bytes() == made.read(made.manifest)
    for digest in (made.config, *made.layers):
        assert (target / digest.removeprefix("sha256:")).read_bytes() == made.read(digest)


def test_containerd_may_name_the_registry_in_the_path_as_well(b: Node, made: Image, tmp_path: Path) -> None:
    """As BuildKit does with a mirror that has a prefix: the same registry stands in the path and in `ns`."""
    hosts = write_hosts(tmp_path / "prefix", f"{b.agent.url}/v2/docker.io", "http://127.0.0.1:9", has_path=True)
    replace(b, hosts_dir=hosts).pull(NAME)
    assert b.agent.sources(made.layers[0]) == {"a": made.size(made.layers[0])}


@dataclass(frozen=True)
class Podman:
    """podman with folders of its own, which takes the node's agent for a mirror of docker.io."""

    node: Node
    folder: Path

    def __call__(self, *arguments: str) -> str:
        folders = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir", f"{self.folder}/tmp"]
        apart = ["--storage-driver", "vfs", "--events-backend", "none"]
        environment = ["env", f"CONTAINERS_REGISTRIES_CONF={self.folder}/registries.conf", f"TMPDIR={self.folder}"]
        return self.node.host.run(*environment, "podman", *folders, *apart, *arguments)


@pytest.fixture
def podman(b: Node) -> Iterator[Podman]:
    """podman on the second node. Its folders are short, for it takes no run root of more than 50 characters."""
    need("podman")
    with TemporaryDirectory(prefix="podman-") as folder:
        (Path(folder) / "registries.conf").write_text(
            """[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "127.0.0.1:5000/docker.io"
insecure = true
"""
        )
        yield Podman(b, Path(folder))


def test_podman_pulls_with_the_agent_as_mirror(podman: Podman, b: Node, made: Image, wanted: str) -> None:
    podman("pull", "--quiet", wanted)

    (pulled,) = json.loads(podman("image", "inspect", wanted))
    assert pulled["Digest"] == made.manifest
    assert f"sha256:{pulled['Id']}" == made.config
    assert b.agent.sources(made.layers[0]) == {"a": made.size(made.layers[0])}
