"""Partials: the blobs of the cache that are not complete.

A blob is either being written, or was left by a fetch that ended: then the next fetch for it continues, as far as
hashing its file gives what the journal says. What was left goes first when space is needed.

A blob that is being written takes space step by step, as its bytes arrive: its size is only what somebody said.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .folder import Folder, Left
from .journal import has_records


@dataclass(slots=True)
class Writing:
    """A blob that is being written.

    Args:
        name: the hex of its digest.
        size: in bytes, as somebody said.
        wanted_here: whether a client of this node asked for it by now, rather than only other members.
        reserved: bytes that are reserved for it.
        continued: whether its file was left by an earlier fetch.
    """

    name: str
    size: int
    wanted_here: Callable[[], bool]
    reserved: int = 0
    continued: bool = False


class Partials:
    """Which partial blobs there are, and how many bytes they take.

    Args:
        folder: where their files are.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._written: dict[str, Writing] = {}
        self._left: OrderedDict[str, Left] = OrderedDict()  # the one left first comes first

    @property
    def bytes(self) -> int:
        """Bytes that are reserved for all of them."""
        return sum(writing.reserved for writing in self._written.values()) + self.left_bytes

    @property
    def left_bytes(self) -> int:
        """Bytes of those that were left."""
        return sum(left.reserved for left in self._left.values())

    @property
    def bytes_for_others(self) -> int:
        """Bytes that are reserved for what is being written for other members alone."""
        return sum(writing.reserved for writing in self._written.values() if not writing.wanted_here())

    @property
    def claimed_bytes(self) -> int:
        """The sizes of what is being written for clients of this node, as somebody said."""
        return sum(writing.size for writing in self._written.values() if writing.wanted_here())

    @property
    def bytes_to_come(self) -> int:
        """Those of the claimed bytes that are not reserved yet."""
        return self.claimed_bytes + self.bytes_for_others + self.left_bytes - self.bytes

    def restore(self, left: Mapping[str, Left]) -> None:
        """Take over what an earlier process left, by name."""
        self._left.update(left)

    def forget_missing(self) -> None:
        """Forget what was left and is gone from the disk."""
        for name in [name for name in self._left if not self._folder.partial(name).exists()]:
            del self._left[name]

    def was_left(self, name: str) -> bool:
        """Whether an earlier fetch left something of a blob."""
        return name in self._left

    @property
    def any_left(self) -> bool:
        """Whether anything was left that could be dropped."""
        return bool(self._left)

    def begin(self, name: str, size: int, wanted_here: Callable[[], bool] = lambda: True) -> Writing:
        """Note that a blob is being written; of another size, nothing that an earlier fetch left is continued."""
        writing = Writing(name, size, wanted_here)
        left = self._left.pop(name, None)
        if left is not None and left.size == size:
            writing.reserved, writing.continued = left.reserved, True
        self._written[name] = writing
        return writing

    def finish(self, name: str) -> Writing:
        """Note that a blob is complete; its file has its new name already."""
        return self._written.pop(name)

    def leave(self, name: str) -> None:
        """Keep a blob for the next fetch, unless no piece of it is known to be whole."""
        writing = self._written.pop(name)
        self._left[name] = Left(writing.size, writing.reserved)
        if not has_records(self._folder.journal(name)) and not self._folder.ranges(name).exists():
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
