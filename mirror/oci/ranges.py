"""Byte ranges: of a request, of an answer, and sets of them.

All offsets are bytes; a range is `[start, stop)`, half-open, except in header text, where the last byte is included.

Source: RFC 9110 section 14.
"""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

from ..errors import RangeInvalid, RangeUnsatisfiable

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IntRange:
    """The bytes from an offset on; the text of this value is the Range header that asks for them.

    Args:
        start: first byte.
        stop: end, exclusive, larger than `start`; None for everything from `start` on.

    Source: RFC 9110 section 14.1.1, int-range.
    """

    start: int
    stop: int | None = None

    def resolve(self, size: int) -> tuple[int, int]:
        """The range `(start, stop)` of content with this size in bytes.

        Raises:
            RangeUnsatisfiable: it begins at or beyond the end.
        """
        if self.start >= size:
            raise RangeUnsatisfiable(size)
        return self.start, size if self.stop is None else min(self.stop, size)

    def __str__(self) -> str:
        return f"bytes={self.start}-{'' if self.stop is None else self.stop - 1}"


@dataclass(frozen=True, slots=True)
class SuffixRange:
    """The last bytes.

    Args:
        length: their number.

    Source: RFC 9110 section 14.1.1, suffix-range.
    """

    length: int

    def resolve(self, size: int) -> tuple[int, int]:
        """The range `(start, stop)` of content with this size in bytes.

        Raises:
            RangeUnsatisfiable: no byte is asked for, or there is none.
        """
        if self.length == 0 or size == 0:
            raise RangeUnsatisfiable(size)
        return max(0, size - self.length), size


@dataclass(frozen=True, slots=True)
class SeveralRanges:
    """More than one range in one request. A single-part answer to it corrupts what zstd:chunked clients build."""

    def resolve(self, size: int) -> tuple[int, int]:
        """Refuse: it raises RangeInvalid whatever the size is."""
        raise RangeInvalid("send one range per request: several are not supported")


RequestedRange = IntRange | SuffixRange | SeveralRanges
"""What a Range header asks for. `resolve` says which bytes that are, as soon as the content's size is known."""


def parse_range(header: str | None) -> RequestedRange | None:
    """Read a request's Range header.

    Args:
        header: its text, or None where the request has none.

    Returns:
        What it asks for; None where the header is absent, malformed or of another unit: such a header is ignored and
        the whole content is sent (RFC 9110 section 14.2).
    """
    if header is None or not header.lower().startswith("bytes="):
        return None
    if "," in header:
        return SeveralRanges()
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return SuffixRange(int(match[2]))
    start, stop = int(match[1]), int(match[2]) + 1 if match[2] else None
    return None if stop is not None and stop <= start else IntRange(start, stop)


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
        ranges = []
        for a, b in self._ranges:
            if b < start or stop < a:
                ranges.append((a, b))
            else:
                start, stop = min(a, start), max(b, stop)
        ranges.append((start, stop))
        ranges.sort()
        self._ranges = ranges

    def remove(self, start: int, stop: int) -> None:
        """Take `[start, stop)` out."""
        if start >= stop:
            return
        ranges = []
        for a, b in self._ranges:
            ranges += [(x, y) for x, y in ((a, min(b, start)), (max(a, stop), b)) if x < y]
        self._ranges = ranges

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
        after = bisect.bisect_right(self._ranges, offset, key=itemgetter(0))
        return max(offset, self._ranges[after - 1][1]) if after else offset

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def byte_count(self) -> int:
        """How many bytes are in the set. It is not its `len`: `list` of the set takes that for the number of ranges."""
        return sum(b - a for a, b in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]  # a set that changes

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(map(str, self._ranges))})"
