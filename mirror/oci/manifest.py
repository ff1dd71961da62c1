"""Manifests and indexes, as far as a mirror needs to understand them: their media type and what they point to.

A content store keeps bytes, not media types, and a client writes the Content-Type of the answer into its own store: it
must be right. OCI manifests may leave `mediaType` out of the body; then their shape shows the type.

Sources: OCI image-spec, manifest.md and image-index.md; Docker image manifest v2, schema 2.
"""

import json
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
"""Larger manifests are refused: containerd skips them too."""


def media_type(body: bytes) -> str | None:
    """Tell a manifest's media type from its bytes.

    Returns:
        What the body states; else the OCI type that its shape shows; None where it is no manifest at all.
    """
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    stated = document.get("mediaType")
    if isinstance(stated, str) and stated in MEDIA_TYPES:
        return stated
    if document.get("schemaVersion") != 2:
        return None
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    if isinstance(document.get("config"), dict):
        return OCI_MANIFEST
    return None
