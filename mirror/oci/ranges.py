"""Byte ranges: of a request, of an answer, and sets of them.

All offsets are bytes; a range is `[start, stop)`, half-open, except in header text, where the last byte is included.

Source: RFC 9110 section 14.
"""

import bisect
import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from ..errors import RangeUnsatisfiable

_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)


_RANGES_MAX = 1024
"""Bounds the ranges of one request. containers/storage sends as many for a layer that it has in part
(`maxNumberMissingChunks`), and merges what is beyond; a head of 32 KiB holds few more."""

_UNSORTED_MAX = 16
"""Ranges that need not be in the order of their offsets: readers that jump back and forth ask for a few at once. More
of them would make a disk seek for nothing."""

Span = tuple[int, int]
"""Bytes `[start, stop)`."""


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
    """More than one range in one request, within the bounds of `parse_range`.

    Args:
        ranges: in the order in which they are to be sent.
    """

    ranges: tuple[IntRange | SuffixRange, ...]

    def resolve(self, size: int) -> tuple[Span, ...]:
        """The ranges of content with this size in bytes, without those that begin beyond the end.

        Raises:
            RangeUnsatisfiable: all do.
        """
        spans: list[Span] = []
        for part in self.ranges:
            with contextlib.suppress(RangeUnsatisfiable):
                spans.append(part.resolve(size))
        if not spans:
            raise RangeUnsatisfiable(size)
        return tuple(spans)


RequestedRange = IntRange | SuffixRange | SeveralRanges
"""What a Range header asks for. `resolve` says which bytes that are, as soon as the content's size is known."""


def parse_range(header: str | None) -> RequestedRange | None:
    """Read a request's Range header.

    Args:
        header: its text, or None where the request has none.

    Returns:
        What it asks for; None where the header is absent, malformed, of another unit or beyond the bounds of several
        ranges: such a header is ignored and the whole content is sent (RFC 9110 section 14.2).
    """
    if header is None or not header.lower().startswith("bytes="):
        return None
    texts = [text.strip(" \t") for text in header[len("bytes=") :].split(",", 2 * _RANGES_MAX)]
    ranges = [_parse_one(text) for text in texts if text]
    parts = tuple(part for part in ranges if part is not None)
    if not parts or len(parts) < len(ranges):
        return None
    if len(parts) == 1:
        return parts[0]
    return SeveralRanges(parts) if _are_sensible(parts) else None


def _parse_one(text: str) -> IntRange | SuffixRange | None:
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return SuffixRange(int(match[2]))
    start, stop = int(match[1]), int(match[2]) + 1 if match[2] else None
    return None if stop is not None and stop <= start else IntRange(start, stop)


def _are_sensible(parts: Sequence[IntRange | SuffixRange]) -> bool:
    """Whether several ranges are no more work than the whole: then they are sent, else the whole is."""
    spans = [(part.start, math.inf if part.stop is None else part.stop) for part in parts if isinstance(part, IntRange)]
    in_order = sorted(spans)
    if len(parts) > _RANGES_MAX or len(parts) - len(spans) > 1 or (len(parts) > _UNSORTED_MAX and spans != in_order):
        return False
    overlaps, end = 0, 0.0
    for start, stop in in_order:
        overlaps += start < end
        end = max(end, stop)
    return overlaps <= 1


def is_read_by_itself(part: RequestedRange | None) -> bool:
    """Whether a client reads a part by itself, and need not wait for the digest of the whole.

    Whoever wants the whole asks without a range, or with an open one (`bytes=N-`): so every runtime goes on where a
    download stopped, and containerd asks so for the parts of a layer that it fetches at once. It gets the last piece
    only when the digest is right. Who names the end (`bytes=N-M`), the last bytes (`bytes=-N`) or several ranges reads
    these: runtimes that pull lazily check what they read by the table of contents.
    """
    return not (part is None or (isinstance(part, IntRange) and part.stop is None))


def first_span(part: RequestedRange | None) -> Span:
    """What to ask for first of a part, before the size is known; the first byte, where the size decides."""
    first = part.ranges[0] if isinstance(part, SeveralRanges) else part
    if isinstance(first, IntRange) and first.stop is not None:
        return first.start, first.stop
    return 0, 1


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

    def __init__(self, *ranges: Span) -> None:
        self._ranges = _merged(ranges)

    def add(self, start: int, stop: int) -> None:
        """Put `[start, stop)` in."""
        if start >= stop:
            return
        first = bisect.bisect_left(self._ranges, start, key=_STOP)
        end = bisect.bisect_right(self._ranges, stop, key=_START)
        touched = self._ranges[first:end]
        if touched:
            start, stop = min(start, touched[0][0]), max(stop, touched[-1][1])
        self._ranges[first:end] = [(start, stop)]

    def remove(self, start: int, stop: int) -> None:
        """Take `[start, stop)` out."""
        if start >= stop:
            return
        first = bisect.bisect_right(self._ranges, start, key=_STOP)
        end = bisect.bisect_left(self._ranges, stop, key=_START)
        left = [(x, y) for a, b in self._ranges[first:end] for x, y in ((a, min(b, start)), (max(a, stop), b)) if x < y]
        self._ranges[first:end] = left

    def __sub__(self, other: "RangeSet") -> "RangeSet":
        difference: list[Span] = []
        cuts, at = other._ranges, 0
        for start, stop in self._ranges:
            while at < len(cuts) and cuts[at][1] <= start:
                at += 1
            following = at
            while start < stop and following < len(cuts) and cuts[following][0] < stop:
                first, end = cuts[following]
                if start < first:
                    difference.append((start, first))
                start, following = end, following + 1
            if start < stop:
                difference.append((start, stop))
        return _of_merged(difference)

    def __or__(self, other: "RangeSet") -> "RangeSet":
        if not self._ranges or not other._ranges:
            return _of_merged([*self._ranges, *other._ranges])
        return RangeSet(*self._ranges, *other._ranges)

    def __and__(self, other: "RangeSet") -> "RangeSet":
        return self - (self - other)

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of `[start, stop)` is in the set."""
        return start >= stop or self.front(start) >= stop

    def touches(self, start: int, stop: int) -> bool:
        """Whether any byte of `[start, stop)` is in the set."""
        after = bisect.bisect_right(self._ranges, start, key=_STOP)
        return start < stop and after < len(self._ranges) and self._ranges[after][0] < stop

    def front(self, offset: int) -> int:
        """The end of the contiguous bytes from `offset` on; `offset` itself where that byte is not in the set."""
        after = bisect.bisect_right(self._ranges, offset, key=_START)
        return max(offset, self._ranges[after - 1][1]) if after else offset

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges as they are now: whoever goes through them may change the set meanwhile."""
        return iter(tuple(self._ranges))

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


_START, _STOP = itemgetter(0), itemgetter(1)


def _of_merged(ranges: list[Span]) -> RangeSet:
    """The set of ranges that are sorted and disjoint, and do not touch; it takes the list over."""
    made = RangeSet.__new__(RangeSet)
    made._ranges = ranges
    return made


def _merged(ranges: Iterable[Span]) -> list[Span]:
    """The same bytes as sorted, disjoint ranges that do not touch."""
    merged: list[Span] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if merged and start <= merged[-1][1]:
            if stop > merged[-1][1]:
                merged[-1] = merged[-1][0], stop
        else:
            merged.append((start, stop))
    return merged
