"""Content: what a client asks for by digest, under the name of a repository."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .digest import Digest
from .reference import Repository

Kind: TypeAlias = Literal["manifests", "blobs"]
"""The distribution API's two kinds of content, as its paths name them."""


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or blob by its digest, with the repository under whose name a client asked for it.

    Registries keep manifests and blobs apart, so a request has to say which it asks for. The digest alone identifies
    the bytes.
    """

    repository: Repository
    kind: Kind
    digest: Digest

    @property
    def path(self) -> str:
        """The path of the distribution API below the registry, e.g. `library/nginx/blobs/sha256:…`."""
        return f"{self.repository.path}/{self.kind}/{self.digest}"


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """An image, as far as somebody holds it.

    Args:
        reference: the tag; empty for an image that has none there.
        digest: of its manifest or index.
        bytes: of what is held of it.
        held: of the blobs that it names for one platform, how many are held.
        named: how many it names.
        unused_s: how long ago a client last asked for it, or else when it came, s; None if nobody knows.
        stores: that have its manifest.
    """

    reference: str
    digest: str
    bytes: int
    held: int
    named: int
    unused_s: float | None
    stores: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing lacks."""
        return self.held >= self.named


@dataclass(frozen=True, slots=True)
class Parts:
    """How much of an image somebody holds.

    Args:
        held: of the blobs that its manifest names, how many.
        named: how many it names; 0 if it is no manifest.
    """

    held: int
    named: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing lacks."""
        return self.held >= self.named
