"""What archives write about images beside manifests and indexes: configurations, docker's list of images, names."""

from typing import Final, TypeVar

import msgspec

from ..errors import ArchiveError, DigestInvalid
from ..oci.digest import Digest
from ..oci.manifest import DOCKER_MANIFEST
from ..oci.strict import Descriptor

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

DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
"""Of a layer that is not compressed; compressed ones have `.gzip` or `.zstd` at the end."""

Shape = TypeVar("Shape")


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
    return parse_digest(descriptor.digest, where)


def parse_digest(text: str, where: str) -> Digest:
    """A digest that a member states; raise ArchiveError if it is none."""
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        raise ArchiveError(f"member {where!r}: {error}") from None


def blob_name(digest: Digest) -> str:
    """Where a layout has some content."""
    return "blobs/" + str(digest).replace(":", "/")


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
