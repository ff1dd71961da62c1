"""The parts of a node to which clients push, put together."""

from collections.abc import Callable
from dataclasses import dataclass

from ...images.own_tags import OwnTags
from ...oci.digest import Digest
from ...oci.reference import Repository
from ...pins.pushed import Pushed
from ...settings import PushSettings
from ...stores import BlobUploads
from ..backend import Backend
from ..writers import Writers
from .deletions import Deletes, Deletions
from .manifests import PushedManifests
from .uploads import Uploads


@dataclass(frozen=True, slots=True)
class PushStack:
    """What the endpoints of one node share.

    Args:
        writers: decides who may push.
        uploads: blobs that arrive.
        manifests: takes manifests.
        deletions: deletes.
        own: the tags that were pushed.
        backend: what this node reads from.
        published: is told of content that came whole to a repository: who has its bytes may have them there.
    """

    writers: Writers
    uploads: Uploads
    manifests: PushedManifests
    deletions: Deletions
    own: OwnTags
    backend: Backend
    published: Callable[[Repository, Digest], object]

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        writers: Writers,
        backend: Backend,
        files: BlobUploads,
        own: OwnTags,
        *,
        delete: Deletes,
        pushed: Pushed,
        published: Callable[[Repository, Digest], object],
        settings: PushSettings,
    ) -> "PushStack":
        """Put the parts together.

        Args:
            writers: decides who may push.
            backend: what this node reads from.
            files: where blobs are written.
            own: keeps tags.
            delete: deletes content of this node's cache.
            pushed: pins what was pushed.
            published: is told of content that came whole to a repository.
            settings: bounds.
        """
        uploads = Uploads(files, settings)
        manifests = PushedManifests(uploads, backend.holdings, backend.fetching.sizes.size, own, pushed, settings)
        deletions = Deletions(backend.holdings, backend.manifests, own, pushed, delete)
        return cls(writers, uploads, manifests, deletions, own, backend, published)
