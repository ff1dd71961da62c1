"""Byte ranges: of a request, of an answer, and sets of them.

All offsets are bytes; a range is `[start, stop)`, half-open, except in header text, where the last byte is included.

Source: RFC 9110 section 14.
"""

import re
from collections.abc import Iterator

from ..errors import RangeInvalid, RangeUnsatisfiable

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a request's Range header.

    Args:
        header: its text, or None where the request has none.
        size: the content's length in bytes.

    Returns:
        `(start, stop)`, or None where the header is absent, malformed or of another unit: such a header is to be
        ignored and the whole content sent (RFC 9110 section 14.2).

    Raises:
        RangeInvalid: several ranges; a single-part answer to such a request corrupts what zstd:chunked clients build.
        RangeUnsatisfiable: it begins at or beyond the end.
    """
    if header is None or not header.lower().startswith("bytes="):
        return None
    if "," in header:
        raise RangeInvalid("one range a request, please: several are not supported")
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = int(match[2])
        if length == 0 or size == 0:
            raise RangeUnsatisfiable(size)
        return max(0, size - length), size
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    if start >= size:
        raise RangeUnsatisfiable(size)
    return start, min(last + 1, size)


def content_range(start: int, stop: int, size: int) -> str:
    """Write the Content-Range header of a 206 answer."""
    return f"bytes {start}-{stop - 1}/{size}"


def parse_content_range(header: str | None) -> tuple[int, int, int] | None:
    """Read an answer's Content-Range header.

    Returns:
        `(start, stop, size)`, or None where it is absent, malformed, of unknown size or contradicts itself.
    """
    match = _CONTENT_RANGE.fullmatch(header or "")
    if match is None:
        return None
    start, last, size = map(int, match.groups())
    return (start, last + 1, size) if start <= last < size else None


class RangeSet:
    """A set of bytes, kept as sorted, disjoint ranges that do not touch."""

    __slots__ = ("_ranges",)

    def __init__(self, *ranges: tuple[int, int]) -> None:
        self._ranges: list[tuple[int, int]] = []
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Put `[start, stop)` in."""
        if start >= stop:
            return
        kept = []
        for a, b in self._ranges:
            if b < start or stop < a:
                kept.append((a, b))
            else:
                start, stop = min(a, start), max(b, stop)
        kept.append((start, stop))
        kept.sort()
        self._ranges = kept

    def remove(self, start: int, stop: int) -> None:
        """Take `[start, stop)` out."""
        if start >= stop:
            return
        kept = []
        for a, b in self._ranges:
            kept += [(x, y) for x, y in ((a, min(b, start)), (max(a, stop), b)) if x < y]
        self._ranges = kept

    def __sub__(self, other: "RangeSet") -> "RangeSet":
        difference = RangeSet()
        difference._ranges = list(self._ranges)
        for start, stop in other:
            difference.remove(start, stop)
        return difference

    def __or__(self, other: "RangeSet") -> "RangeSet":
        union = RangeSet()
        union._ranges = list(self._ranges)
        for start, stop in other:
            union.add(start, stop)
        return union

    def __and__(self, other: "RangeSet") -> "RangeSet":
        return self - (self - other)

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of `[start, stop)` is in the set."""
        return start >= stop or self.front(start) >= stop

    def front(self, offset: int) -> int:
        """The end of the contiguous bytes from `offset` on; `offset` itself where that byte is not in the set."""
        for a, b in self._ranges:
            if a <= offset < b:
                return b
        return offset

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        return sum(b - a for a, b in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]  # a set that changes

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(map(str, self._ranges))})"
