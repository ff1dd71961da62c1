"""Of what an image consists, as the cluster has it: its manifests, and the blobs that they name."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..errors import AgentError
from ..oci.digest import Digest
from ..oci.platforms import fits
from ..oci.reference import Reference, Repository
from ..oci.strict import Descriptor, Document, Platform
from ..settings import ArchiveSettings
from .contents import Manifest, Name
from .distribution import Distribution
from .documents import ATTESTED_ANNOTATION, Config, digest_of, read
from .naming import repository_of, shown_name

_CONFIG_MAX_BYTES: Final = 4 * 1024 * 1024
"""Bounds a configuration that is read for its platform, in bytes."""


@dataclass(slots=True)
class Tree:
    """A manifest or index with what it names.

    Args:
        name: the image's.
        root: its manifest or index.
        documents: its manifests by digest, the root first.
        manifests: likewise, with their bytes.
        blobs: what these name, with their sizes in bytes.
        left_out: platforms that the index lists and nobody wanted.
    """

    name: Name
    root: Manifest
    documents: dict[Digest, Document] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def repository(self) -> Repository:
        """Where its parts are found."""
        return repository_of(self.name)


class Trees:
    """Asks an agent for the manifests of images. Raises AgentError where the cluster does not have all of one.

    Args:
        registry: the agent.
        platform: the only one that is wanted of an index, such as `linux/amd64`; None: all.
        settings: bounds.
    """

    def __init__(self, registry: Distribution, platform: str | None, settings: ArchiveSettings) -> None:
        self._registry = registry
        self._platform = platform
        self._settings = settings

    def grow(self, name: Name) -> Tree:
        """Find all that an image consists of."""
        shown, what = shown_name(name), name.tag if isinstance(name, Reference) else str(name[1])
        found = self._registry.manifest(repository_of(name), what)
        if found is None:
            raise AgentError(
                f"{shown}: nobody in the cluster has it, and no registry gives it: `skvaller why` says more", 404
            )
        if not isinstance(name, Reference) and not name[1].matches(found.body):
            raise AgentError(f"{shown}: what came has the digest {found.digest}", 200)
        document = read(shown, found.body, Document)
        digest = found.digest if isinstance(name, Reference) else name[1]
        tree = Tree(name, Manifest(digest, document.media_type(), found.body))
        self._add(tree, tree.root, document, 0)
        if self._platform is not None and document.manifests is None:
            self._check_platform(tree, document)
        return tree

    def _add(self, tree: Tree, manifest: Manifest, document: Document, depth: int) -> None:
        """Add a manifest, and all below it."""
        if depth > self._settings.depth_max or len(tree.manifests) >= self._settings.manifests_max:
            raise AgentError(f"{shown_name(tree.name)}: too many manifests, or too deep in each other", 200)
        tree.documents[manifest.digest], tree.manifests[manifest.digest] = document, manifest
        where = str(manifest.digest)
        for blob in document.content:
            if not blob.is_elsewhere:
                tree.blobs[digest_of(blob, where)] = blob.size
        children = document.manifests or []
        for child in children if self._platform is None else self._wanted(tree, children):
            digest = digest_of(child, where)
            if child.mediaType and not child.is_manifest:
                tree.blobs[digest] = child.size
            elif digest not in tree.manifests:
                self._add_child(tree, child, digest, depth + 1)

    def _add_child(self, tree: Tree, child: Descriptor, digest: Digest, depth: int) -> None:
        found = self._registry.manifest(tree.repository, str(digest))
        what = f"{shown_name(tree.name)}: its manifest {digest}{f' for {child.platform}' if child.platform else ''}"
        if found is None:
            raise AgentError(f"{what} is nowhere; name a platform that the cluster has with --platform", 404)
        if not digest.matches(found.body):
            raise AgentError(f"{what} came with the digest {found.digest}", 200)
        document = read(str(digest), found.body, Document)
        self._add(tree, Manifest(digest, document.media_type(child.mediaType), found.body), document, depth)

    def _wanted(self, tree: Tree, children: list[Descriptor]) -> list[Descriptor]:
        """Those of an index's children that are for the platform."""
        assert self._platform is not None
        wanted = self._platform
        kept = [child for child in children if child.platform is None or fits(str(child.platform), wanted)]
        others = [child for child in children if child not in kept and ATTESTED_ANNOTATION not in child.annotated]
        tree.left_out += map(str, dict.fromkeys(child.platform for child in others))
        if children and not kept:
            raise self._none_for(tree, ", ".join(tree.left_out))
        return kept

    def _check_platform(self, tree: Tree, document: Document) -> None:
        """Raise AgentError if an image that is no index is for another platform."""
        if document.config is None or document.config.size > _CONFIG_MAX_BYTES:
            return
        with self._registry.blob(tree.repository, digest_of(document.config, str(tree.root.digest)), 0) as body:
            text = body.read(_CONFIG_MAX_BYTES)
        try:
            config = msgspec.json.decode(text, type=Config)
        except (ValueError, RecursionError):
            return  # no image's
        found = Platform(config.architecture, config.os, config.variant)
        if found.os and self._platform is not None and not fits(str(found), self._platform):
            raise self._none_for(tree, str(found))

    def _none_for(self, tree: Tree, others: str) -> AgentError:
        return AgentError(f"{shown_name(tree.name)} is not for {self._platform}; it is for {others}", 404)
