"""Manifests and indexes, as far as a mirror needs to understand them: their media type and what they point to.

A content store keeps bytes, not media types, and a client writes the Content-Type of the answer into its own store: it
must be right. OCI manifests may leave `mediaType` out of the body; then their shape shows the type.

Sources: OCI image-spec, manifest.md and image-index.md; Docker image manifest v2, schema 2.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from .descriptors import Document, Named, descriptor_of, digest_of, document_of, in_turn, named_in
from .digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
SCHEMA_1 = tuple(f"application/vnd.docker.distribution.manifest.v1+{form}" for form in ("json", "prettyjws"))
"""Manifests of before 2016. Their digest is not that of their bytes, so no mirror can check them."""

_MEDIA_TYPE = re.compile(r"application/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838 section 4.2. Nothing else than `application` is a manifest, and a browser would show some of the rest."""

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
"""Larger manifests are refused: containerd skips them too."""

_texts = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Outline:
    """What a mirror needs to know of a manifest or index.

    Args:
        media_type: what the body states, known or not; else the OCI type that its shape shows.
        named: the content that it names.
        subject: the manifest that it refers to; None if it refers to none.
        artifact_type: what it is, by its own word or else by the media type of its configuration.
        annotations: what it says about itself. Like the type, it is read where there is a subject alone.
    """

    media_type: str
    named: tuple[Named, ...] = ()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests."""
        return self.media_type in INDEX_TYPES


async def outline_of(body: bytes) -> Outline | None:
    """Read a manifest, a large one in a thread; None where it is no manifest at all."""
    return await in_turn(outline, body)


def outline(body: bytes) -> Outline | None:
    """Read a manifest; None where it is no manifest at all, or one of schema 1."""
    document = document_of(body)
    media_type = None if document is None else _media_type(document)
    if document is None or media_type is None:
        return None
    named = named_in(document)
    subject = descriptor_of(document.subject)
    if subject is None or (digest := digest_of(subject)) is None:
        return Outline(media_type, named)
    return Outline(media_type, named, digest, _artifact_type(document), _annotations(document))


def is_manifest_type(text: str) -> bool:
    """Whether a media type can be that of a manifest which a mirror can pass on; new ones are made all the time."""
    return _MEDIA_TYPE.fullmatch(text) is not None and text not in SCHEMA_1


def is_schema_1(body: bytes) -> bool:
    """Whether a body is a manifest of schema 1."""
    document = document_of(body)
    return document is not None and bool(document.schemaVersion == 1)


def _media_type(document: Document) -> str | None:
    if isinstance(document.mediaType, str) and is_manifest_type(document.mediaType):
        return document.mediaType
    if document.schemaVersion != 2:
        return None
    if bytes(document.manifests).startswith(b"["):
        return OCI_INDEX
    if bytes(document.config).startswith(b"{"):
        return OCI_MANIFEST
    return None


def _artifact_type(document: Document) -> str | None:
    if isinstance(document.artifactType, str) and document.artifactType:
        return document.artifactType
    config = descriptor_of(document.config)
    return config.mediaType if config is not None and isinstance(config.mediaType, str) else None


def _annotations(document: Document) -> Mapping[str, str]:
    with contextlib.suppress(ValueError, RecursionError):
        return _texts.decode(document.annotations)
    return {}
