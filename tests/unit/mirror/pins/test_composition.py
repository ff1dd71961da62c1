"""What an image consists of."""

import asyncio
import json
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import ManifestUnknown
from mirror.oci.content import Content
from mirror.oci.descriptors import named_by
from mirror.oci.digest import Digest
from mirror.oci.manifest import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.pins.composition import Image, compose, platforms_here

REPOSITORY = Repository("docker.io", "library/x")
ATTESTATION = {"architecture": "unknown", "os": "unknown"}


def described(body: bytes, kind: str = "application/octet-stream", **more: object) -> dict[str, object]:
    return {"mediaType": kind, "digest": str(Digest.of(body)), "size": len(body), **more}


def manifest(*layers: bytes, **more: object) -> bytes:
    config = b"{}" + layers[0]
    fields = {"config": described(config), "layers": [described(it) for it in layers], **more}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, **fields}).encode()


AMD, ARM, ARM_7, PROOF = (manifest(name) for name in (b"amd64", b"arm64", b"arm v7", b"proof"))
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            described(AMD, OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
            described(ARM, OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
            described(ARM_7, OCI_MANIFEST, platform={"os": "linux", "architecture": "arm", "variant": "v7"}),
            described(PROOF, OCI_MANIFEST, platform=ATTESTATION),
        ],
    }
).encode()


def composed(
    root: bytes, platforms: Collection[str] = (), known: Collection[bytes] = (), parts_max: int = 100
) -> Image:
    bodies = {Digest.of(body): body for body in (root, *known)}

    async def read(content: Content) -> bytes | None:
        assert content.kind == "manifests"
        return bodies.get(content.digest)

    return asyncio.run(compose(REPOSITORY, Digest.of(root), platforms, read, parts_max))


def digests(image: Image) -> set[Digest]:
    return {part.content.digest for part in image.parts}


def of(body: bytes) -> set[Digest]:
    return digests(composed(body))


def test_a_manifest_has_its_config_and_its_layers_once_each() -> None:
    root = manifest(b"one", b"two", b"one")
    image = composed(root)
    assert [part.size for part in image.parts] == [len(root), len(b"{}one"), 3, 3]
    assert [part.content.kind for part in image.parts] == ["manifests", "blobs", "blobs", "blobs"]
    assert image.bytes == len(root) + 11
    assert not image.problem


@pytest.mark.parametrize(
    ("platforms", "wanted"),
    [
        ((), (AMD, ARM, ARM_7, PROOF)),
        (("linux/amd64",), (AMD,)),
        (("linux/arm64",), (ARM,)),
        (("linux/arm64/v8", "linux/arm/v7"), (ARM, ARM_7)),
        (("linux/arm",), (ARM_7,)),
        (("windows/amd64",), (AMD, ARM, ARM_7, PROOF)),
    ],
)
def test_of_an_index_the_platforms_that_are_wanted_count(platforms: Collection[str], wanted: Collection[bytes]) -> None:
    image = composed(INDEX, platforms, (AMD, ARM, ARM_7, PROOF))
    assert digests(image) == {Digest.of(INDEX)}.union(*map(of, wanted))
    assert not image.unread


def test_a_manifest_that_is_not_to_be_had_is_a_part_and_is_told() -> None:
    image = composed(INDEX, ("linux/amd64",))
    assert digests(image) == {Digest.of(INDEX), Digest.of(AMD)}
    assert image.bytes == len(INDEX) + len(AMD)
    assert [content.digest for content in image.unread] == [Digest.of(AMD)]
    assert image.problem

    async def refused(content: Content) -> bytes | None:
        raise ManifestUnknown("nobody has it")

    image = asyncio.run(compose(REPOSITORY, Digest.of(AMD), (), refused, 10))
    assert (image.problem, len(image.parts)) == ("nobody has it", 1)


def test_other_content_of_an_index_is_a_blob_and_layers_that_nobody_may_distribute_are_left_out() -> None:
    windows = manifest(
        b"layer",
        layers=[
            described(b"layer"),
            described(b"base", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://x"]),
        ],
    )
    root = json.dumps(
        {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [described(b"a report", "text/json")]}
    )
    assert Digest.of(b"base") not in of(windows)
    assert [part.content.kind for part in composed(root.encode()).parts] == ["manifests", "blobs"]


def test_indexes_that_name_each_other_or_too_much_come_to_an_end() -> None:
    assert len(composed(INDEX, (), (AMD, ARM, ARM_7, PROOF), parts_max=6).parts) == 6
    assert len(composed(manifest(*(bytes([number]) for number in range(50))), parts_max=20).parts) == 20


@given(st.binary(max_size=80) | st.recursive(st.none() | st.text(), st.lists).map(lambda it: json.dumps(it).encode()))
def test_junk_is_an_image_of_one_part(body: bytes) -> None:
    assert len(composed(body).parts) == 1


def test_an_index_of_which_some_images_are_here_says_for_which_platforms() -> None:
    here = {Digest.of(it) for it in (AMD, PROOF)}
    assert platforms_here(named_by(INDEX), here.__contains__) == ("linux/amd64",)
    assert platforms_here(named_by(INDEX), lambda digest: True) == ()
    assert platforms_here(named_by(AMD), lambda digest: False) == ()
