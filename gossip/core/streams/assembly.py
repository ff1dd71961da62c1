"""A filter from its chunks, which come in order and one filter at a time: so memory is bounded by one filter."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Rejection, WireError
from ..messages import Chunk, Entry


@dataclass(slots=True)
class ArrivingFilter:
    """A filter of which some chunks are here.

    Args:
        entry: its version.
        bits_log2: its size.
        bits: its first bytes.
    """

    entry: Entry
    bits_log2: int
    bits: bytearray


class FilterAssembly:
    """Puts chunks together.

    Args:
        length_of: tells the length in bytes of a filter of that size with so many keys.
    """

    def __init__(self, length_of: Callable[[int, int], int]) -> None:
        self._length_of = length_of
        self._arriving: ArrivingFilter | None = None

    def add(self, chunk: Chunk) -> ArrivingFilter | None:
        """Take a chunk. Returns the filter if that completes it.

        Raises:
            WireError: the chunk is of another filter, or of another place in it.
        """
        if chunk.offset == 0:
            self._arriving = ArrivingFilter(chunk.entry, chunk.bits_log2, bytearray())
        arriving = self._arriving
        if arriving is None or (chunk.entry, chunk.bits_log2) != (arriving.entry, arriving.bits_log2):
            raise WireError(Rejection.ORDER, "a chunk of another filter")
        length = self._length_of(chunk.bits_log2, chunk.entry.sequence)
        if chunk.offset != len(arriving.bits) or chunk.offset + len(chunk.bits) > length:
            raise WireError(Rejection.ORDER, "a chunk of another place")
        arriving.bits += chunk.bits
        if len(arriving.bits) < length:
            return None
        self._arriving = None
        return arriving
