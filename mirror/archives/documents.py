"""What archives write about images: descriptors, indexes, manifests, configurations, and docker's list of images."""

from typing import Final, TypeVar

import msgspec

from ..errors import ArchiveError, DigestInvalid
from ..oci.digest import Digest
from ..oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST

LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
DOCKER_IMAGES: Final = "manifest.json"
LAYOUT_VERSION: Final = "1.0.0"

NAME_ANNOTATION: Final = "io.containerd.image.name"
"""On a descriptor of `index.json`: the image's whole name, as containerd, docker and buildx write it."""
REF_ANNOTATION: Final = "org.opencontainers.image.ref.name"
"""Likewise its tag, or its whole name, as skopeo and podman write it."""
ATTESTED_ANNOTATION: Final = "vnd.docker.reference.digest"
"""On a descriptor of an index: the manifest of which this one attests something."""

INDEX_TYPES: Final = (OCI_INDEX, DOCKER_LIST)
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
"""Of a layer that is not compressed; compressed ones have `.gzip` or `.zstd` at the end."""

_USUAL_VARIANTS: Final = {"arm64": "v8", "arm": "v7"}
"""What an image is for that does not say it, as containerd has it."""

Shape = TypeVar("Shape")


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """For what an image is."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `linux/arm64/v8`; raise ValueError if it is no platform."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(part.replace("_", "").isalnum() for part in parts):
            raise ValueError(f"{text!r} is no platform; give one such as linux/amd64 or linux/arm/v7")
        return cls(parts[1], parts[0], parts[2] if len(parts) == 3 else "")

    def fits(self, wanted: "Platform") -> bool:
        """Whether an image for this platform is what somebody wants; a variant that is not wanted by name is any."""
        variant = self.variant or _USUAL_VARIANTS.get(self.architecture, "")
        return (self.os, self.architecture) == (wanted.os, wanted.architecture) and wanted.variant in ("", variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names content by its digest."""

    mediaType: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    urls: list[str] | None = None

    @property
    def annotated(self) -> dict[str, str]:
        """Its annotations."""
        return self.annotations or {}

    @property
    def is_elsewhere(self) -> bool:
        """Whether the content is for others to give out, and need not be in a registry."""
        return bool(self.urls)


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


class RootFs(msgspec.Struct, frozen=True):
    """Of a configuration: the layers, unpacked."""

    diff_ids: list[str] = []


class Config(msgspec.Struct, frozen=True):
    """The configuration of an image."""

    rootfs: RootFs | None = None
    architecture: str = ""
    os: str = ""
    variant: str = ""


class DockerImage(msgspec.Struct, frozen=True):
    """An entry of docker's list of images."""

    Config: str
    Layers: list[str] | None = None
    RepoTags: list[str] | None = None


def read(name: str, body: bytes, shape: type[Shape]) -> Shape:
    """Read JSON of a shape; raise ArchiveError, which names the member, if it is none."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"member {name!r} is not the JSON that it must be: {error}") from None


def digest_of(descriptor: Descriptor, where: str) -> Digest:
    """The digest that a descriptor states; raise ArchiveError if it is none."""
    try:
        digest = Digest.parse(descriptor.digest)
    except DigestInvalid as error:
        raise ArchiveError(f"member {where!r}: {error}") from None
    if descriptor.size < 0:
        raise ArchiveError(f"member {where!r}: {digest} has a size of {descriptor.size} bytes")
    return digest


def blob_name(digest: Digest) -> str:
    """Where a layout has some content."""
    return "blobs/" + str(digest).replace(":", "/")


def is_manifest(descriptor: Descriptor) -> bool:
    """Whether a descriptor says that it names a manifest or index."""
    return descriptor.mediaType in MEDIA_TYPES


def media_type_of(document: Document, stated: str = "") -> str:
    """A manifest's media type: as its body has it, as its descriptor states it, or as its shape shows."""
    return document.mediaType or stated or (OCI_INDEX if document.manifests is not None else OCI_MANIFEST)


def docker_manifest(config: tuple[Digest, int], layers: list[tuple[Digest, int, str]]) -> bytes:
    """The manifest of an image whose archive has none: the same bytes for all who make it, and those of containerd.

    Args:
        config: digest and bytes of the configuration, whose digest is the image's id.
        layers: digest, bytes and media type of each layer as it is in the archive; docker leaves them uncompressed.
    """

    def descriptor(digest: Digest, size: int, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": str(digest), "size": size}

    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(*config, DOCKER_CONFIG),
            "layers": [descriptor(*layer) for layer in layers],
        }
    )
