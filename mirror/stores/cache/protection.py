"""Protection: which blobs of the cache never leave to make room, because somebody has pinned them."""

from collections.abc import Set

from ...oci.digest import Digest
from .blobs import Blobs


class Protection:
    """Lets blobs stay.

    Args:
        blobs: those of the cache.
        capacity_bytes: the bound on what the cache keeps.
        names: hexadecimal digests of what is protected at first.
    """

    def __init__(self, blobs: Blobs, capacity_bytes: int, names: Set[str]) -> None:
        self.capacity_bytes = capacity_bytes
        self._blobs = blobs
        self.protect(names)

    @property
    def protected(self) -> Set[str]:
        """What never leaves to make room, by hexadecimal digest."""
        return self._blobs.protected

    def holds(self, digest: Digest) -> bool:
        """Whether a complete blob is here and may be served."""
        return self._blobs.size(digest.hex) is not None

    def protect(self, names: Set[str]) -> None:
        """Let these blobs, by hexadecimal digest, never leave to make room, and all others again."""
        self._blobs.protected = names
