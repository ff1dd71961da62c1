"""`load` and `save` against a small registry: every form of an archive, what breaks off, and what is not right."""

import base64
import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner

from mirror.archives.distribution import Distribution
from mirror.archives.loading import Loaded, Loader
from mirror.archives.saving import Saver
from mirror.archives.trees import Trees
from mirror.archives.written import target
from mirror.cli import main
from mirror.errors import AgentError, ArchiveError
from mirror.oci.reference import Repository, parse_image
from mirror.settings import ArchiveSettings
from testbed.archives import Files, Layout, Link, digest_of, docker_save, layer, tar_of

from .small_registry import Small, small_registry

SETTINGS = ArchiveSettings()
LARGE = 4 * 1024 * 1024 + 5
"""More than a document has, so that it is sent as it comes."""
A, B, C = layer("a", LARGE), layer("b"), layer("c", LARGE)


class Silent:
    """Shows no progress."""

    def expect(self, total: int | None) -> None:
        """Take note of nothing."""

    def advance(self, count: int) -> None:
        """Take note of nothing."""


@pytest.fixture
def registry() -> Iterator[Small]:
    with small_registry() as small:
        yield small


def layout() -> Layout:
    made = Layout()
    made.list(made.image([A, B]), name="docker.io/library/app:1", ref="1")
    made.list(made.for_platforms(["linux/amd64", "linux/arm64"], attested=True), name="docker.io/library/many:2")
    return made


def load(
    registry: Small, place: str | Path, wanted: str | None = None, settings: ArchiveSettings = SETTINGS
) -> list[Loaded]:
    client = Distribution(registry.url, "load", None, settings)
    try:
        name = None if wanted is None else Repository.parse(wanted)
        return Loader(client, settings, Silent()).load(str(place), name)
    finally:
        client.close()


@contextmanager
def piped(content: bytes, folder: Path) -> Iterator[Path]:
    """A named pipe from which some bytes come."""
    path = folder / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with suppress(BrokenPipeError):
            path.write_bytes(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield path
    finally:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb"):  # lets a writer go that nobody reads
            writer.join(5)
        path.unlink()


@contextmanager
def as_file(content: bytes, folder: Path) -> Iterator[Path]:
    path = folder / "file.tar"
    path.write_bytes(content)
    yield path


Opens = Callable[[Files], AbstractContextManager[Path]]

FORMS: dict[str, Callable[[bytes, Path], AbstractContextManager[Path]]] = {
    "file": as_file,
    "pipe": piped,
    "gzip": lambda content, folder: as_file(gzip.compress(content, 1), folder),
    "zstd": lambda content, folder: as_file(zstandard.compress(content), folder),
}


@pytest.fixture(params=list(FORMS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Opens:
    """Give an archive of some files as a file, compressed, or as a pipe."""
    return lambda files: FORMS[request.param](tar_of(files), tmp_path)


def test_all_of_an_archive_comes_with_its_names(registry: Small, place: Opens) -> None:
    made = layout()
    with place(made.files()) as path:
        loaded = load(registry, path)
    assert registry.held == made.blobs
    assert registry.tags == {
        "library/app:1": made.entries[0]["digest"],
        "library/many:2": made.entries[1]["digest"],
    }
    assert [image.names for image in loaded] == [("docker.io/library/app:1",), ("docker.io/library/many:2",)]
    assert registry.commands == {"load"}


def test_the_list_may_come_first(registry: Small, place: Opens) -> None:
    made = layout()
    with place(dict(reversed(made.files().items()))) as path:
        load(registry, path)
    assert registry.held == made.blobs


def test_an_archive_of_docker_means_the_same_in_any_form(registry: Small, place: Opens) -> None:
    files = docker_save({"app:1": [A, B], "other:1": [A, C]})
    with place(files) as path:
        load(registry, path)
    assert registry.tags.keys() == {"library/app:1", "library/other:1"}
    assert {digest_of(A), digest_of(B), digest_of(C)} <= registry.held.keys()
    assert registry.tags["library/app:1"] == "sha256:" + DOCKER_DIGEST
    assert registry.uploaded.count(len(A)) == 2  # A and C, once each


DOCKER_DIGEST = "025f51e0f604fc587f80eac3c5262a12f9581655815e43ad05cbb8648ea3dfbf"


def test_what_is_there_is_passed_over(registry: Small, place: Opens) -> None:
    files = layout().files()
    with place(files) as path:
        load(registry, path)
    before = len(registry.uploaded)
    with place(files) as path:
        loaded = load(registry, path)
    assert len(registry.uploaded) == before
    assert [image.sent for image in loaded] == [0, 0]


def test_what_only_upstream_has_is_sent(registry: Small, place: Opens) -> None:
    made = layout()
    registry.upstream = dict(made.blobs)
    with place(made.files()) as path:
        load(registry, path)
    assert registry.held == made.blobs


def test_a_load_that_broke_off_goes_on(registry: Small, place: Opens) -> None:
    made = layout()
    registry.fails_after = 3
    with place(made.files()) as path, pytest.raises(AgentError, match="507: the disk is full"):
        load(registry, path)
    assert len(registry.uploaded) == 3
    registry.fails_after = None
    with place(made.files()) as path:
        load(registry, path)
    assert registry.held == made.blobs
    assert len(registry.uploaded) == len(made.blobs) - 6  # each blob once; manifests are no blobs


def wrong_layer() -> Files:
    made = layout()
    made.blobs[digest_of(A)] = b"x" + A[1:]
    return made.files()


def wrong_small_layer() -> Files:
    made = layout()
    made.blobs[digest_of(B)] = b"x" + B[1:]
    return made.files()


def wrong_docker_layer() -> Files:
    files = dict(docker_save({"app:1": [A]}))
    name = next(name for name in files if name.endswith("layer.tar"))
    files[name] = b"x" + A[1:]
    return files


NAMED = {A: digest_of(A)[7:], B: digest_of(B)[7:]}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (wrong_layer(), NAMED[A]),
        (wrong_small_layer(), NAMED[B]),
        (wrong_docker_layer(), "layer.tar"),
        (layout().without(digest_of(A)).files(), "neither in the archive nor on the agent's node"),
        ({**layout().files(), "../x": b""}, r"'\.\./x' leads out"),
        ({**docker_save({"app:1": [A]}), "x/layer.tar": Link("../../y")}, "'x/layer.tar' is a link"),
        (docker_save({"app:1": [A]}, tags={"app:1": []}), "say which one with --as"),
    ],
)
def test_what_is_not_right_gets_no_tag(registry: Small, place: Opens, files: Files, said: str) -> None:
    with place(files) as path, pytest.raises(ArchiveError, match=said):
        load(registry, path)
    assert registry.tags == {}


def test_documents_that_are_held_are_bounded(registry: Small, tmp_path: Path) -> None:
    files = layout().files()
    with piped(tar_of(files), tmp_path) as path, pytest.raises(ArchiveError, match="more than 900 bytes of manifests"):
        load(registry, path, settings=replace(SETTINGS, documents_max_bytes=900))


def test_what_follows_the_end_is_not_read_for_ever(registry: Small, tmp_path: Path) -> None:
    content = tar_of(layout().files()) + bytes(SETTINGS.part_bytes)
    with piped(content, tmp_path) as path, pytest.raises(ArchiveError, match="goes on after its end"):
        load(registry, path)
    assert registry.tags == {}


def save(registry: Small, *names: str, platform: str = "") -> bytes:
    client = Distribution(registry.url, "save", None, SETTINGS)
    out = io.BytesIO()
    try:
        grower = Trees(client, platform or None, SETTINGS)
        written = Saver(client, SETTINGS, Silent()).save([grower.grow(parse_image(name)) for name in names], out)
    finally:
        client.close()
    assert written == len(out.getvalue())
    return out.getvalue()


def stocked(registry: Small) -> Layout:
    made = layout()
    registry.image("library/app:1", made.blobs, made.entries[0]["digest"])
    registry.image("library/many:2", made.blobs, made.entries[1]["digest"])
    return made


def unpacked(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {it.name: tar.extractfile(it).read() for it in tar if it.isfile()}  # type: ignore[union-attr]


def test_what_is_saved_is_loaded_elsewhere_as_it_was(registry: Small, tmp_path: Path) -> None:
    made = stocked(registry)
    (tmp_path / "x.tar").write_bytes(save(registry, "app:1", "many:2"))
    with small_registry() as other:
        load(other, tmp_path / "x.tar")
        assert (other.held, other.tags) == (made.blobs, registry.tags)
        assert save(other, "many:2", "app:1") == (tmp_path / "x.tar").read_bytes()  # in any order, from anywhere


def test_each_blob_is_saved_once_and_docker_finds_one_platform(registry: Small) -> None:
    made = stocked(registry)
    files = unpacked(save(registry, "many:2", "app:1"))
    assert {name.replace("blobs/sha256/", "sha256:") for name in files if name.startswith("blobs/")} == set(made.blobs)
    listed = json.loads(files["manifest.json"])
    assert [row["RepoTags"] for row in listed] == [["docker.io/library/app:1"], ["docker.io/library/many:2"]]
    assert all(name in files for row in listed for name in (row["Config"], *row["Layers"]))
    assert json.loads(files[listed[1]["Config"]])["architecture"] == "amd64"
    marks = [row["annotations"] for row in json.loads(files["index.json"])["manifests"]]
    assert [mark["org.opencontainers.image.ref.name"] for mark in marks] == ["1", "2"]


def test_one_platform_of_an_index_keeps_the_digest_of_the_index(registry: Small) -> None:
    made = stocked(registry)
    files = unpacked(save(registry, "many:2", platform="linux/arm64"))
    assert json.loads(files["index.json"])["manifests"][0]["digest"] == made.entries[1]["digest"]
    listed = json.loads(files["manifest.json"])
    assert [json.loads(files[row["Config"]])["architecture"] for row in listed] == ["arm64"]
    assert len([name for name in files if name.startswith("blobs/")]) == 1 + 3  # without what attests it


@pytest.mark.parametrize(
    ("name", "platform", "said"),
    [
        ("many:2", "linux/s390x", "is not for linux/s390x; it is for linux/amd64, linux/arm64"),
        ("app:1", "linux/arm64", "is not for linux/arm64; it is for linux/amd64"),
        ("app:7", "", "docker.io/library/app:7: nobody in the cluster has it"),
    ],
)
def test_what_nobody_has_is_not_saved(registry: Small, name: str, platform: str, said: str) -> None:
    stocked(registry)
    with pytest.raises(AgentError, match=said):
        save(registry, name, platform=platform)


def test_a_blob_that_breaks_off_goes_on_where_it_broke_off(registry: Small) -> None:
    stocked(registry)
    whole = save(registry, "app:1")
    registry.cuts = SETTINGS.tries - 1
    registry.asked.clear()
    assert save(registry, "app:1") == whole
    registry.cuts = 100
    with pytest.raises(AgentError, match=r"broke off after .* again and again"):
        save(registry, "app:1")


def saving(registry: Small, target: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["save", "app:1", "many:2", "-o", str(target), "--agent", registry.url])
    return done.exit_code, done.output


def test_wrong_bytes_end_a_save_without_a_file_and_the_next_one_goes_on(registry: Small, tmp_path: Path) -> None:
    stocked(registry)
    whole, target = save(registry, "app:1", "many:2"), tmp_path / "x.tar"
    large = max((digest for digest, body in registry.held.items() if len(body) >= LARGE), key=str)
    right, registry.held[large] = registry.held[large], b"x" + registry.held[large][1:]
    status, said = saving(registry, target)
    assert (status, "what came has the digest" in said) == (1, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.partial"]
    registry.held[large] = right
    registry.asked.clear()
    assert saving(registry, target)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
    assert target.read_bytes() == whole
    blobs = len([name for name in unpacked(whole) if name.startswith("blobs/")])
    assert 0 < sum("/blobs/" in asked for asked in registry.asked) < blobs - 6  # six of these are manifests


@pytest.mark.parametrize("left", ["nothing", "junk", "zeros", "cut", "longer", "changed"])
def test_whatever_an_earlier_save_left_the_archive_is_right(registry: Small, tmp_path: Path, left: str) -> None:
    stocked(registry)
    whole = save(registry, "app:1", "many:2")
    middle = len(whole) // 2
    forms = {
        **{"nothing": b"", "junk": b"junk" * 1000, "zeros": bytes(100)},
        **{"cut": whole[:middle], "longer": whole + b"x" * 9, "changed": whole[:middle] + b"x" + whole[middle + 1 :]},
    }
    (tmp_path / "x.tar.partial").write_bytes(forms[left])
    assert saving(registry, tmp_path / "x.tar")[0] == 0
    assert (tmp_path / "x.tar").read_bytes() == whole


def test_two_saves_do_not_write_one_file(registry: Small, tmp_path: Path) -> None:
    stocked(registry)
    with target(str(tmp_path / "x.tar")):
        status, said = saving(registry, tmp_path / "x.tar")
    assert (status, "another command is writing" in said) == (1, True)


def test_a_password_goes_with_each_request(registry: Small, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_of(layout().files()))
    client = Distribution(registry.url, "load", "secret", SETTINGS)
    Loader(client, SETTINGS, Silent()).load(str(tmp_path / "x.tar"), None)
    client.close()
    assert registry.logins == {"Basic " + base64.b64encode(b"skvaller:secret").decode()}


def test_the_commands_say_what_they_did(registry: Small, tmp_path: Path) -> None:
    made = layout()
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(made.files()))
    loaded = CliRunner().invoke(main, ["load", str(path), "--agent", registry.url])
    assert loaded.exit_code == 0
    assert f"docker.io/library/app:1 is {made.entries[0]['digest']}\n  3 of 3 blobs were new" in loaded.stdout
    out = tmp_path / "y.tar"
    saved = CliRunner().invoke(
        main, ["save", "many:2", "--platform", "linux/amd64", "-o", str(out), "--agent", registry.url]
    )
    assert saved.exit_code == 0
    assert saved.stdout.splitlines() == [
        f"docker.io/library/many:2 is {made.entries[1]['digest']}",
        "  without linux/arm64",
        f"{out.stat().st_size:,} bytes in {out}",
    ]
    assert sorted(tmp_path.iterdir()) == [path, out]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["load", "/nowhere.tar"], 1, "/nowhere.tar: it cannot be read: No such file or directory"),
        (["load", "--as", "Not A Name", "x"], 2, "lower-case"),
        (["save", "--platform", "amd64", "x", "-o", "y"], 2, "'amd64' is no platform"),
        (["save", "app:9", "-o", "y"], 1, "nobody in the cluster has it"),
        (["save", "sha256:" + "ab" * 32, "-o", "y"], 2, "a digest alone; give the name with it"),
    ],
)
def test_errors_are_one_line(registry: Small, arguments: list[str], status: int, said: str) -> None:
    done = CliRunner().invoke(main, [*arguments, "--agent", registry.url])
    assert (done.exit_code, said in done.output) == (status, True), done.output


def test_where_no_agent_answers_the_commands_say_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["save", "app:1", "-o", "y", "--agent", f"unix:{tmp_path}/none"])
    assert done.exit_code == 3
    assert "no agent answers at" in done.output


def test_what_serves_no_images_is_told_from_who_has_none(tmp_path: Path) -> None:
    """Where `--listen-api` is set, the client endpoint and the API are two addresses."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = CliRunner().invoke(main, ["save", "app:1", "-o", "y", "--agent", f"127.0.0.1:{server.server_port}"])
        finally:
            server.shutdown()
    assert done.exit_code == 1
    assert "serves no images: name the agent's client endpoint" in done.output
