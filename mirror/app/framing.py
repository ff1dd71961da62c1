"""The body of a request, cut out of what a connection sends: so many bytes, or chunks. Pure.

Source: RFC 9112 sections 6 and 7.1.
"""

import re
from collections.abc import Sequence
from typing import Final

from .heads import HeadError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LINE_MAX_BYTES: Final = 1024
"""Bounds a line between chunks, in bytes: a size has some ten, and extensions of a chunk mean nothing here."""
_TRAILER_LINES_MAX: Final = 32
"""Bounds the lines behind the last chunk, which nobody reads."""


def framing_of(headers: Sequence[tuple[bytes, bytes]]) -> "Counted | Chunked | None":
    """How the body of a request is framed; None if it has none.

    Raises:
        HeadError: in no way that is understood, or in two, of which other programs may take the other.
    """
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    lengths = {value for name, value in headers if name == b"content-length"}
    if codings:
        if lengths:
            raise HeadError(400, "a request has Transfer-Encoding or Content-Length, not both")
        if [coding.strip().lower() for coding in codings] != [b"chunked"]:
            raise HeadError(501, "chunked is the only Transfer-Encoding here")
        return Chunked()
    if len(lengths) > 1:
        raise HeadError(400, "a request has one Content-Length")
    length = int(lengths.pop()) if lengths else 0
    return Counted(length) if length else None


class Counted:
    """A body of a known length.

    Args:
        length: in bytes.
    """

    def __init__(self, length: int) -> None:
        self.left = length
        """Bytes that have not come yet."""

    @property
    def is_done(self) -> bool:
        """Whether all of it has come."""
        return not self.left

    def feed(self, part: bytes) -> tuple[bytes, bytes]:
        """Take what has come; return what of it belongs to the body, and what comes behind the body."""
        if len(part) <= self.left:
            self.left -= len(part)
            return part, b""
        body, rest = part[: self.left], part[self.left :]
        self.left = 0
        return body, rest


class Chunked:
    """A body in chunks, each with its length before it."""

    def __init__(self) -> None:
        self.is_done = False
        """Whether all of it has come."""
        self._left = 0
        """Bytes of the chunk that have not come yet."""
        self._line = b""
        """The beginning of a line between chunks."""
        self._ends_chunk = False
        """Whether the next line is the empty one at the end of a chunk."""
        self._trailers: int | None = None
        """Lines that have come behind the last chunk; None before it."""

    def feed(self, part: bytes) -> tuple[bytes, bytes]:
        """Take what has come; return what of it belongs to the body, and what comes behind the body.

        Raises:
            HeadError: these are no chunks.
        """
        bodies: list[bytes] = []
        at = 0
        while at < len(part) and not self.is_done:
            if self._left:
                body = part[at : at + self._left]
                bodies.append(body)
                at += len(body)
                self._left -= len(body)
                self._ends_chunk = not self._left
                continue
            end = part.find(b"\n", at)
            piece = part[at:] if end < 0 else part[at : end + 1]
            at += len(piece)
            self._line += piece
            if len(self._line) > _LINE_MAX_BYTES:
                raise HeadError(400, f"a line between chunks has more than {_LINE_MAX_BYTES} bytes")
            if end >= 0:
                line, self._line = self._line, b""
                self._take_line(line)
        return (bodies[0] if len(bodies) == 1 else b"".join(bodies)), part[at:]

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise HeadError(400, "a line between chunks does not end with CR LF")
        text = line[:-2]
        if self._trailers is not None:
            self._trailers += 1
            self.is_done = not text
            if self._trailers > _TRAILER_LINES_MAX:
                raise HeadError(400, f"a body has more than {_TRAILER_LINES_MAX} trailers")
        elif self._ends_chunk:
            self._ends_chunk = False
            if text:
                raise HeadError(400, "a chunk is longer than it says")
        else:
            match = _SIZE.fullmatch(text)
            if match is None:
                raise HeadError(400, "a chunk begins with its length in hexadecimal digits")
            self._left = int(match[1], 16)
            if not self._left:
                self._trailers = 0
