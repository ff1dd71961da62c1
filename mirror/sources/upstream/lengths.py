"""How long blobs are of which the registry does not say it: it sends them in chunks, or until the connection ends.

Container tools read those to the end. Here a blob's size has to be known before its first byte is passed on. A manifest
or a member may state it. Else HEAD is asked for it, which often says it, and else the blob is read once for its length
alone. What others state, and what HEAD says, are claims: where the body has another length, they are forgotten.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ...oci.digest import Digest
from ...settings import UpstreamSettings


class Lengths:
    """Sizes of blobs in bytes, by digest; the oldest is forgotten where there are too many.

    Args:
        settings: `lengths_max`.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._claimed: OrderedDict[Digest, int | None] = OrderedDict()

    def known(self, digest: Digest) -> int | None:
        """The size, as far as is known."""
        return self._claimed.get(digest)

    def is_to_be_measured(self, digest: Digest) -> bool:
        """Whether a claim has turned out wrong, so that only reading the blob tells its size."""
        return digest in self._claimed and self._claimed[digest] is None

    def note(self, digest: Digest, size: int | None) -> None:
        """Remember a size, or with None that it is to be measured."""
        self._claimed[digest] = size
        self._claimed.move_to_end(digest)
        while len(self._claimed) > self._settings.lengths_max:
            self._claimed.popitem(last=False)

    def watched(
        self, digest: Digest, claim: int, read: Callable[[], Awaitable[bytes]]
    ) -> Callable[[], Awaitable[bytes]]:
        """Read a body from its first byte on; where it is not as long as claimed, that is forgotten."""
        total = 0

        async def read_on() -> bytes:
            nonlocal total
            chunk = await read()
            total += len(chunk)
            if total > claim or not chunk:
                self.note(digest, None)
            return chunk

        return read_on
