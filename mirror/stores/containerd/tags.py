"""Which of containerd's image names are tags, and what they mean.

containerd's names are free text. The kubelet's plugin keeps three for one image: `registry/repository:tag`,
`registry/repository@sha256:…` and a bare `sha256:…`; imports leave others. Only a name with a registry and a tag means
the same on every node, so only such a name is a tag here.

A tag counts only while its target is in the content store. A name whose content was collected would send another node
to a manifest that perhaps nobody has; "not found" is the better answer.
"""

from collections.abc import Container, Iterable

from ...errors import DigestInvalid, NameInvalid
from ...oci.digest import Digest
from ...oci.reference import Reference
from .. import Tag
from .messages import Image


def reference_of(name: str) -> Reference | None:
    """Read an image's name; returns None if it is no tag."""
    registry, slash, path = name.partition("/")
    states_registry = bool(slash) and ("." in registry or ":" in registry or registry == "localhost")
    if not states_registry or ":" not in path.rpartition("/")[2]:
        return None
    try:
        return Reference.parse(name)
    except NameInvalid:
        return None


def tags_of(images: Iterable[Image], content: Container[Digest]) -> dict[Reference, Tag]:
    """Read all tags from a list of images.

    Args:
        images: as containerd lists them.
        content: what is in the content store.

    Returns:
        The tags. Of two names for one reference, such as with and without `library/`, the one that was set last counts.
    """
    tags: dict[Reference, Tag] = {}
    for image in images:
        reference = reference_of(image.name)
        if reference is None:
            continue
        try:
            digest = Digest.parse(image.target)
        except DigestInvalid:
            continue
        known = tags.get(reference)
        if digest in content and (known is None or known.checked_unix_s < image.updated_unix_s):
            tags[reference] = Tag(digest, image.updated_unix_s, "runtime")
    return tags
