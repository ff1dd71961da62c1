"""Manifests and indexes, as far as a mirror needs to understand them: their media type and what they point to.

A content store keeps bytes, not media types, and a client writes the Content-Type of the answer into its own store: it
must be right. OCI manifests may leave `mediaType` out of the body; then their shape shows the type.

Sources: OCI image-spec, manifest.md and image-index.md; Docker image manifest v2, schema 2.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
SCHEMA_1 = tuple(f"application/vnd.docker.distribution.manifest.v1+{form}" for form in ("json", "prettyjws"))
"""Manifests of before 2016. Their digest is not that of their bytes, so no mirror can check them."""

_MEDIA_TYPE = re.compile(r"application/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838 section 4.2. Nothing else than `application` is a manifest, and a browser would show some of the rest."""

_SHA256 = re.compile("sha256:[0-9a-f]{64}")

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
"""Larger manifests are refused: containerd skips them too."""


def media_type(body: bytes) -> str | None:
    """Tell a manifest's media type from its bytes.

    Returns:
        What the body states, known or not; else the OCI type that its shape shows; None where it is no manifest at all,
        or one of schema 1.
    """
    document = _document(body)
    if document is None:
        return None
    stated = document.get("mediaType")
    if isinstance(stated, str) and is_manifest_type(stated):
        return stated
    if document.get("schemaVersion") != 2:
        return None
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    if isinstance(document.get("config"), dict):
        return OCI_MANIFEST
    return None


def is_manifest_type(text: str) -> bool:
    """Whether a media type can be that of a manifest which a mirror can pass on; new ones are made all the time."""
    return _MEDIA_TYPE.fullmatch(text) is not None and text not in SCHEMA_1


def is_schema_1(body: bytes) -> bool:
    """Whether a body is a manifest of schema 1."""
    document = _document(body)
    return document is not None and document.get("schemaVersion") == 1


def _document(body: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def descriptors(body: bytes) -> Iterator[tuple[str, int]]:
    """What a manifest or index states of the content that it names.

    Yields:
        The hexadecimal sha256, and the size in bytes. What is no descriptor of the specification is left out.
    """
    document: Any = json.loads(body)
    lists = [document.get(name) for name in ("manifests", "layers")]
    named = [document.get("config"), *(entry for entries in lists if isinstance(entries, list) for entry in entries)]
    for entry in named:
        if not isinstance(entry, dict):
            continue
        digest, size = entry.get("digest"), entry.get("size")
        if isinstance(digest, str) and _SHA256.fullmatch(digest) and type(size) is int and size >= 0:
            yield digest.removeprefix("sha256:"), size
