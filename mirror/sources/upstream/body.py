"""What the head of an answer says will come, and a body that gives exactly that or fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from ...errors import Reason, UpstreamEnded, UpstreamError
from ...oci.ranges import parse_content_range
from ...settings import UpstreamSettings
from .transport import Answer

Read = Callable[[], Awaitable[bytes]]
"""Gives the next bytes of a body; none at its end."""


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """The bytes `[start, stop)` of some content, which arrive while they are read.

    Args:
        start: first byte; the one that was asked for.
        stop: end, exclusive, of what will come.
        size: of the whole content, in bytes.
        chunks: gives exactly `stop - start` bytes in chunks of any size, or raises UpstreamError. Empty ones stand for
            bytes before `start`, which a registry without ranges sends.
        ranged: whether the registry serves ranges; true if the answer does not tell.
    """

    start: int
    stop: int
    size: int
    chunks: AsyncIterator[bytes]
    ranged: bool = True


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer from its first byte, and its length in bytes, if that is known."""

    length: int | None
    read: Read


def in_memory(body: bytes) -> Body:
    """A body that is here."""
    return with_prefix(body, Body(len(body), _nothing))


def with_prefix(prefix: bytes, body: Body) -> Body:
    """A body of which some bytes have been read."""
    read = [prefix] if prefix else []

    async def read_on() -> bytes:
        return read.pop() if read else await body.read()

    return Body(body.length, read_on)


async def _nothing() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `[start, stop)` of some content of `size`, within a body that has `[body_start, body_stop)`."""

    start: int
    stop: int
    size: int
    body_start: int
    body_stop: int


def announced_span(answer: Answer, length: int | None, start: int, stop: int | None) -> Span:
    """What the head of an answer announces of `[start, stop)`.

    A 206 must be for exactly the range that was asked for. A 200 has everything, the bytes outside of it included.

    Args:
        answer: 200, 206 or 416.
        length: of its body, in bytes; None if it is not known.
        start: first byte, as asked for.
        stop: end, as asked for; None is the end of the content.

    Raises:
        UpstreamError: range, or length.

    Source: RFC 9110 sections 14.4 (Content-Range) and 15.5.17 (416).
    """
    server, given = answer.url.origin(), answer.headers.get("Content-Range", "")
    if answer.status == 206:
        part = parse_content_range(given)
        if part is None:
            raise UpstreamError(Reason.RANGE, f"{server} sends a range without saying which")
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
        raise UpstreamEnded(f"{server} has no bytes from {start} on")
    if length is None:
        raise UpstreamError(Reason.LENGTH, f"{server} does not say how long its answer is")
    if start > 0 and start >= length:
        raise UpstreamEnded(f"{server} has no bytes from {start} on: it has only {length}")
    return Span(start, length if stop is None else min(stop, length), length, 0, length)


class ExactBody:
    """An iterator over the bytes of a span: it gives exactly those, or raises UpstreamError.

    It is a class and no generator, so that a caller who stops in the middle has nothing to close.

    Args:
        span: what the head announced.
        read: gives the next bytes of the body; none at its end.
    """

    def __init__(self, span: Span, read: Read) -> None:
        self._span = span
        self._read = read
        self._position = span.body_start

    def __aiter__(self) -> "ExactBody":
        return self

    async def __anext__(self) -> bytes:
        if self._position < self._span.stop:
            chunk = await self._read()
            begin, self._position = self._position, self._position + len(chunk)
            if not chunk:
                raise UpstreamError(Reason.BROKEN, f"upstream stopped {self._span.body_stop - begin} bytes short")
            if self._position > self._span.body_stop:
                raise UpstreamError(Reason.BROKEN, "upstream sends more than it announced")
            return chunk[max(0, self._span.start - begin) : self._span.stop - begin]
        raise StopAsyncIteration


async def gathered(chunks: AsyncIterator[bytes], count: int, settings: UpstreamSettings) -> AsyncIterator[bytes]:
    """Pause after small chunks, so that the next one is larger: each chunk costs a write and wakes all readers up.

    A chunk is small beside what has come before it: the beginning of a body is sent on soon, while links are empty.

    Args:
        chunks: of a body.
        count: how many bytes they have together. What is left of a body, and is small, is not waited for: a manifest
            that comes in two packets would take ten times as long.
        settings: what is small, and how long the pauses are.
    """
    began_at, came = time.monotonic(), 0
    async for chunk in chunks:
        came += len(chunk)
        yield chunk
        now = time.monotonic()
        enough = min(max(settings.gather_bytes, came), settings.gather_max_bytes)
        if 0 < len(chunk) < enough < count - came:
            wait_s = (now - began_at) * enough / len(chunk)
            await asyncio.sleep(min(max(wait_s, settings.gather_min_s), settings.gather_max_s))
        began_at = now
