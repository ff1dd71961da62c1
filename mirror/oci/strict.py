"""Manifests and indexes as the specification has them, for those who refuse what is not in order: archives and pushes.

Who takes manifests as they are, once they are in the cluster, reads them by `descriptors`.

Sources: OCI image-spec, manifest.md, image-index.md and descriptor.md.
"""

from typing import Annotated

import msgspec

from .digest import Digest
from .manifest import MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """For what an image is."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True):
    """Names content by its digest."""

    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    mediaType: str = ""
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    urls: list[str] | None = None

    @property
    def named(self) -> Digest:
        """What it names; raise DigestInvalid if its digest is none."""
        return Digest.parse(self.digest)

    @property
    def annotated(self) -> dict[str, str]:
        """Its annotations."""
        return self.annotations or {}

    @property
    def is_elsewhere(self) -> bool:
        """Whether the content is for others to give out, and need not be in a registry."""
        return bool(self.urls)

    @property
    def is_manifest(self) -> bool:
        """Whether it says that it names a manifest or index."""
        return self.mediaType in MEDIA_TYPES


class Document(msgspec.Struct, frozen=True):
    """A manifest or index."""

    schemaVersion: int = 0
    mediaType: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    blobs: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None

    @property
    def content(self) -> list[Descriptor]:
        """What it names that is no manifest: the configuration first."""
        return [*([self.config] if self.config else []), *(self.layers or []), *(self.blobs or [])]

    def media_type(self, stated: str = "") -> str:
        """Its media type: as it says itself, as its descriptor states it, or as its shape shows."""
        return self.mediaType or stated or (OCI_INDEX if self.manifests is not None else OCI_MANIFEST)
