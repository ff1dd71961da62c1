"""Media types, told from a manifest's bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MEDIA_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
    descriptors,
    is_manifest_type,
    is_schema_1,
    media_type,
)


@pytest.mark.parametrize(
    "stated", [*MEDIA_TYPES, "application/vnd.oci.artifact.manifest.v1+json", "application/unheard.of"]
)
def test_what_the_body_states_holds(stated: str) -> None:
    assert media_type(json.dumps({"schemaVersion": 2, "mediaType": stated}).encode()) == stated


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"schemaVersion": 2, "manifests": []}, OCI_INDEX),
        ({"schemaVersion": 2, "config": {}, "layers": []}, OCI_MANIFEST),
        ({"schemaVersion": 2, "mediaType": "text/html", "manifests": []}, OCI_INDEX),
        ({"schemaVersion": 2, "mediaType": "application/a\nb", "manifests": []}, OCI_INDEX),
        ({"schemaVersion": 2, "mediaType": SCHEMA_1[0], "config": {}}, OCI_MANIFEST),
        ({"schemaVersion": 2, "mediaType": 7, "config": {}}, OCI_MANIFEST),
        ({"schemaVersion": 2, "mediaType": DOCKER_LIST, "config": {}}, DOCKER_LIST),
        ({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "manifests": []}, DOCKER_MANIFEST),
    ],
)
def test_the_shape_tells_where_the_body_does_not(document: dict[str, Any], shown: str) -> None:
    assert media_type(json.dumps(document).encode()) == shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"schemaVersion": 1, "config": {}}',
        b'{"schemaVersion": 1, "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}',
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 2, "config": []}',
        b'{"schemaVersion": 2, "manifests": {}}',
        b"<html></html>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_manifest_has_no_media_type(body: bytes) -> None:
    assert media_type(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MANIFEST_LIKE = st.fixed_dictionaries(
    {}, optional={"schemaVersion": st.just(2) | JSON, "mediaType": JSON, "manifests": JSON, "config": JSON}
)


@given(st.binary(max_size=60) | (JSON | MANIFEST_LIKE).map(lambda document: json.dumps(document).encode()))
def test_junk_has_a_type_that_a_manifest_can_have_or_none(body: bytes) -> None:
    shown = media_type(body)
    assert shown is None or is_manifest_type(shown)


@pytest.mark.parametrize(
    ("body", "is_old"), [(b'{"schemaVersion": 1}', True), (b'{"schemaVersion": 2}', False), (b"1", False)]
)
def test_a_manifest_of_schema_1_is_told_from_junk(body: bytes, is_old: bool) -> None:
    assert is_schema_1(body) is is_old


def test_descriptors_of_manifests_and_indexes_and_nothing_that_is_none() -> None:
    digest = "sha256:" + "a" * 64
    good = {"digest": digest, "size": 7}
    odd: list[Any] = [None, 7, {}, {"digest": digest}, {"digest": "sha512:" + "a" * 128, "size": 7}]
    odd += [{"digest": digest, "size": size} for size in (-1, True, "7", 7.0)]
    for document in (
        {"config": good, "layers": odd},
        {"layers": [*odd, good], "config": []},
        {"manifests": [good], "layers": {}},
    ):
        assert list(descriptors(json.dumps(document).encode())) == [("a" * 64, 7)]
