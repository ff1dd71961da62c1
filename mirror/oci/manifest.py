"""Manifests and indexes, as far as a mirror needs to understand them: their media type and what they point to.

A content store keeps bytes, not media types, and a client writes the Content-Type of the answer into its own store: it
must be right. OCI manifests may leave `mediaType` out of the body; then their shape shows the type.

Sources: OCI image-spec, manifest.md and image-index.md; Docker image manifest v2, schema 2.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from ..errors import DigestInvalid
from .digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
SCHEMA_1 = tuple(f"application/vnd.docker.distribution.manifest.v1+{form}" for form in ("json", "prettyjws"))
"""Manifests of before 2016. Their digest is not that of their bytes, so no mirror can check them."""

_MEDIA_TYPE = re.compile(r"application/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838 section 4.2. Nothing else than `application` is a manifest, and a browser would show some of the rest."""

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
"""Larger manifests are refused: containerd skips them too."""


_DESCRIPTORS_MAX = 4096
"""Bounds the descriptors that are read of one manifest: images have up to 127 layers, indexes some hundred entries."""

_READ_AT_ONCE_BYTES = 64 * 1024
"""Size up to which a manifest is read on the event loop, in bytes: some 0.3 ms. Larger ones are rare, and may take a
hundred times as long."""


class _Document(msgspec.Struct):
    """What is read of a manifest; the rest is looked over."""

    schemaVersion: Any = None
    mediaType: Any = None
    artifactType: Any = None
    subject: msgspec.Raw = msgspec.Raw()
    annotations: msgspec.Raw = msgspec.Raw()
    config: msgspec.Raw = msgspec.Raw()
    manifests: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    blobs: msgspec.Raw = msgspec.Raw()


class _Descriptor(msgspec.Struct):
    digest: Any = None
    size: Any = None
    mediaType: Any = None
    data: Any = None


_document = msgspec.json.Decoder(_Document)
_one: msgspec.json.Decoder[_Descriptor | None] = msgspec.json.Decoder(_Descriptor | None)
_several = msgspec.json.Decoder(list[_Descriptor | None])
_texts = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Outline:
    """What a mirror needs to know of a manifest or index.

    Args:
        media_type: what the body states, known or not; else the OCI type that its shape shows.
        sizes: the content that it names: `(hexadecimal digest, bytes)` each.
        embedded: those of them whose bytes it has itself, so that not all clients ask for them.
        subject: the manifest that it refers to; None if it refers to none.
        artifact_type: what it is, by its own word or else by the media type of its configuration.
        annotations: what it says about itself. Like the type, it is read where there is a subject alone.
    """

    media_type: str
    sizes: tuple[tuple[str, int], ...]
    embedded: frozenset[str] = frozenset()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


async def outline_of(body: bytes) -> Outline | None:
    """Read a manifest, a large one in a thread; None where it is no manifest at all."""
    return outline(body) if len(body) <= _READ_AT_ONCE_BYTES else await asyncio.to_thread(outline, body)


def outline(body: bytes) -> Outline | None:
    """Read a manifest; None where it is no manifest at all, or one of schema 1."""
    try:
        document = _document.decode(body)
    except (ValueError, RecursionError):
        return None
    media_type = _media_type(document)
    if media_type is None:
        return None
    named = [(digest.hex, it) for it, digest in islice(_named(document), _DESCRIPTORS_MAX)]
    sizes = tuple((name, it.size) for name, it in named)
    embedded = frozenset(name for name, it in named if isinstance(it.data, str))
    subject = _descriptor(document.subject)
    if subject is None or (digest := _digest(subject)) is None:
        return Outline(media_type, sizes, embedded)
    return Outline(media_type, sizes, embedded, digest, _artifact_type(document), _annotations(document))


def is_manifest_type(text: str) -> bool:
    """Whether a media type can be that of a manifest which a mirror can pass on; new ones are made all the time."""
    return _MEDIA_TYPE.fullmatch(text) is not None and text not in SCHEMA_1


def is_schema_1(body: bytes) -> bool:
    """Whether a body is a manifest of schema 1."""
    with contextlib.suppress(ValueError, RecursionError):
        return bool(_document.decode(body).schemaVersion == 1)
    return False


def _media_type(document: _Document) -> str | None:
    if isinstance(document.mediaType, str) and is_manifest_type(document.mediaType):
        return document.mediaType
    if document.schemaVersion != 2:
        return None
    if bytes(document.manifests).startswith(b"["):
        return OCI_INDEX
    if bytes(document.config).startswith(b"{"):
        return OCI_MANIFEST
    return None


def _named(document: _Document) -> Iterator[tuple[_Descriptor, Digest]]:
    """The descriptors, and what they name, without those that are not in order, and lists with anything else."""
    named: list[_Descriptor | None] = []
    for text in (document.manifests, document.layers, document.blobs):
        with contextlib.suppress(ValueError, RecursionError):
            named += _several.decode(text)
    named.append(_descriptor(document.config))
    for it in filter(None, named):
        if type(it.size) is int and it.size >= 0 and (digest := _digest(it)) is not None:
            yield it, digest


def _descriptor(text: msgspec.Raw) -> _Descriptor | None:
    with contextlib.suppress(ValueError, RecursionError):
        return _one.decode(text)
    return None


def _digest(descriptor: _Descriptor) -> Digest | None:
    with contextlib.suppress(DigestInvalid):
        return Digest.parse(descriptor.digest) if isinstance(descriptor.digest, str) else None
    return None


def _artifact_type(document: _Document) -> str | None:
    if isinstance(document.artifactType, str) and document.artifactType:
        return document.artifactType
    config = _descriptor(document.config)
    return config.mediaType if config is not None and isinstance(config.mediaType, str) else None


def _annotations(document: _Document) -> Mapping[str, str]:
    with contextlib.suppress(ValueError, RecursionError):
        return _texts.decode(document.annotations)
    return {}
