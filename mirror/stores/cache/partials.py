"""Partials: the blobs of the cache that are not complete.

A blob is either being written, or was left by a fetch that ended: then the next fetch for it continues, as far as
hashing its file gives what the journal says. What was left goes first when space is needed.
"""

import asyncio
from collections import OrderedDict

from .folder import Folder
from .journal import has_records


class Partials:
    """Which partial blobs there are, and how many bytes they take.

    Args:
        folder: where their files are.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._written: dict[str, int] = {}
        self._left: OrderedDict[str, int] = OrderedDict()  # the one left first comes first

    @property
    def written_bytes(self) -> int:
        """Bytes that are reserved for blobs that are being written."""
        return sum(self._written.values())

    @property
    def bytes(self) -> int:
        """Bytes that are reserved for all of them."""
        return self.written_bytes + sum(self._left.values())

    def restore(self, left: dict[str, int]) -> None:
        """Take over what an earlier process left: sizes in bytes by name."""
        self._left.update(left)

    def was_left(self, name: str) -> bool:
        """Whether an earlier fetch left something of a blob."""
        return name in self._left

    @property
    def any_left(self) -> bool:
        """Whether anything was left that could be dropped."""
        return bool(self._left)

    def begin(self, name: str, size: int) -> bool:
        """Note that a blob is being written; return whether its file from an earlier fetch can be continued."""
        found = self._left.pop(name, None) == size
        self._written[name] = size
        return found

    def finish(self, name: str) -> None:
        """Note that a blob is complete; its file has its new name already."""
        del self._written[name]

    def leave(self, name: str) -> None:
        """Keep a blob for the next fetch, unless no piece of it is known to be whole."""
        self._left[name] = self._written.pop(name)
        if not has_records(self._folder.journal(name)):
            self._drop(name)

    def discard(self, name: str) -> None:
        """Forget a blob that is being written, and delete its file."""
        del self._written[name]
        self._folder.discard_partial(name)

    def evict(self) -> asyncio.Future[None]:
        """Drop the one that was left first; the future is done when its bytes are free."""
        return self._drop(next(iter(self._left)))

    def _drop(self, name: str) -> asyncio.Future[None]:
        del self._left[name]
        return self._folder.discard_partial(name)
