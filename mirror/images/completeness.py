"""How much of an image this node holds: it may have a manifest, and not what that names."""

from typing import Final

from ..errors import ManifestUnknown
from ..oci.content import Parts
from ..oci.digest import Digest
from ..oci.manifest import outline_of
from .holdings import Holdings
from .manifests import Manifests

_ENTRIES_MAX: Final = 64
"""Bounds the manifests of an index that are looked at: one for each platform, and one with its origin."""


class Completeness:
    """Counts what is here of what a manifest names. It fetches nothing.

    Args:
        manifests: reads them.
        holdings: what this node's stores hold.
    """

    def __init__(self, manifests: Manifests, holdings: Holdings) -> None:
        self._manifests = manifests
        self._holdings = holdings

    async def parts(self, digest: Digest) -> Parts:
        """Of a manifest, how many of the blobs that it names are here.

        Of an index one image counts, for a node needs but the one of its platform: of those whose manifests are here
        the largest. Without any, all that the index names counts. Of other content there are no parts.

        Raises:
            StorageFailed: it is here, but cannot be read now.
        """
        return (await self._weighed(digest, is_entry=False))[1]

    async def _weighed(self, digest: Digest, *, is_entry: bool) -> tuple[int, Parts]:
        """The bytes that a manifest names, and how much of that is here."""
        try:
            manifest = await self._manifests.held(digest)
        except ManifestUnknown:
            manifest = None
        outline = None if manifest is None else await outline_of(manifest.body)
        if outline is None:
            return 0, Parts(0, 0)
        if outline.is_index and not is_entry:
            entries = [it.digest for it in outline.named if self._holdings.has(it.digest)]
            weighed = [await self._weighed(entry, is_entry=True) for entry in entries[:_ENTRIES_MAX]]
            if weighed:
                return max(weighed, key=lambda entry: entry[0])
        return sum(it.size for it in outline.named), self._holdings.parts_of(outline.named)
