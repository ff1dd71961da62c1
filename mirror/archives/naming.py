"""Under which names the images of an archive are kept."""

from collections.abc import Iterable, Sequence

from ..errors import ArchiveError
from ..oci.reference import Reference, Repository
from .contents import Image, Name


def repository_of(name: Name) -> Repository:
    """The repository that a name is in."""
    return name.repository if isinstance(name, Reference) else name[0]


def give_names(images: Sequence[Image], wanted: Repository | Reference | None) -> None:
    """Give each image its names: what is wanted, else what the archive says; what refers to another goes where that is.

    Args:
        images: of one archive.
        wanted: a name for its only image; without a tag, the archive's tags stay.

    Raises:
        ArchiveError: an image has no name, or it is not clear which one is to be renamed.
    """
    known = {str(image.digest) for image in images}
    mains = [image for image in images if image.names or image.tags or image.subject not in known]
    if wanted is not None:
        if len(mains) != 1:
            raise ArchiveError(f"--as names one image, and the archive has {len(mains)}: {_listed(mains)}")
        mains[0].names = _renamed(mains[0], wanted)
    nameless = [image for image in mains if not image.names]
    if nameless:
        tags = ", ".join(f"{tag!r}" for image in nameless for tag in image.tags)
        why = f"only a tag, {tags}" if tags else "no name"
        hint = "" if len(mains) == 1 else f"; the archive has {_listed(mains)}"
        raise ArchiveError(f"the archive gives an image {why}: say which one with --as NAME[:TAG]{hint}")
    by_digest = {str(image.digest): image for image in mains}
    for image in images:
        subject = by_digest.get(image.subject or "")
        if not image.names and subject is not None:
            image.names = [(repository, image.digest) for repository in _repositories(subject.names)]
    for image in images:
        if not image.names:
            raise ArchiveError(f"{image.digest} refers to {image.subject}, which has no name in the archive")


def _renamed(image: Image, wanted: Repository | Reference) -> list[Name]:
    if isinstance(wanted, Reference):
        return [wanted]
    tags = [name.tag for name in image.names if isinstance(name, Reference)] or image.tags or ["latest"]
    return [Reference.of(wanted, tag) for tag in dict.fromkeys(tags)]


def _repositories(names: Iterable[Name]) -> list[Repository]:
    return list(dict.fromkeys(map(repository_of, names)))


def _listed(images: Sequence[Image]) -> str:
    """The images, as people know them."""
    return ", ".join(shown_name(image.names[0]) if image.names else str(image.digest) for image in images[:10])


def shown_name(name: Name) -> str:
    """A name as people write it."""
    return str(name) if isinstance(name, Reference) else f"{name[0]}@{name[1]}"
