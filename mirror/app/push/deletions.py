"""Deleting: tags that were pushed, for the whole cluster; content, on this node.

Source: OCI distribution-spec, "Content Management".
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from ...errors import BlobUnknown, Denied, ManifestUnknown
from ...images.holdings import Holdings
from ...images.manifests import Manifests
from ...images.own_tags import OwnTags
from ...oci.digest import Digest
from ...oci.reference import Reference, Repository
from ...pins.pushed import Pushed
from .uploads import storage_errors

log = logging.getLogger(__name__)

Deletes = Callable[[Sequence[Digest]], Awaitable[object]]
"""Deletes content of this node's cache."""


class Deletions:
    """Deletes what was pushed.

    Args:
        holdings: what this node's stores hold.
        manifests: has manifests in memory.
        own: the tags.
        pushed: unpins them.
        delete: deletes content.
    """

    def __init__(self, holdings: Holdings, manifests: Manifests, own: OwnTags, pushed: Pushed, delete: Deletes) -> None:
        self._holdings = holdings
        self._manifests = manifests
        self._own = own
        self._pushed = pushed
        self._delete = delete

    async def tag(self, reference: Reference) -> None:
        """Let a tag that was pushed mean nothing any more; raise ManifestUnknown if there is none."""
        if self._own.tag(reference) is None:
            raise ManifestUnknown(f"nobody has pushed {reference}; what upstream says of a tag is not deleted here")
        await self._pushed.let_go([str(reference)])
        with storage_errors():
            await self._own.put(reference, None)
        log.info("deleted tag=%s", reference)

    async def manifest(self, repository: Repository, digest: Digest) -> None:
        """Delete a manifest, with its tags in this repository. It stays as long as another repository has a tag of it.

        Raises:
            ManifestUnknown: this node does not hold it, and nobody has pushed it.
        """
        references = self._own.meaning(repository, digest)
        if not references and not self._holdings.has(digest):
            raise ManifestUnknown(f"this node does not hold {digest}")
        await self._pushed.let_go([*map(str, references), f"{repository}@{digest}"])
        with storage_errors():
            for reference in references:
                await self._own.put(reference, None)
        if not self._own.is_meant(digest):
            self._manifests.forget(digest)
            await self._delete([digest])
        log.info("deleted repository=%s digest=%s", repository, digest)

    async def blob(self, repository: Repository, digest: Digest) -> None:
        """Delete a blob of this node.

        Raises:
            BlobUnknown: it is not here.
            Denied: it is a manifest that has tags.
        """
        if not self._holdings.has(digest):
            raise BlobUnknown(f"this node does not hold {digest}")
        if self._own.is_meant(digest):
            raise Denied(f"{digest} is a manifest that was pushed: delete that")
        await self._delete([digest])
        log.info("deleted repository=%s digest=%s", repository, digest)
