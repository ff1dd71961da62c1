"""A filter from its chunks, which come in order and one filter at a time: so memory is bounded by one filter."""

from dataclasses import dataclass

from ..errors import Rejection, WireError
from ..messages import Chunk, Entry


@dataclass(slots=True)
class ArrivingFilter:
    """A filter of which some chunks are here.

    Args:
        entry: its version.
        bits_log2: it has 2 ** bits_log2 bits.
        bits: its first bytes.
    """

    entry: Entry
    bits_log2: int
    bits: bytearray

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return len(self.bits) == 1 << (self.bits_log2 - 3)


class FilterAssembly:
    """Puts chunks together."""

    def __init__(self) -> None:
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
        if chunk.offset != len(arriving.bits) or chunk.offset + len(chunk.bits) > 1 << (chunk.bits_log2 - 3):
            raise WireError(Rejection.ORDER, "a chunk of another place")
        arriving.bits += chunk.bits
        if not arriving.complete:
            return None
        self._arriving = None
        return arriving
