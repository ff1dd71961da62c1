"""What images an archive has, by which names, and what is wrong with those that have none."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.archives.contents import Image, images_of
from mirror.archives.naming import give_names, shown_name
from mirror.archives.reading import FolderExtents, PlacedArchive, TarExtents
from mirror.errors import ArchiveError
from mirror.oci.reference import Reference, Repository
from mirror.settings import ArchiveSettings
from testbed.archives import INDEX, Files, Layout, Link, digest_of, docker_save, layer, tar_of

SETTINGS = ArchiveSettings()
A, B = layer("a"), layer("b")

Opens = Callable[[Files], PlacedArchive]


@pytest.fixture(params=["tar", "folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """Give an archive of some files, as a tar file and as a folder."""
    stack = ExitStack()

    def open_tar(files: Files) -> PlacedArchive:
        (tmp_path / "x.tar").write_bytes(tar_of(files))
        fd = os.open(tmp_path / "x.tar", os.O_RDONLY)
        stack.callback(os.close, fd)
        return PlacedArchive(TarExtents(fd, SETTINGS), 7)

    def open_folder(files: Files) -> PlacedArchive:
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        for name, content in files.items():
            path = tmp_path / "x" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(content.target) if isinstance(content, Link) else path.write_bytes(content)
        return PlacedArchive(FolderExtents(tmp_path / "x", stack), 7)

    with stack:
        yield open_tar if request.param == "tar" else open_folder


def one(archive: PlacedArchive, wanted: Repository | Reference | None = None) -> Image:
    images = images_of(archive, SETTINGS)
    give_names(images, wanted)
    assert len(images) == 1
    return images[0]


def names(image: Image) -> list[str]:
    return [shown_name(name) for name in image.names]


def plain(layout: Layout | None = None) -> Layout:
    made = layout or Layout()
    made.list(made.image([A, B]), name="docker.io/library/app:1", ref="1")
    return made


def test_a_layout_has_an_image_with_all_its_parts(opened: Opens) -> None:
    made = plain()
    image = one(opened(made.files()))
    assert names(image) == ["docker.io/library/app:1"]
    assert {str(digest) for digest in image.blobs} | {str(image.digest)} == set(made.blobs)
    assert [str(manifest.digest) for manifest in image.manifests] == [made.entries[0]["digest"]]


def test_an_image_for_several_platforms_has_its_index_last_and_its_attestations(opened: Opens) -> None:
    made = Layout()
    made.list(made.for_platforms(["linux/amd64", "linux/arm64"], attested=True), ref="r.lan/app:1")
    image = one(opened(made.files()))
    assert len(image.manifests) == 5
    assert image.manifests[-1].media_type == INDEX
    assert len(image.blobs) == 2 * 2 + 2 + 1  # both attestations have the same configuration
    assert image.left_out == []


def test_an_index_whose_other_platforms_the_archive_does_not_have_stays_as_it_is(opened: Opens) -> None:
    made = Layout()
    root = made.for_platforms(["linux/amd64", "linux/arm64"], attested=True)
    index = json.loads(made.blobs[root["digest"]])
    made.list(root, name="docker.io/library/app:1")
    image = one(opened(made.without(*(child["digest"] for child in index["manifests"][1:])).files()))
    assert str(image.digest) == root["digest"]
    assert image.left_out == ["linux/arm64"]
    gone = [child["digest"] for child in index["manifests"]]
    with pytest.raises(ArchiveError, match="none of them is in the archive"):
        one(opened(made.without(*gone).files() | {"blobs/x": b""}))


def test_an_archive_of_docker_gets_the_manifest_that_containerd_makes(opened: Opens) -> None:
    files = docker_save({"app:1": [A, B], "r.lan:5000/other:2": [A]})
    images = images_of(opened(files), SETTINGS)
    give_names(images, None)
    assert [names(image) for image in images] == [["docker.io/library/app:1"], ["r.lan:5000/other:2"]]
    manifest = json.loads(images[0].manifests[0].body)
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert [row["digest"] for row in manifest["layers"]] == [digest_of(A), digest_of(B)]
    assert manifest["config"]["digest"].removeprefix("sha256:") + ".json" in files
    assert images[1].blobs[next(digest for digest in images[1].blobs if str(digest) == digest_of(A))].size == len(A)


def test_tags_of_one_image_are_its_names(opened: Opens) -> None:
    made = plain()
    made.list(made.entries[0] | {"annotations": {}}, name="r.lan/app:2")
    made.list(made.entries[0] | {"annotations": {}}, name="sha256:" + "0" * 64)
    assert names(one(opened(made.files()))) == ["docker.io/library/app:1", "r.lan/app:2"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("r.lan/x:3", ["r.lan/x:3"]), ("r.lan/x", ["r.lan/x:1", "r.lan/x:2"])],
)
def test_an_image_is_renamed(opened: Opens, wanted: str, expected: list[str]) -> None:
    made = Layout()
    image = made.image([A])
    made.list(image, ref="1")
    made.list(image, ref="2")
    name = Reference.parse(wanted) if wanted.endswith(":3") else Repository.parse(wanted)
    assert names(one(opened(made.files()), name)) == expected


def test_what_refers_to_an_image_goes_where_that_is(opened: Opens) -> None:
    made = plain()
    config = made.blob("application/vnd.oci.empty.v1+json", b"{}")
    about = {"config": config, "layers": [], "subject": made.entries[0]}
    made.list(made.document("application/vnd.oci.image.manifest.v1+json", about))
    images = images_of(opened(made.files()), SETTINGS)
    give_names(images, None)
    assert [shown_name(name) for name in images[1].names] == [f"docker.io/library/app@{images[1].digest}"]


def nameless() -> Layout:
    made = Layout()
    made.list(made.image([A]), ref="1.0")
    return made


def two() -> Layout:
    made = plain()
    made.list(made.image([B]), name="r.lan/b:1")
    return made


@pytest.mark.parametrize(
    ("layout", "wanted", "said"),
    [
        (nameless(), None, "only a tag, '1.0': say which one with --as"),
        (two(), Repository("r.lan", "x"), "the archive has 2: docker.io/library/app:1, r.lan/b:1"),
    ],
)
def test_names_that_are_not_clear_are_asked_for(
    opened: Opens, layout: Layout, wanted: Repository | None, said: str
) -> None:
    with pytest.raises(ArchiveError, match=said):
        give_names(images_of(opened(layout.files()), SETTINGS), wanted)


def broken(change: Callable[[dict[str, bytes | Link]], object], files: Files | None = None) -> Files:
    made = dict(plain().files() if files is None else files)
    change(made)
    return made


CONFIG = next(f"blobs/{digest.replace(':', '/')}" for digest, body in plain().blobs.items() if b"rootfs" in body)
MANIFEST = f"blobs/{plain().entries[0]['digest'].replace(':', '/')}"
SAVED = docker_save({"app:1": [A]})
SAVED_CONFIG = next(name for name in SAVED if name.endswith(".json"))
SAVED_LAYER = next(name for name in SAVED if name.endswith("layer.tar"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x": b"y"}, "neither index.json nor manifest.json"),
        (broken(lambda it: it.pop("oci-layout")), "'oci-layout' is missing"),
        (broken(lambda it: it.update({"index.json": b"{"})), "'index.json' is not the JSON"),
        (broken(lambda it: it.update({"index.json": b'{"manifests":[]}'})), "no image in it"),
        (broken(lambda it: it.update({"index.json": b"[" * 100_000})), "'index.json' is not the JSON"),
        (broken(lambda it: it.update({"index.json": b" " * (5 << 20)})), "'index.json' has 5,242,880 bytes"),
        (broken(lambda it: it.pop(MANIFEST)), "sha256/.*' is missing: the archive is not whole"),
        (
            {**plain().files(), MANIFEST: plain().blobs[plain().entries[0]["digest"]][:-1] + b" "},
            "does not have the digest that is its name",
        ),
        (broken(lambda it: it.update({CONFIG: b"short"})), "has 5 bytes; the manifest that names it states"),
        (
            {**plain().files(), "index.json": b'{"manifests":[{"digest":"sha256:../../x","size":1}]}'},
            "'sha256:../../x' is neither sha256",
        ),
        (broken(lambda it: it.pop(SAVED_LAYER), SAVED), "layer.tar' is missing"),
        (broken(lambda it: it.update({SAVED_CONFIG: b'{"rootfs":{}}'}), SAVED), "lists 1 layers, and .* 0"),
        (broken(lambda it: it.update({"manifest.json": b'{"schemaVersion":2}'}), SAVED), "skopeo's `dir:`"),
        (broken(lambda it: it.update({"manifest.json": b"[7]"}), SAVED), "'manifest.json' is not the JSON"),
        (
            {**SAVED, SAVED_LAYER: Link("other"), f"{SAVED_LAYER[:64]}/other": Link("layer.tar")},
            "is a link by way of more than 8|cannot read",
        ),
    ],
)
def test_what_is_wrong_is_named(opened: Opens, files: Files, said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        images_of(opened(files), SETTINGS)


def test_indexes_lie_in_each_other_within_a_bound(opened: Opens) -> None:
    made = Layout()
    inner = made.image([A])
    for _ in range(SETTINGS.depth_max):
        inner = made.document(INDEX, {"manifests": [inner]})
    made.list(inner, name="r.lan/deep:1")
    assert len(one(opened(made.files())).manifests) == SETTINGS.depth_max + 1
    with pytest.raises(ArchiveError, match="at most 3 indexes in each other"):
        images_of(opened(made.files()), replace(SETTINGS, depth_max=3))
    with pytest.raises(ArchiveError, match="2 manifests are allowed"):
        images_of(opened(made.files()), replace(SETTINGS, manifests_max=2))


def test_a_folder_is_not_left_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "index.json").symlink_to("../secret")
    with ExitStack() as stack, pytest.raises(ArchiveError, match="out of the folder; links inside it are allowed"):
        images_of(PlacedArchive(FolderExtents(folder, stack), 7), SETTINGS)
