"""What manifests name, and as what; what is not in order is left out."""

import json
from typing import Any

import pytest

from mirror.oci.descriptors import Named, named_by
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_INDEX

ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))


def descriptor(digest: Digest, size: Any = 7, **more: Any) -> dict[str, Any]:
    return {"digest": str(digest), "size": size, "mediaType": "application/x", **more}


def named(**document: Any) -> tuple[Named, ...]:
    return named_by(json.dumps({"schemaVersion": 2, **document}).encode())


def test_a_manifest_names_its_configuration_and_its_layers() -> None:
    shown = named(config=descriptor(ONE), layers=[descriptor(TWO), descriptor(THREE, 9)])
    assert [(it.digest, it.size, it.place, it.media_type) for it in shown] == [
        (ONE, 7, "config", "application/x"),
        (TWO, 7, "layer", "application/x"),
        (THREE, 9, "layer", "application/x"),
    ]


def test_an_index_names_an_image_for_each_platform() -> None:
    arm = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    amd, arm64 = named(
        manifests=[descriptor(ONE, platform={"os": "linux", "architecture": "amd64"}), descriptor(TWO, platform=arm)]
    )
    assert (amd.platform, arm64.platform, arm64.place) == ("linux/amd64", "linux/arm64/v8", "manifest")
    assert amd.is_for("linux/amd64")
    assert not amd.is_for("linux/amd")
    assert arm64.is_for("linux/arm64"), "a variant that is not asked for is any"
    assert not arm64.is_for("linux/arm64/v7")


@pytest.mark.parametrize(
    "wrong",
    [
        descriptor(ONE, -1),
        descriptor(ONE, "7"),
        descriptor(ONE, True),
        {"size": 7},
        {"digest": "sha256:short", "size": 7},
        None,
    ],
)
def test_what_is_not_in_order_is_left_out(wrong: Any) -> None:
    assert [it.digest for it in named(layers=[wrong, descriptor(TWO)])] == [TWO]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"layers": {}, "config": 3}', b"[" * 100_000])
def test_what_is_no_manifest_names_nothing(body: bytes) -> None:
    assert named_by(body) == ()


def test_an_index_may_list_other_content_than_manifests() -> None:
    image, nested, report = named(
        manifests=[
            {"digest": str(ONE), "size": 7},
            descriptor(TWO) | {"mediaType": OCI_INDEX},
            descriptor(THREE) | {"mediaType": "text/json"},
        ],
    )
    assert (image.is_manifest, nested.is_manifest, report.is_manifest) == (True, True, False)
    assert not named(layers=[descriptor(ONE) | {"mediaType": OCI_INDEX}])[0].is_manifest


def test_a_platform_of_the_wrong_form_is_none() -> None:
    (it,) = named(manifests=[descriptor(ONE, platform=["linux"], mediaType=3)])
    assert (it.platform, it.media_type) == ("", "")
