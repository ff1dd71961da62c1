"""Media types, told from a manifest's bytes."""

import asyncio
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci import manifest
from mirror.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MEDIA_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
    Outline,
    is_manifest_type,
    is_schema_1,
    outline,
    outline_of,
)


def media_type(body: bytes) -> str | None:
    found = outline(body)
    return None if found is None else found.media_type


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
        b'{"schemaVersion": 2, "mediaType": "\x80"}',
        b'{"schemaVersion": 2, "\x80": 1, "config": {}, "layers": [], "artifactType": "\x80"}',
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


def sizes(document: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    found = outline(json.dumps(document).encode())
    assert found is not None
    return sizes_of(found)


def sizes_of(found: Outline) -> tuple[tuple[str, int], ...]:
    return tuple((it.digest.hex, it.size) for it in found.named)


def test_descriptors_of_manifests_and_indexes_and_nothing_that_is_none() -> None:
    digest = "sha256:" + "a" * 64
    good = {"digest": digest, "size": 7}
    odd: list[Any] = [None, {}, {"digest": digest}, {"digest": "sha512:" + "a" * 64, "size": 7}]
    odd += [{"digest": digest, "size": size} for size in (-1, True, "7", 7.0)]
    documents: list[dict[str, Any]] = [
        {"config": good, "layers": odd},
        {"layers": [*odd, good], "config": {}},
        {"manifests": [good], "layers": {}, "config": []},
    ]
    for document in documents:
        document["schemaVersion"] = 2
        document.setdefault("config", {})
        assert sizes(document) == (("a" * 64, 7),)
    others: list[Any] = [7, "text", []]
    for entry in others:
        assert sizes({"schemaVersion": 2, "config": good, "layers": [good, good, entry]}) == (("a" * 64, 7),)


def test_what_one_manifest_states_is_bounded_and_a_large_one_is_read_by_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = [{"digest": f"sha256:{number:064x}", "size": number} for number in range(30_000)]
    readers: list[int] = []

    def noted(body: bytes) -> Outline | None:
        readers.append(threading.get_ident())
        return outline(body)

    monkeypatch.setattr(manifest, "outline", noted)
    for count, is_on_the_loop in ((10, True), (30_000, False)):
        body = json.dumps({"schemaVersion": 2, "config": {}, "layers": layers[:count]}).encode()
        found = asyncio.run(outline_of(body))
        assert found is not None
        assert sizes_of(found) == tuple((f"{number:064x}", number) for number in range(min(count, 4096)))
        assert (readers.pop() == threading.get_ident()) is is_on_the_loop
    assert not readers, "each was read once"


def test_what_a_manifest_has_itself_is_named_and_need_not_be_asked_for() -> None:
    config = {"digest": "sha256:" + "a" * 64, "size": 2, "data": "e30="}
    layer = {"digest": "sha512:" + "b" * 128, "size": 7}
    found = outline(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode())
    assert found is not None
    assert sizes_of(found) == (("a" * 64, 2), ("b" * 128, 7))
    assert [it.is_embedded for it in found.named] == [True, False]
