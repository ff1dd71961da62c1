"""What the hub has: images on disk, by repository and tag."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..images import MANIFEST_TYPE, Image


@dataclass(slots=True)
class Repository:
    """One repository.

    Args:
        tags: digests of manifests, by tag.
        manifests: their media types, by digest.
        blobs: the digests of what is no manifest.
        readers: the accounts that may see it; None: everybody.
    """

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    readers: Collection[str] | None = None


class Shelf:
    """Everything that a registry has. Nothing is copied: the files of an image have to stay where they are."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self._files: dict[str, Path] = {}

    def hold(self, image: Image, repository: str, *tags: str, readers: Collection[str] | None = None) -> None:
        """Have an image from now on.

        Args:
            image: its files are served as they are.
            repository: such as `library/nginx`.
            tags: its own, where none is given.
            readers: the accounts that may see the repository; None: everybody.
        """
        place = self.repositories.setdefault(repository, Repository())
        place.readers = readers
        for digest in image.digests:
            self._files[digest] = image.path(digest)
        place.blobs.update((image.config, *image.layers))
        place.manifests[image.manifest] = MANIFEST_TYPE
        for tag in tags or (image.name.rpartition(":")[2],):
            place.tags[tag] = image.manifest

    def move(self, repository: str, tag: str, digest: str) -> None:
        """Let a tag, which may be new, mean a manifest of its repository from now on."""
        place = self.repositories[repository]
        assert digest in place.manifests, f"{repository} has no {digest}"
        place.tags[tag] = digest

    def may_see(self, account: str, repository: str) -> bool:
        """Whether an account, or everybody if it is empty, may see a repository, which then exists."""
        place = self.repositories.get(repository)
        return place is not None and (place.readers is None or account in place.readers)

    def manifest(self, repository: str, reference: str) -> tuple[str, str, bytes] | None:
        """Digest, media type and bytes of what a tag or digest means."""
        place = self.repositories[repository]
        digest = place.tags.get(reference, reference)
        media_type = place.manifests.get(digest)
        return None if media_type is None else (digest, media_type, self._files[digest].read_bytes())

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        return digest in self.repositories[repository].blobs

    def file(self, digest: str) -> Path | None:
        """The file of some content of any repository."""
        return self._files.get(digest)
