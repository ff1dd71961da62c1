"""How a blob is cut into pieces, once its size is known."""

from collections.abc import Iterable, Iterator, Sequence

from ...cluster.homes import MEBIBYTE, SMALLEST_BYTES, home_piece_size
from ...oci.ranges import RangeSet, Span


class Pieces:
    """The pieces of one blob. Until the size is known there is one piece, of which only the beginning is asked for.

    Args:
        homes: how many there are.
        stated: the blob's size in bytes, as a manifest states it: the blob is cut as if that were true until `sized`.
    """

    def __init__(self, homes: int, stated: int | None = None) -> None:
        self.size: int | None = None
        self.stated = stated
        self._homes = homes
        self.unit = home_piece_size(stated, homes) if stated is not None else MEBIBYTE if homes == 1 else SMALLEST_BYTES
        """The bytes of a piece; the last one may have fewer. While nobody states the size: of the first request, which
        must not reach beyond the first piece, for what is behind that has another home."""

    def sized(self, size: int) -> None:
        """Take note of the blob's size, in bytes."""
        self.size, self.unit = size, home_piece_size(size, self._homes)

    def number(self, start: int) -> int:
        """The number of the piece that has byte `start`."""
        return 0 if self.size is None and self.stated is None else start // self.unit

    def end(self, start: int) -> int:
        """The end of the piece that has byte `start`."""
        return (start // self.unit + 1) * self.unit

    def cut(self, gaps: RangeSet, start: int = 0) -> Iterator[tuple[int, int]]:
        """Cut what is missing from `start` on at the bounds of pieces."""
        for gap, stop in gaps:
            at = max(gap, start)
            while at < stop:
                end = min(stop, self.end(at))
                yield at, end
                at = end

    def in_order(self, gaps: RangeSet, heads: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Cut what is missing: first what each waiting reader waits for, then what follows it, then the rest."""
        for head in heads:
            yield from (piece for piece in self.cut(gaps, head) if piece[0] <= head < piece[1])
        if heads:
            yield from self.cut(gaps, min(heads))
        yield from self.cut(gaps)


def bridged(gaps: Iterable[Span], share: float) -> Iterator[Span]:
    """Join gaps that lie close together, in order, so that one request fetches several.

    Args:
        gaps: what is missing, in order.
        share: bounds what is fetched in between, as a share of what is missing.
    """
    start = stop = missing = between = 0
    for gap, end in gaps:
        hole = gap - stop
        if missing and between + hole <= share * (missing + end - gap):
            stop, missing, between = end, missing + end - gap, between + hole
            continue
        if missing:
            yield start, stop
        start, stop, missing, between = gap, end, end - gap, 0
    if missing:
        yield start, stop
