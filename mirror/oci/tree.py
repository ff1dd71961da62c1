"""What a manifest or index names, and as what: for people who look at an image, and for whoever deletes one.

Sources: OCI image-spec, manifest.md, image-index.md and descriptor.md.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ..errors import DigestInvalid
from .digest import Digest

Place: TypeAlias = Literal["manifest", "config", "layer"]

_NAMED_MAX: Final = 4096
"""Bounds what is read of one manifest, as `manifest.outline` does."""
_TEXT_MAX: Final = 100
"""Bounds a media type or a platform, in characters."""


@dataclass(frozen=True, slots=True)
class Named:
    """Content that a manifest or index names.

    Args:
        digest: of the content.
        size: in bytes, as the manifest states it.
        place: as what: a manifest of an index, the configuration, or a layer, as artifacts call all their files.
        media_type: as stated.
        platform: for which the image is, as `linux/arm64/v8`; empty if that is not stated.
    """

    digest: Digest
    size: int
    place: Place
    media_type: str = ""
    platform: str = ""

    def is_for(self, platform: str) -> bool:
        """Whether it is for a platform; one whose variant is not named fits any variant."""
        return self.platform == platform or self.platform.startswith(f"{platform}/")


class _Platform(msgspec.Struct):
    architecture: Any = ""
    os: Any = ""
    variant: Any = ""


class _Descriptor(msgspec.Struct):
    digest: Any = None
    size: Any = None
    mediaType: Any = ""
    platform: msgspec.Raw = msgspec.Raw()


class _Document(msgspec.Struct):
    config: msgspec.Raw = msgspec.Raw()
    manifests: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()


_document = msgspec.json.Decoder(_Document)
_one = msgspec.json.Decoder(_Descriptor | None)
_several = msgspec.json.Decoder(list[_Descriptor | None])
_platform = msgspec.json.Decoder(_Platform)


def named_by(body: bytes) -> tuple[Named, ...]:
    """What a manifest names, in its order, the configuration first; what is not in order is left out."""
    try:
        document = _document.decode(body)
    except (ValueError, RecursionError):
        return ()
    return tuple(islice(_named(document), _NAMED_MAX))


def _named(document: _Document) -> Iterator[Named]:
    with contextlib.suppress(ValueError, RecursionError):
        if (config := _one.decode(document.config)) is not None:
            yield from _of(config, "config")
    lists: tuple[tuple[Place, msgspec.Raw], ...] = (("manifest", document.manifests), ("layer", document.layers))
    for place, text in lists:
        with contextlib.suppress(ValueError, RecursionError):
            for descriptor in filter(None, _several.decode(text)):
                yield from _of(descriptor, place)


def _of(descriptor: _Descriptor, place: Place) -> Iterator[Named]:
    if not isinstance(descriptor.digest, str) or type(descriptor.size) is not int or descriptor.size < 0:
        return
    with contextlib.suppress(DigestInvalid):
        digest, media_type = Digest.parse(descriptor.digest), _text(descriptor.mediaType)
        yield Named(digest, descriptor.size, place, media_type, _platform_of(descriptor))


def _platform_of(descriptor: _Descriptor) -> str:
    try:
        platform = _platform.decode(descriptor.platform)
    except (ValueError, RecursionError):
        return ""
    parts = (platform.os, platform.architecture, platform.variant)
    return "/".join(part for part in map(_text, parts) if part)


def _text(stated: Any) -> str:
    return stated[:_TEXT_MAX] if isinstance(stated, str) else ""
