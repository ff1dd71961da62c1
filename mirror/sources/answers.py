"""Connections of aiohttp's client that no server can use to stall the event loop or to fill memory.

aiohttp parses all that one read gave before the event loop has its next turn, and remembers every head among it, the
interim ones (1xx) too. So a read takes little while heads or chunks may come, and the event loop has a turn between two
full reads. The bytes before the end of an answer's head are bounded, and those around the chunks of a body. The body of
an answer that says how long it is has no such parts: it is read as fast as it comes.

aiohttp gets its bytes by `asyncio.Protocol`, which takes whatever was received. `_Reader` stands in front of it, and is
an `asyncio.BufferedProtocol`, which says how much it wants.

The first test in `tests/loopback/test_answers.py` lists all that this uses of aiohttp's internals.

Source: RFC 9110 section 15.2 (interim answers); RFC 9112 section 7.1 (chunks).
"""

import asyncio
import functools
import math
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

from ..settings import AnswerSettings


class AnswerRefused(aiohttp.ClientError):
    """An answer is beyond a bound; the message says which, in words of this machine alone."""


class BoundedConnector(aiohttp.TCPConnector):
    """A connector whose connections keep the bounds.

    Args:
        bounds: of each connection.
        open_s: bounds the opening of a connection, s: the lookup of its name, all its addresses, one after the other,
            and the handshake; None if aiohttp's own timeouts do. Those count the wait for a place among the
            connections as well, or each address by itself.
        **options: aiohttp's.
    """

    def __init__(self, bounds: AnswerSettings, open_s: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._open_s = open_s
        # All connections share it: a loop asks for a buffer, fills it, and hands it over without a pause.
        buffer = memoryview(bytearray(max(bounds.read_bytes, bounds.body_read_bytes)))
        make: Any = _BoundedHandler
        self._factory = functools.partial(make, asyncio.get_running_loop(), bounds, buffer)

    async def _create_connection(self, *args: Any, **named: Any) -> ResponseHandler:
        async with asyncio.timeout(self._open_s):
            return await super()._create_connection(*args, **named)


class _BoundedHandler(ResponseHandler):
    """aiohttp's end of one connection, which counts what it is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: AnswerSettings, buffer: memoryview) -> None:
        super().__init__(loop)
        self._bounds = bounds
        self._own_buffer = buffer
        self._body: aiohttp.StreamReader | None = None
        """The body of the answer, since its head ended."""
        self._is_chunked = False
        self._length: float = 0
        """Of the body, in bytes; infinite if the end of the connection ends it."""
        self._before = 0
        """Bytes that came before the head ended, those of interim answers among them."""
        self._taken = 0
        """Bytes that came since then."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the bytes come by a reader that takes no more than is wanted."""
        super().connection_made(transport)
        stream = cast("asyncio.Transport", transport)
        stream.set_protocol(_Reader(self, stream, self._own_buffer))

    def set_response_params(self, **params: Any) -> None:
        """Expect the answer to the next request."""
        self._body = None
        self._before = 0
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        """Note the head of an answer that was parsed. An interim one is no end of waiting; 101 is."""
        message, body = data
        if self._body is None and (message.code == 101 or message.code >= 200):
            self._body = body
            self._is_chunked = message.chunked
            self._length = int(message.headers.get("Content-Length", 0)) or math.inf
            self._taken = 0
        super().feed_data(data, size)

    def wanted(self) -> int:
        """The most bytes that the next read may give."""
        body, bounds = self._body, self._bounds
        if body is None or body.is_eof() or self._is_chunked:
            return bounds.read_bytes
        return int(max(bounds.read_bytes, min(bounds.body_read_bytes, self._length - body.total_bytes)))

    def take(self, part: bytes) -> None:
        """Parse what a read gave, unless a bound is passed."""
        body, bounds = self._body, self._bounds
        if body is None:
            self._before += len(part)
            self.data_received(part)
            if self._body is None and self._before > bounds.head_max_bytes:
                self._refuse(f"the head of its answer has more than {bounds.head_max_bytes} bytes")
        elif body.is_eof():
            self.abort()  # nobody asked for what follows an answer
        else:
            self._taken += len(part)
            self.data_received(part)
            allowed = bounds.framing_bytes + body.total_bytes * bounds.framing_share
            if self._is_chunked and self._taken - body.total_bytes > allowed:
                self._refuse("its answer comes in chunks that are too small")

    def _refuse(self, why: str) -> None:
        """Close the connection, and tell who waits for the answer."""
        error = AnswerRefused(why)
        self.abort()
        self.set_exception(error)
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(error)


class _Reader(asyncio.BufferedProtocol):
    """Reads for a handler, as much at once as that wants, and tells it all else that happens to the connection."""

    def __init__(self, handler: _BoundedHandler, transport: asyncio.Transport, buffer: memoryview) -> None:
        self._handler = handler
        self._transport = transport
        self._buffer = buffer
        self._wanted = 0
        self.connection_lost = handler.connection_lost  # type: ignore[method-assign]
        self.eof_received = handler.eof_received  # type: ignore[method-assign]
        self.pause_writing = handler.pause_writing  # type: ignore[method-assign]
        self.resume_writing = handler.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next read puts its bytes."""
        self._wanted = self._handler.wanted()
        return self._buffer[: self._wanted]

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read. Where there is more, the event loop has a turn first: uvloop would go on reading."""
        if self._transport.is_closing():
            return
        self._handler.take(bytes(self._buffer[:nbytes]))
        if nbytes == self._wanted and self._transport.is_reading():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._transport.resume_reading)
