"""What a manifest or index names, and as what. All who look at images, or keep, count or delete them, read it here.

A manifest that others wrote may be odd in one part and right in all others. So each part is read for itself, and what
is not in order is left out. Who has to refuse such a manifest reads it by `strict`.

Sources: OCI image-spec, manifest.md, image-index.md and descriptor.md.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from ..errors import DigestInvalid
from .digest import Digest
from .platforms import fits

Place: TypeAlias = Literal["manifest", "config", "layer"]
Result = TypeVar("Result")

DESCRIPTORS_MAX: Final = 4096
"""Bounds the descriptors that are read of one manifest: images have up to 127 layers, indexes some hundred entries."""
_TEXT_MAX: Final = 255
"""Bounds a media type or a part of a platform, in characters: RFC 6838 has no longer media types."""
_READ_AT_ONCE_BYTES: Final = 64 * 1024
"""Size up to which a manifest is read on the event loop, in bytes: less than 1 ms. Larger ones are rare, and may take a
hundred times as long."""
_UNDISTRIBUTED: Final = ("nondistributable", ".foreign.")
"""In the media types of layers that no registry may distribute."""
_WRONG: Final = (ValueError, RecursionError)


class Named(msgspec.Struct, frozen=True):
    """Content that a manifest or index names.

    Args:
        digest: of the content.
        size: in bytes, as the manifest states it.
        place: as what: an entry of an index, the configuration, or a layer, as artifacts call all their files.
        media_type: as stated; empty if it is not.
        platform: for which the image is, as `linux/arm64/v8`; empty if that is not stated.
        is_embedded: whether the manifest has its bytes itself, so that not all clients ask for them.
    """

    digest: Digest
    size: int
    place: Place
    media_type: str = ""
    platform: str = ""
    is_embedded: bool = False

    def is_for(self, platform: str) -> bool:
        """Whether it is for a platform, such as `linux/arm64`."""
        return fits(self.platform, platform)

    @property
    def is_manifest(self) -> bool:
        """Whether it is a manifest or index; an index may list other content as well."""
        kind = self.media_type or "manifest"
        return self.place == "manifest" and ("manifest" in kind or "index" in kind)


class Descriptor(msgspec.Struct):
    """Names content, if it is in order."""

    digest: Any = None
    size: Any = None
    mediaType: Any = None
    data: Any = None
    platform: Any = None


class Document(msgspec.Struct):
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


_document = msgspec.json.Decoder(Document)
_one: msgspec.json.Decoder[Descriptor | None] = msgspec.json.Decoder(Descriptor | None)
_several = msgspec.json.Decoder(list[Descriptor | None])


async def in_turn(read: Callable[[bytes], Result], body: bytes) -> Result:
    """Read a manifest on the event loop, a large one in a thread."""
    return read(body) if len(body) <= _READ_AT_ONCE_BYTES else await asyncio.to_thread(read, body)


def named_by(body: bytes) -> tuple[Named, ...]:
    """What a manifest names, in its order, the configuration first; nothing if it is no manifest."""
    document = document_of(body)
    return () if document is None else named_in(document)


def document_of(body: bytes) -> Document | None:
    """The fields of a JSON object; None if it is none."""
    with contextlib.suppress(*_WRONG):
        return _document.decode(body)
    return None


def named_in(document: Document) -> tuple[Named, ...]:
    """What a manifest names, as `named_by`."""
    return tuple(islice(_named(document), DESCRIPTORS_MAX))


def descriptor_of(text: msgspec.Raw) -> Descriptor | None:
    """The descriptor that a field of a manifest is; None if it is none."""
    try:
        return _one.decode(text)
    except _WRONG:
        return None


def digest_of(descriptor: Descriptor) -> Digest | None:
    """The digest of a descriptor; None if it is none."""
    try:
        return Digest.parse(descriptor.digest) if isinstance(descriptor.digest, str) else None
    except DigestInvalid:
        return None


def is_undistributed(media_type: str) -> bool:
    """Whether a media type is that of layers that are not on the registry, but where the manifest says."""
    return any(word in media_type for word in _UNDISTRIBUTED)


def _named(document: Document) -> Iterator[Named]:
    if (config := descriptor_of(document.config)) is not None and (it := _read(config, "config")) is not None:
        yield it
    lists: tuple[tuple[Place, msgspec.Raw], ...] = (
        ("manifest", document.manifests),
        ("layer", document.layers),
        ("layer", document.blobs),
    )
    for place, text in lists:
        with contextlib.suppress(*_WRONG):
            for descriptor in filter(None, _several.decode(text)):
                if (it := _read(descriptor, place)) is not None:
                    yield it


def _read(it: Descriptor, place: Place) -> Named | None:
    """What a descriptor names; None if it is not in order."""
    if type(it.size) is not int or it.size < 0 or (digest := digest_of(it)) is None:
        return None
    return Named(digest, it.size, place, _text(it.mediaType), _platform(it.platform), isinstance(it.data, str))


def _platform(stated: Any) -> str:
    """A platform in one text; empty if it is none."""
    if not isinstance(stated, dict):
        return ""
    system, architecture, variant = (_text(stated.get(part)) for part in ("os", "architecture", "variant"))
    if not system or not architecture:
        return ""
    return f"{system}/{architecture}/{variant}" if variant else f"{system}/{architecture}"


def _text(stated: Any) -> str:
    return stated[:_TEXT_MAX] if isinstance(stated, str) else ""
