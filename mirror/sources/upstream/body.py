"""What an answer's head promises, and holding its body to that."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from ...errors import Reason, UpstreamError
from ...oci.ranges import parse_content_range

_ENOUGH_BYTES = 128 * 1024
_GATHER_S, _GATHER_MAX_S = 0.02, 0.3


@dataclass(frozen=True, slots=True)
class Delivery:
    """The bytes `[start, stop)` of some content, on their way.

    Args:
        start: first byte, as asked for.
        stop: end of what will come.
        size: of the whole content, in bytes.
        chunks: gives exactly `stop - start` bytes in pieces of any size, or raises UpstreamError.
        ranged: whether the registry serves ranges, as far as the answer tells.
    """

    start: int
    stop: int
    size: int
    chunks: AsyncIterator[bytes]
    ranged: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `[start, stop)` of some content of `size`, within a body that brings `[body_start, body_stop)`."""

    start: int
    stop: int
    size: int
    body_start: int
    body_stop: int


def promised(answer: aiohttp.ClientResponse, length: int | None, start: int, stop: int | None) -> Span:
    """What an answer brings of `[start, stop)`.

    A 206 must be for exactly what was asked; a 200 brings all, the bytes outside of the range included.

    Args:
        answer: 200, 206 or 416.
        length: of its body, in bytes, if that is known.
        start: first byte, as asked for.
        stop: end, as asked for; None is the end of the content.

    Raises:
        UpstreamError: range, or length.
    """
    server, given = answer.url.origin(), answer.headers.get("Content-Range", "")
    if answer.status == 206:
        part = parse_content_range(given)
        if part is None:
            raise UpstreamError(Reason.RANGE, f"{server} sends a part without saying which")
        first, end, size = part
        if first != start or end != (size if stop is None else min(stop, size)):
            raise UpstreamError(
                Reason.RANGE, f"{server} sends {given[:100]!r} when asked for bytes from {start} to {stop}"
            )
        if length is not None and length != end - first:
            raise UpstreamError(Reason.LENGTH, f"{server} announces {length} bytes for {given[:100]!r}")
        return Span(first, end, size, first, end)
    if answer.status == 416:
        if start == 0 and given == "bytes */0":
            return Span(0, 0, 0, 0, 0)
        raise UpstreamError(Reason.RANGE, f"{server} has no bytes from {start} on")
    if length is None:
        raise UpstreamError(Reason.LENGTH, f"{server} does not say how long its answer is")
    if start > 0 and start >= length:
        raise UpstreamError(Reason.RANGE, f"{server} has no bytes from {start} on, for it has only {length}")
    return Span(start, length if stop is None else min(stop, length), length, 0, length)


class Body:
    """An iterator over the bytes of a span: exactly those, or UpstreamError.

    A class rather than a generator, so that one that is left in the middle needs no closing.

    Args:
        span: what was promised.
        read: gives the next bytes of the body, none at its end.
    """

    def __init__(self, span: Span, read: Callable[[], Awaitable[bytes]]) -> None:
        self._span = span
        self._read = read
        self._position = span.body_start

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        while self._position < self._span.stop:
            chunk = await self._read()
            begin, self._position = self._position, self._position + len(chunk)
            if not chunk:
                raise UpstreamError(Reason.BROKEN, f"upstream stopped {self._span.body_stop - begin} bytes short")
            if self._position > self._span.body_stop:
                raise UpstreamError(Reason.BROKEN, "upstream sends more than it announced")
            if self._position > self._span.start:
                return chunk[max(0, self._span.start - begin) : self._span.stop - begin]
        raise StopAsyncIteration


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Let what comes slowly gather for a moment: a write and a turn of all readers are not spent on every packet."""
    began_at = time.monotonic()
    async for chunk in chunks:
        yield chunk
        now = time.monotonic()
        if len(chunk) < _ENOUGH_BYTES:
            wait_s = (now - began_at) * _ENOUGH_BYTES / len(chunk)
            await asyncio.sleep(min(max(wait_s, _GATHER_S), _GATHER_MAX_S))
        began_at = now
