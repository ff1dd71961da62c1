"""Several ranges in one answer: `multipart/byteranges`.

Each range that was asked for is a part of its own, in the order of the request: containers/storage, which reads layers
of the form zstd:chunked so, takes the parts for its ranges by their order alone.

Source: RFC 9110 sections 14.6 and 15.3.7.2; RFC 2046 section 5.1.1.
"""

import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass

from ..oci.digest import Digest
from ..oci.ranges import Span, content_range
from .blob import Extent, Headers, Piece, each


@dataclass(frozen=True, slots=True)
class Multipart:
    """The body of such an answer.

    Args:
        boundary: stands between the parts, and nowhere else.
        spans: the ranges.
        heads: what stands before each of them.
    """

    boundary: str
    spans: Sequence[Span]
    heads: Sequence[bytes]

    @classmethod
    def of(cls, media_type: str, size: int, spans: Sequence[Span]) -> "Multipart":
        """The ranges of content with a media type and a size in bytes.

        The boundary is 128 random bits: nobody can put it into the content.
        """
        boundary = secrets.token_hex(16)
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {content_range(start, stop, size)}\r\n\r\n".encode()
            for start, stop in spans
        ]
        return cls(boundary, spans, heads)

    @property
    def end(self) -> bytes:
        """What stands after the last part."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    def headers(self, digest: Digest) -> Headers:
        """The headers of the answer; `digest` is that of the whole content."""
        length = sum(map(len, self.heads)) + sum(stop - start for start, stop in self.spans) + len(self.end)
        name = str(digest).encode()
        return [
            (b"content-type", f"multipart/byteranges; boundary={self.boundary}".encode()),
            (b"content-length", b"%d" % length),
            (b"docker-content-digest", name),
            (b"etag", b'"%b"' % name),
            (b"accept-ranges", b"bytes"),
        ]

    async def pieces(
        self, extents: Callable[[int, int], Iterable[Extent] | AsyncIterable[Extent]]
    ) -> AsyncGenerator[Piece, None]:
        """The body; `extents` gives what is ready of a range, in order."""
        for head, (start, stop) in zip(self.heads, self.spans, strict=True):
            yield head
            async with contextlib.aclosing(each(extents(start, stop))) as ready:
                async for extent in ready:
                    yield extent
        yield self.end
