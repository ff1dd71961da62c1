"""Archives of real programs: loaded into one place, saved from there, loaded into another one, and pulled from that."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from mirror.archives.contents import images_of
from mirror.archives.reading import PlacedArchive, TarExtents
from mirror.cli import main
from mirror.settings import ArchiveSettings
from testbed.agents import Agent
from testbed.archives import Layout, docker_save, layer, tar_of
from testbed.containerd import Containerd, write_hosts
from testbed.images import Image
from testbed.processes import run
from testbed.registry import Registry
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

NAMESPACE = "k8s.io"
SETTINGS = ArchiveSettings()


@dataclass(frozen=True)
class Place:
    """An agent, or a registry that speaks the same."""

    url: str

    def load(self, archive: Path, *arguments: str) -> dict[str, str]:
        """Load an archive; return the digests by name."""
        answer = self._skvaller("load", str(archive), *arguments)
        return {name: row["digest"] for row in answer["images"] for name in row["names"]}

    def save(self, target: Path, *arguments: str) -> dict[str, str]:
        """Save images; return their digests by name."""
        answer = self._skvaller("save", "-o", str(target), *arguments)
        return {row["name"]: row["digest"] for row in answer["images"]}

    def _skvaller(self, *arguments: str) -> Mapping[str, list[dict[str, str]]]:
        done = CliRunner().invoke(main, [*arguments, "--json", "--agent", self.url])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))


@dataclass(frozen=True)
class Podman:
    """podman with folders of its own."""

    folder: Path

    def __call__(self, *arguments: str) -> str:
        """Run it; return what it printed."""
        folders = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--tmpdir", f"{self.folder}/tmp"]
        apart = ["--storage-driver", "vfs", "--events-backend", "none"]
        return run(["env", f"TMPDIR={self.folder}", "podman", *folders, *apart, *arguments])

    def image_id(self, name: str) -> str:
        """The digest of the configuration of an image that it has."""
        return "sha256:" + self("image", "inspect", "--format", "{{.Id}}", name).strip()


@pytest.fixture
def podman() -> Iterator[Podman]:
    """podman, in a short folder: it takes no run root of more than 50 characters."""
    need("podman")
    with TemporaryDirectory(prefix="podman-") as folder:
        yield Podman(Path(folder))


@pytest.fixture
def agent(start_agent: Callable[..., Agent], loopback: Callable[[], str]) -> Agent:
    """An agent that knows no registry."""
    return start_agent("a", loopback(), "--offline", "all")


@pytest.fixture(params=["agent", "docker-registry"])
def places(
    request: pytest.FixtureRequest,
    start_registry: Callable[..., Registry],
    start_agent: Callable[..., Agent],
    loopback: Callable[[], str],
) -> tuple[Place, Place]:
    """Two places that know nothing of each other."""
    if request.param == "agent":
        flags = ("--offline", "all")
        agents = [start_agent(name, loopback(), *flags) for name in ("here", "there")]
        return Place(agents[0].url), Place(agents[1].url)
    registries = [start_registry(name=name) for name in ("here", "there")]
    return Place(f"http://{registries[0].address}"), Place(f"http://{registries[1].address}")


def skopeo(*arguments: str) -> None:
    run(["skopeo", "--insecure-policy", "copy", "--quiet", *arguments])


def written(folder: Path, containerd: Containerd, podman: Podman, image: Image) -> dict[str, Path]:
    """The same image as each program writes it, under a name of its own."""
    found = {}
    for program in ("ctr", "podman-docker", "podman-oci", "podman-dir", "skopeo-docker", "skopeo-oci", "skopeo-layout"):
        name = f"docker.io/library/{program}:1"
        path = found[name] = folder / program
        match program.partition("-"):
            case ("ctr", _, _):
                containerd.tag_image(image.name, name)
                containerd.ctr("images", "export", str(path), name)
            case ("podman", _, form):
                if form == "docker":
                    podman("load", "--quiet", "--input", str(image.archive()))
                podman("tag", image.name, name)
                kind = {"docker": "docker-archive", "oci": "oci-archive", "dir": "oci-dir"}[form]
                podman("save", "--quiet", "--format", kind, "--output", str(path), name)
            case (_, _, form):
                kind = {"docker": "docker-archive", "oci": "oci-archive", "layout": "oci"}[form]
                skopeo(f"oci:{image.layout}", f"{kind}:{path}:{name}")
    return found


def recorded(folder: Path) -> dict[str, Path]:
    """What docker and buildx write: they need a daemon."""
    folder.mkdir()
    buildx = Layout()
    index = buildx.for_platforms(["linux/amd64", "linux/arm64"], attested=True)
    buildx.list(index, name="docker.io/library/buildx:1", ref="1")
    found = {
        "docker.io/library/docker:1": docker_save({"docker:1": [layer("a", 5000), layer("b")]}),
        "docker.io/library/buildx:1": buildx.files(),
    }
    for name, files in found.items():
        (folder / name.rpartition("/")[2]).write_bytes(tar_of(files))
    return {name: folder / name.rpartition("/")[2] for name in found}


def test_what_each_program_writes_goes_round_and_is_pulled_as_it_was(
    places: tuple[Place, Place],
    start_containerd: Callable[..., Containerd],
    podman: Podman,
    make_image: Callable[..., Image],
    tmp_path: Path,
) -> None:
    here, there = places
    containerd, image = start_containerd(), make_image("docker.io/library/made:1", [200_000, 30], compress=True)
    containerd.import_image(image)
    archives = {**written(tmp_path, containerd, podman, image), **recorded(tmp_path / "recorded")}
    digests: dict[str, str] = {}
    for name, path in archives.items():
        digests |= here.load(path)
        assert name in digests
    assert digests["docker.io/library/ctr:1"] == digests["docker.io/library/skopeo-oci:1"] == image.manifest

    assert here.save(tmp_path / "all.tar", *archives) == digests
    assert there.load(tmp_path / "all.tar") == digests
    there.save(tmp_path / "again.tar", *reversed(archives))
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "all.tar").read_bytes()

    hosts = write_hosts(tmp_path / "hosts", there.url, there.url)
    for name, digest in digests.items():
        containerd.ctr("images", "pull", "--hosts-dir", str(hosts), name)
        assert pulled_digest(containerd, name) == digest
    address = there.url.removeprefix("http://")
    for name in ("docker", "buildx"):
        podman("pull", "--quiet", "--tls-verify=false", f"{address}/library/{name}:1")
        shown = json.loads(podman("image", "inspect", f"{address}/library/{name}:1"))[0]
        assert any(digests[f"docker.io/library/{name}:1"] in known for known in shown["RepoDigests"])


def pulled_digest(containerd: Containerd, name: str, namespace: str = NAMESPACE) -> str | None:
    rows = [line.split() for line in containerd.ctr("images", "list", namespace=namespace).splitlines()[1:]]
    return next((row[2] for row in rows if row[0] == name), None)


def test_an_index_of_which_one_platform_is_there_goes_round(
    agent: Agent, start_containerd: Callable[..., Containerd], tmp_path: Path
) -> None:
    """As containerd exports an image for several platforms; a registry would not take it."""
    containerd, made = start_containerd(), Layout()
    name = "docker.io/library/many:1"
    made.list(made.for_platforms(["linux/amd64", "linux/arm64"], attested=True), name=name)
    (tmp_path / "made.tar").write_bytes(tar_of(made.files()))
    containerd.ctr("images", "import", "--all-platforms", str(tmp_path / "made.tar"))
    containerd.ctr("images", "export", "--platform", "linux/amd64", str(tmp_path / "one.tar"), name)
    digests = Place(agent.url).load(tmp_path / "one.tar")
    assert digests == {name: made.entries[0]["digest"]}
    assert Place(agent.url).save(tmp_path / "again.tar", "--platform", "linux/amd64", name) == digests

    hosts = write_hosts(tmp_path / "hosts", agent.url, agent.url)
    pull = ["images", "pull", "--hosts-dir", str(hosts), "--platform", "linux/amd64", name]
    containerd.ctr(*pull, namespace="elsewhere")
    assert pulled_digest(containerd, name, "elsewhere") == digests[name]


def test_any_member_saves_what_another_one_loaded(
    start_agent: Callable[..., Agent], loopback: Callable[[], str], tmp_path: Path
) -> None:
    a = start_agent("a", loopback(), "--offline", "all")
    b = start_agent("b", loopback(), "--offline", "all", "--join", a.gossip)
    made = Layout()
    made.list(made.image([layer("x", 3_000_000)]), name="r.lan/app:1")
    (tmp_path / "made.tar").write_bytes(tar_of(made.files()))
    digests = Place(a.url).load(tmp_path / "made.tar")
    b.until_found("r.lan/app:1", "a")
    assert Place(b.url).save(tmp_path / "b.tar", "r.lan/app:1") == digests
    Place(a.url).save(tmp_path / "a.tar", "r.lan/app:1")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_manifest_that_is_made_is_the_one_of_containerd(
    start_containerd: Callable[..., Containerd], tmp_path: Path
) -> None:
    containerd, path = start_containerd(), tmp_path / "saved.tar"
    path.write_bytes(tar_of(docker_save({"a:1": [layer("a", 5000), layer("b")], "b:1": [layer("a", 5000)]})))
    containerd.ctr("images", "import", "--no-unpack", str(path))
    with path.open("rb") as file:
        archive = PlacedArchive(TarExtents(file.fileno(), SETTINGS), SETTINGS.part_bytes)
        images = images_of(archive, SETTINGS)
    assert [pulled_digest(containerd, str(image.names[0])) for image in images] == [str(it.digest) for it in images]


def test_every_program_loads_what_is_saved(
    agent: Agent, start_containerd: Callable[..., Containerd], podman: Podman, tmp_path: Path
) -> None:
    place, containerd = Place(agent.url), start_containerd()
    made = Layout()
    one = made.image([layer("a", 5000)])
    made.list(one, name="docker.io/library/one:1")
    made.list(made.for_platforms(["linux/amd64", "linux/arm64"]), name="docker.io/library/many:1")
    (tmp_path / "made.tar").write_bytes(tar_of(made.files()))
    digests = place.load(tmp_path / "made.tar")
    config = {name: json.loads(made.blobs[digest]) for name, digest in digests.items()}["docker.io/library/one:1"]

    place.save(tmp_path / "all.tar", "one:1", "many:1")
    containerd.ctr("images", "import", "--all-platforms", str(tmp_path / "all.tar"))
    assert {name: pulled_digest(containerd, name) for name in digests} == digests
    podman("load", "--quiet", "--input", str(tmp_path / "all.tar"))
    assert podman.image_id("docker.io/library/one:1") == config["config"]["digest"]
    podman("image", "inspect", "docker.io/library/many:1")

    place.save(tmp_path / "amd64.tar", "--platform", "linux/amd64", "many:1")
    containerd.ctr("images", "import", str(tmp_path / "amd64.tar"), namespace="amd64")
    assert pulled_digest(containerd, "docker.io/library/many:1", "amd64") == digests["docker.io/library/many:1"]
    for number, source in enumerate(("oci-archive", "docker-archive")):
        skopeo(f"{source}:{tmp_path}/amd64.tar", f"dir:{tmp_path}/copied-{number}")
