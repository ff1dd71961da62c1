"""The documents of an archive that is written: an OCI layout, and docker's list of the same images.

They follow from the images alone: whoever writes them writes the same bytes.

Source: OCI image-spec, image-layout.md and annotations.md.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from ..oci.digest import Digest
from ..oci.manifest import OCI_INDEX
from ..oci.platforms import fits
from ..oci.reference import Reference
from ..oci.strict import Document
from .documents import (
    DOCKER_CONFIG,
    DOCKER_IMAGES,
    INDEX,
    LAYOUT,
    LAYOUT_VERSION,
    NAME_ANNOTATION,
    OCI_CONFIG,
    REF_ANNOTATION,
    blob_name,
    digest_of,
)
from .naming import shown_name
from .trees import Tree

_USUAL: Final = "linux/amd64"
"""Of an image for several platforms, docker's list names one: this one, if there is, else the first."""


def layout(trees: Sequence[Tree]) -> list[tuple[str, bytes]]:
    """The documents of an archive by name, in the order in which they are written."""
    in_order = sorted(trees, key=lambda tree: shown_name(tree.name))
    listed = _docker_list(in_order)
    return [
        (LAYOUT, msgspec.json.encode({"imageLayoutVersion": LAYOUT_VERSION})),
        (INDEX, _index(in_order)),
        *([(DOCKER_IMAGES, msgspec.json.encode(listed))] if listed else []),
    ]


def _index(trees: Sequence[Tree]) -> bytes:
    """The list of the images. Each has its whole name, and its tag, as far as that tells it from the others."""
    tags = Counter(tree.name.tag for tree in trees if isinstance(tree.name, Reference))
    entries = []
    for tree in trees:
        name, shown = tree.name, shown_name(tree.name)
        annotations = {NAME_ANNOTATION: shown}
        if isinstance(name, Reference):
            annotations[REF_ANNOTATION] = name.tag if tags[name.tag] == 1 else shown
        root = tree.root
        entry = {"mediaType": root.media_type, "digest": str(root.digest), "size": len(root.body)}
        entries.append({**entry, "annotations": annotations})
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _docker_list(trees: Sequence[Tree]) -> list[dict[str, object]]:
    """Docker's list: each image once, with all its tags. Content that is no image for a runtime is not in it.

    Names are whole: podman would take `app:1` for one of its own.
    """
    listed: dict[Digest, dict[str, object]] = {}
    tags: dict[Digest, list[str]] = {}
    for tree in trees:
        found = _runnable(tree, tree.documents[tree.root.digest], tree.root.digest)
        if found is None:
            continue
        digest, document = found
        assert document.config is not None
        where = str(digest)
        tags.setdefault(digest, [])
        if isinstance(tree.name, Reference):
            tags[digest].append(str(tree.name))
        listed[digest] = {
            "Config": blob_name(digest_of(document.config, where)),
            "RepoTags": tags[digest],
            "Layers": [blob_name(digest_of(layer, where)) for layer in document.layers or []],
        }
    return list(listed.values())


def _runnable(tree: Tree, document: Document, digest: Digest) -> tuple[Digest, Document] | None:
    """The one manifest of a tree that docker's list names."""
    if document.config is not None and document.config.mediaType in (DOCKER_CONFIG, OCI_CONFIG):
        return digest, document
    known = [(child, digest_of(child, str(digest))) for child in document.manifests or []]
    here = [(child, named) for child, named in known if named in tree.documents]
    here.sort(key=lambda row: not fits(str(row[0].platform or ""), _USUAL))  # stable: else the index's order
    runnable = (_runnable(tree, tree.documents[named], named) for _, named in here)
    return next(filter(None, runnable), None)
