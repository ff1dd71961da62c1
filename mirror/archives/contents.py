"""What images an archive has, and of what they consist.

An OCI layout says so itself. An archive of `docker save` without one has no manifests; then one is made of what it has,
the same by whoever makes it. What an archive states of a part is compared with the part: sizes here, digests here or by
the agent, which gets the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import ArchiveError, DigestInvalid, NameInvalid
from ..oci.digest import Digest
from ..oci.manifest import DOCKER_MANIFEST
from ..oci.reference import Reference, Repository, parse_image
from ..oci.strict import Descriptor, Document
from ..settings import ArchiveSettings
from .documents import (
    ATTESTED_ANNOTATION,
    DOCKER_IMAGES,
    DOCKER_LAYER,
    INDEX,
    LAYOUT,
    NAME_ANNOTATION,
    REF_ANNOTATION,
    Config,
    DockerImage,
    blob_name,
    digest_of,
    docker_manifest,
    parse_digest,
    read,
)
from .packing import Packing, packing_of
from .reading import Archive

Name = Reference | tuple[Repository, Digest]
"""What an image is called: a tag, or a repository in which it is found by its digest."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A part of an image that is no manifest.

    Args:
        digest: of it.
        size: bytes.
        member: which file of the archive it is; None if the archive does not have it.
    """

    digest: Digest
    size: int
    member: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index.

    Args:
        digest: of its body.
        media_type: its own.
        body: its bytes.
    """

    digest: Digest
    media_type: str
    body: bytes


@dataclass(slots=True)
class Image:
    """A manifest, or an index, with all that it names.

    Args:
        digest: of the root.
        names: the image's, none if the archive does not say.
        tags: that the archive gives it without saying of which repository.
        subject: the digest of what it refers to, if it does.
        manifests: children first, the root last.
        blobs: what these name.
        left_out: the manifests of an index that the archive does not have: the platform, or the digest.
    """

    digest: Digest
    names: list[Name] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    subject: str | None = None
    manifests: list[Manifest] = field(default_factory=list)
    blobs: dict[Digest, Blob] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def images_of(archive: Archive, settings: ArchiveSettings) -> list[Image]:
    """The images of an archive.

    Raises:
        ArchiveError: it is no image archive, has nothing in it, or is not what it says.
    """
    if archive.has(INDEX):
        found = _of_layout(archive, settings)
    elif archive.has(DOCKER_IMAGES):
        found = _of_docker(archive, settings)
    else:
        raise ArchiveError(
            f"there is neither {INDEX} nor {DOCKER_IMAGES} in it: it is no OCI layout, and nothing that "
            "`docker save` of version 1.10 or newer wrote"
        )
    if not found:
        raise ArchiveError("there is no image in it")
    return found


def _of_layout(archive: Archive, settings: ArchiveSettings) -> list[Image]:
    """The images that `index.json` lists, each once, with all its names."""
    if not archive.has(LAYOUT):
        raise ArchiveError(f"{LAYOUT!r} is missing: an OCI layout has it beside {INDEX}")
    index = read(INDEX, archive.document(INDEX), Document)
    walk = _Walk(archive, settings)
    images: dict[Digest, Image] = {}
    for entry in index.manifests or []:
        digest = digest_of(entry, INDEX)
        image = images.get(digest)
        if image is None:
            image = images[digest] = walk.image(entry, digest)
        full, tag = _named(entry)
        if full is not None and full not in image.names:
            image.names.append(full)
        elif full is None and tag is not None:
            image.tags.append(tag)
    return list(images.values())


def _named(entry: Descriptor) -> tuple[Name | None, str | None]:
    """The whole name of an entry, or its tag, as far as its annotations say."""
    whole, ref = entry.annotated.get(NAME_ANNOTATION), entry.annotated.get(REF_ANNOTATION)
    if whole is None and ref is not None and any(mark in ref for mark in "/:@"):
        whole = ref
    return (None, ref) if whole is None else (_name(whole, INDEX), ref)


def _name(text: str, where: str) -> Name | None:
    """Read a name of an image; None if it is only a digest. Raise ArchiveError if it is no name."""
    try:
        Digest.parse(text)
    except DigestInvalid:
        pass
    else:
        return None
    try:
        return parse_image(text)
    except (NameInvalid, DigestInvalid) as error:
        raise ArchiveError(f"member {where!r} names an image {text[:200]!r}: {error}; name it with --as") from None


class _Walk:
    """Goes from a root to all that it names.

    Args:
        archive: has it.
        settings: bounds.
    """

    def __init__(self, archive: Archive, settings: ArchiveSettings) -> None:
        self._archive = archive
        self._settings = settings
        self._count = 0

    def image(self, root: Descriptor, digest: Digest) -> Image:
        """What a root consists of."""
        image = Image(digest)
        self._enter(image, root, digest, 0)
        return image

    def _enter(self, image: Image, descriptor: Descriptor, digest: Digest, depth: int) -> None:
        """Add a manifest, and before it what it names."""
        name = blob_name(digest)
        self._count += 1
        if depth > self._settings.depth_max or self._count > self._settings.manifests_max:
            raise ArchiveError(
                f"member {name!r}: at most {self._settings.depth_max} indexes in each other and "
                f"{self._settings.manifests_max:,} manifests are allowed"
            )
        self._compare(name, descriptor.size)
        body = self._archive.document(name)
        if not digest.matches(body):
            raise ArchiveError(f"member {name!r} does not have the digest that is its name")
        document = read(name, body, Document)
        if depth == 0 and document.subject is not None:
            image.subject = document.subject.digest
        for blob in document.content:
            self._add_blob(image, blob, name)
        self._add_children(image, document.manifests or [], name, depth)
        image.manifests.append(Manifest(digest, document.media_type(descriptor.mediaType), body))

    def _add_children(self, image: Image, children: list[Descriptor], where: str, depth: int) -> None:
        """Add what an index lists, as far as the archive has it: writers leave out other platforms than their own."""
        entered = left_out = 0
        for child in children:
            digest = digest_of(child, where)
            if child.mediaType and not child.is_manifest:
                self._add_blob(image, child, where)
            elif self._archive.has(blob_name(digest)):
                if all(known.digest != digest for known in image.manifests):
                    self._enter(image, child, digest, depth + 1)
                entered += 1
            else:
                left_out += 1
                if ATTESTED_ANNOTATION not in child.annotated:
                    image.left_out.append(str(child.platform or digest))
        if left_out and not entered:
            raise ArchiveError(f"member {where!r} lists {left_out} manifests, and none of them is in the archive")

    def _add_blob(self, image: Image, blob: Descriptor, where: str) -> None:
        digest = digest_of(blob, where)
        name = blob_name(digest)
        if self._archive.has(name):
            self._compare(name, blob.size)
            image.blobs[digest] = Blob(digest, blob.size, name)
        elif not blob.is_elsewhere:
            image.blobs[digest] = Blob(digest, blob.size, None)

    def _compare(self, name: str, stated: int) -> None:
        """Compare a member's length with what a descriptor states."""
        size = self._archive.size(name)
        if size != stated:
            raise ArchiveError(f"member {name!r} has {size:,} bytes; the manifest that names it states {stated:,}")


def _of_docker(archive: Archive, settings: ArchiveSettings) -> list[Image]:
    """The images in docker's list, each with the manifest that is made for it."""
    body = archive.document(DOCKER_IMAGES)
    if body.lstrip().startswith(b"{"):
        raise ArchiveError(f"{DOCKER_IMAGES!r} is a manifest, as in skopeo's `dir:` folders; copy the image to `oci:`")
    listed = read(DOCKER_IMAGES, body, list[DockerImage])
    if len(listed) > settings.manifests_max:
        raise ArchiveError(f"member {DOCKER_IMAGES!r} lists {len(listed):,} images; {settings.manifests_max:,} may be")
    images: dict[Digest, Image] = {}
    for entry in listed:
        made = _docker_image(archive, entry)
        image = images.setdefault(made.digest, made)
        image.names += [name for name in _docker_names(entry) if name not in image.names]
    return list(images.values())


def _docker_names(entry: DockerImage) -> Iterator[Name]:
    for text in entry.RepoTags or []:
        name = _name(text, DOCKER_IMAGES)
        if name is not None:
            yield name


def _docker_image(archive: Archive, entry: DockerImage) -> Image:
    """Make the manifest of an image of which there are a configuration and layers."""
    body = archive.document(entry.Config)
    config, layers = read(entry.Config, body, Config), entry.Layers or []
    diff_ids = config.rootfs.diff_ids if config.rootfs is not None else []
    if len(diff_ids) != len(layers):
        raise ArchiveError(
            f"{DOCKER_IMAGES!r} lists {len(layers)} layers, and {entry.Config!r} {len(diff_ids)}: both must be equal"
        )
    blobs = [Blob(Digest.of(body), len(body), entry.Config)]
    types = []
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        packing = packing_of(archive.head(layer))
        blobs.append(Blob(_layer_digest(archive, layer, diff_id, packing, entry.Config), archive.size(layer), layer))
        types.append(DOCKER_LAYER + (f".{packing.name.lower()}" if packing else ""))
    described = [(blob.digest, blob.size, kind) for blob, kind in zip(blobs[1:], types, strict=True)]
    manifest = docker_manifest((blobs[0].digest, blobs[0].size), described)
    digest = Digest.of(manifest)
    return Image(
        digest,
        manifests=[Manifest(digest, DOCKER_MANIFEST, manifest)],
        blobs={blob.digest: blob for blob in blobs},
    )


def _layer_digest(archive: Archive, layer: str, diff_id: str, packing: Packing | None, where: str) -> Digest:
    """The digest of a layer: that of the configuration, unless it is compressed, which changes its bytes."""
    if packing is not None:
        return archive.digest(layer)
    stated = parse_digest(diff_id, where)
    digest = archive.digest_if(layer, stated)
    if digest != stated:
        raise ArchiveError(f"member {layer!r} has the digest {digest}; by {where!r} it must be {stated}")
    return digest
