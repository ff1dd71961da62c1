"""The agent's container image, built as `./dev image` does it: what is in it, and that it runs beside other agents."""

import fcntl
import importlib.metadata
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
import zstandard

from testbed.agents import Agent, Endpoints
from testbed.images import Image
from testbed.network import Host, Network
from testbed.processes import clean_environment, run
from testbed.registry import Registry
from tests.clients.conftest import need
from tests.clients.pulling import Client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[3]
NAME: Final = "docker.io/library/skvaller"
COMPRESSED_MAX: Final = 45_000_000
"""Bytes that a node has to pull, at most."""
PROGRAMS: Final = {"python3", "python3.11", "skvaller"}
UNWANTED: Final = {"ensurepip", "idlelib", "include", "pip", "setuptools", "test", "tests", "wheel"}
"""Names of folders that no agent needs."""
UNWANTED_ENDS: Final = (".a", ".deb", ".gz", ".h", ".pyx", ".whl")
WRITABLE: Final = {"tmp"}
"""Folders in which everybody may write, as programs expect it."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `./dev image` makes for this processor, once for all processes of this run; or the one named."""
    if named := os.environ.get("SKVALLER_TEST_IMAGE"):
        return Path(named)
    need("buildah", "mmdebstrap", "skopeo")
    if shutil.which("apt-get") is None:
        pytest.skip("is no Debian: the image is made of Debian's packages, by apt-get")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    out = shared / "agent-image"
    with (shared / "agent-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            command = [str(ROOT / "deploy/image/make"), "--debootstrap", "bookworm", "--out", str(out)]
            made = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False, env=clean_environment()
            )
            assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    (file,) = out.glob("*.oci.tar")
    return file


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the image, as a container sees them."""
    layout, root = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("image-root")
    run(["skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"dir:{layout}"])
    for layer in json.loads((layout / "manifest.json").read_text())["layers"]:
        with (layout / layer["digest"].partition(":")[2]).open("rb") as file:
            unpacked = zstandard.ZstdDecompressor().stream_reader(file).read()
        subprocess.run(["tar", "--extract", f"--directory={root}"], input=unpacked, check=True)
    yield root
    shutil.rmtree(root)


def test_it_is_small(archive: Path) -> None:
    with tarfile.open(archive) as file:
        assert sum(member.size for member in file.getmembers()) <= COMPRESSED_MAX


def test_it_has_nothing_that_an_agent_does_not_need(root: Path) -> None:
    programs, loose, unwanted = set(), set(), set()
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            here, mode = str(path.relative_to(root)), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            assert not mode & (stat.S_ISUID | stat.S_ISGID), f"{here} has the rights of another user"
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"{here} is neither a file nor a folder"
            if mode & stat.S_IWOTH:
                loose.add(here)
            if name in UNWANTED or name.endswith(UNWANTED_ENDS):
                unwanted.add(here)
            is_library = ".so" in name or name.endswith((".py", ".pyc"))
            if stat.S_ISREG(mode) and mode & 0o111 and not is_library:
                programs.add(here)
    assert {Path(it).name for it in programs} <= PROGRAMS, "no shell, no compiler, no tool for packages"
    assert loose == WRITABLE
    assert unwanted == set()
    assert not any((root / it).exists() for it in ("var/cache", "var/lib/apt", "root", "home", "etc/apt"))


def test_its_list_of_what_is_in_it_is_what_is_in_it(root: Path, archive: Path) -> None:
    listed = json.loads((root / "usr/share/sbom/skvaller.cdx.json").read_text())["components"]
    beside = next(archive.parent.glob("*.cdx.json"))
    assert json.loads(beside.read_text())["components"] == listed
    purls = {(each["purl"].partition("/")[0], each["name"].lower()) for each in listed}
    site = root / "usr/lib/python3/dist-packages"
    python = {("pkg:pypi", each.name.lower()) for each in importlib.metadata.distributions(path=[str(site)])}
    debian = {("pkg:deb", file.name) for file in (root / "var/lib/dpkg/status.d").iterdir()}
    assert purls == python | debian
    # What has a licence has its words; and what has no package has no licence.
    assert {file.parent.name for file in root.glob("usr/share/doc/*/copyright")} <= {name for _, name in debian}


class Containers:
    """podman with folders of its own; what runs is removed at the end."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self._folders = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"]
        run([*self._podman, "load", "--quiet", "--input", str(archive)])
        (self.image,) = run([*self._podman, "images", "--quiet", NAME]).split()

    @property
    def _podman(self) -> list[str]:
        return ["podman", *self._folders, "--cgroup-manager", "cgroupfs", "--events-backend", "none"]

    def command(self, *options: str) -> list[str]:
        """A command that runs the image as one should: as nobody, with a root file system that is read-only."""
        apart = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        # Podman's own limits are higher than a container of CI may set.
        limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
        return [*self._podman, "run", "--rm", "--network=host", *apart, *limits, *options, self.image]

    def remove(self) -> None:
        """Remove everything."""
        run([*self._podman, "rm", "--all", "--force", "--time", "0"])
        run([*self._podman, "rmi", "--all", "--force"])


@pytest.fixture
def containers(archive: Path) -> Iterator[Containers]:
    """Runs the image. Its folders are short, for podman takes no run root of more than 50 characters."""
    need("podman", "runc")
    with TemporaryDirectory(prefix="image-") as folder:
        containers = Containers(Path(folder), archive)
        yield containers
        containers.remove()


@pytest.fixture
def start_contained(
    containers: Containers, network: Network, tmp_path: Path
) -> Iterator[Callable[[str, Sequence[str]], Agent]]:
    """Start an agent of the image, on a host of its own, with no more than a folder for its data."""
    agents: list[Agent] = []

    def start(name: str, flags: Sequence[str]) -> Agent:
        host, folder = network.host(name), tmp_path / f"agent-{name}"
        folder.mkdir()
        os.chown(folder, 65532, 65532)
        # `ip netns exec` mounts a /sys without cgroups, for which podman asks.
        back = ["nsenter", f"--mount=/proc/{os.getpid()}/ns/mnt"]
        program = [*back, *containers.command(f"--volume={folder}:{folder}")]
        agent = Agent(folder, name, Endpoints.at(host.address, "127.0.0.1"), flags, netns=host.netns, program=program)
        agents.append(agent)
        agent.start()
        return agent

    yield start
    for agent in agents:
        agent.stop()


def test_agents_of_it_share_an_image_with_one_that_runs_without_a_container_and_with_each_other(
    containers: Containers,
    start_contained: Callable[[str, Sequence[str]], Agent],
    start_member: Callable[..., tuple[Host, Agent]],
    upstream: Registry,
    make_image: Callable[..., Image],
    record_property: Callable[[str, object], None],
) -> None:
    assert run([*containers.command(), "--version"]).startswith("skvaller, version ")
    image = make_image("docker.io/library/app:1", [3_000_000])
    (layer,) = image.layers
    upstream.push(image, "library/app", "1")
    _, without = start_member("without")
    assert Client(without).pull("library/app:1") == image.manifest
    upstream.stop()
    flags = ["--upstream", f"docker.io=http://{upstream.address}"]
    holder = without
    for name in ("first", "second"):
        begun = time.monotonic()
        agent = start_contained(name, [*flags, "--join", holder.gossip])
        record_property("figure", f"an agent of the image is ready {time.monotonic() - begun:.1f} s after `podman run`")
        agent.until_found(layer, holder.name)
        assert Client(agent).get(f"/v2/library/app/blobs/{layer}") == image.read(layer)
        assert agent.sources(layer) == {holder.name: image.size(layer)}
        assert holder.stop() == 0
        holder = agent
