"""One connection to an endpoint: uvicorn's HTTP protocol, within bounds that hold before any key is looked at.

uvicorn's parser gets one head at a time, whole, and the next one when the answer to the first is complete. So a head is
bounded before it is parsed, and what a client sends behind a request costs only the memory that holds it, which is
bounded, too. A body that nobody asked for is not read: the request is answered, and the connection closed. A body that
the application wants as it comes, however long, is given to it in parts, and never more than one ahead. What is wrong
with a request is the client's affair: it is a line of the log at debug level.

The listener calls `look` now and then, which closes a connection whose time is over.

The first test in `tests/loopback/test_zerocopy.py` lists all that this and `zerocopy` use of uvicorn's internals.

Source: RFC 9112; RFC 9110 sections 9.3.1 and 15.5.
"""

import asyncio
import enum
import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeAlias

import httptools
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..settings import ServerSettings
from .error_body import MEDIA_TYPE, protocol_error_body
from .framing import Chunked, Counted, framing_of
from .heads import HeadError, Heads
from .places import Place, Places

log = logging.getLogger(__name__)

Streams: TypeAlias = Callable[[str, str], bool]
"""Whether the application takes the body of a request as it comes, by the method and the path."""


class Phase(enum.Enum):
    """What a connection waits for."""

    HEAD = "the rest of a head"
    ANSWER = "the answer to a request, and its body if it has one"
    IDLE = "the next request"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, within bounds.

    Args:
        *args: uvicorn's.
        settings: the bounds.
        places: where the connection has its place; None if it needs none.
        place: the connection's.
        streams: tells which bodies the application takes as they come. It then reads the body before it answers, or
            gives the answer and leaves the connection to be closed.
        **kwargs: uvicorn's.
    """

    def __init__(
        self,
        *args: Any,
        settings: ServerSettings | None = None,
        places: Places | None = None,
        place: Place | None = None,
        streams: Streams | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings = settings or ServerSettings()
        self._application = self.app
        self.app = self._run
        self._places = places
        self._place = place
        self._heads = Heads(settings.head_max_bytes, settings.head_lines_max)
        self._phase = Phase.HEAD
        self._ends_at = math.inf
        """When the connection is closed if nothing happens, in seconds of the loop's clock."""
        self._streams = streams or (lambda method, path: False)
        self._body: Counted | Chunked | None = None
        """Of the request under way, until all of it is here."""
        self._is_streamed = False
        """Whether the application takes that as it comes, however long."""
        self._is_last = False
        """Whether the answer under way has said that it is the last on this connection, for it began before the end of
        the body."""
        self._lingers = False
        """Whether that answer is complete: what still comes is dropped for a moment."""
        self._ignored = 0
        """Bytes that were dropped since the request under way began."""
        self._refusal: HeadError | None = None
        """Why the request under way is not given to the application."""
        self._unsent = 0
        """Bytes that waited to be sent at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        path = transport.get_extra_info("sockname")
        if isinstance(path, str):  # a Unix socket, which uvicorn does not name
            self.server = (path, None)
        if self._place is not None:
            self._place.close = self.end
        self._end_in(self.settings.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._heads.clear()
        if self._places is not None and self._place is not None:
            self._places.leave(self._place)

    def look(self) -> None:
        """Close the connection if its time is over. A running answer is the application's affair, unless it ended."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        closing = self.transport.is_closing()
        if self._phase is Phase.ANSWER and self._body is None and not closing:
            return
        if (
            self._is_streamed and self._body is not None and self.flow.read_paused
        ):  # it waits for the application, not for the client
            self._end_in(self.settings.stall_timeout_s)
        if self._unsent and (self._unsent != before or self._ends_at == math.inf):
            self._end_in(self.settings.stall_timeout_s)
        elif before and not self._unsent and not closing:
            self._rest()
        if self.loop.time() >= self._ends_at:
            self.end()

    def end(self) -> None:
        """Close the connection. What the client has not taken by now, it does not get."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, a head at a time."""
        if self._lingers:
            self._ignored += len(data)
            if self._ignored > self.settings.linger_max_bytes:
                self.transport.close()
            return
        if self.transport.is_closing() or self._is_deaf():
            self._ignored += len(data)
            if self._ignored > self.settings.head_max_bytes:
                self.flow.pause_reading()
            return
        if self._body is not None:
            data = self._take_body(self._body, data)
        self._heads.add(data)
        self._advance()

    def _is_deaf(self) -> bool:
        """Whether the connection is closed after this answer, so that what comes behind the request means nothing."""
        return self._phase is Phase.ANSWER and self._body is None and not self.cycle.keep_alive

    def _advance(self) -> None:
        """Go on with what has come."""
        if self._phase is Phase.ANSWER:
            if self._body is not None and len(self._heads):
                self._heads.add(self._take_body(self._body, self._heads.take(len(self._heads))))
            if self._is_deaf() or len(self._heads) > self.settings.head_max_bytes:
                self._close_after_answer()
            return
        try:
            head = self._heads.next()
            if head is not None:
                self._ask(head)
            elif len(self._heads) and self._phase is Phase.IDLE:
                self._phase = Phase.HEAD
                self._end_in(self.settings.head_s)
        except HeadError as error:
            self._refuse(error)

    def _ask(self, head: bytes) -> None:
        """Let uvicorn parse a head, and start the application."""
        self._ignored, self._is_last = 0, False
        self._refusal = None
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._close_after_answer()  # it is answered as if it asked for no other protocol
        except httptools.HttpParserError as error:
            raise HeadError(400, f"this is no HTTP request: {error}") from None
        if self._phase is not Phase.ANSWER:
            raise HeadError(400, "this is no HTTP request")
        self._advance()

    def on_headers_complete(self) -> None:
        """Begin to answer a request. Decide whether its body is read."""
        if not self.url.startswith((b"/", b"*")):  # the target is a URL, whose host counts: RFC 9112 section 3.2.2
            self.headers[:] = [field for field in self.headers if field[0] != b"host"]
            self.headers.append((b"host", self.url.partition(b"://")[2].partition(b"/")[0]))
        super().on_headers_complete()
        self._phase = Phase.ANSWER
        self._ends_at = math.inf
        if self._places is not None and self._place is not None:
            self._places.work(self._place)
        try:
            body = framing_of(self.headers)
            if body is None:
                return
            self._is_streamed = self._streams(self.scope["method"], self.scope["path"])
            if not self._is_streamed:
                self._expect_short(body)
            self._body = body
            self._end_in(self.settings.stall_timeout_s if self._is_streamed else self.settings.head_s)
        except HeadError as error:
            if self.scope["method"] not in ("GET", "HEAD"):
                self._refusal = error
            self.on_message_complete()
            self._close_after_answer()

    def _expect_short(self, body: Counted | Chunked) -> None:
        """Raise HeadError for a body that is not read: one that the application does not take as it comes."""
        if self.scope["method"] in ("GET", "HEAD"):
            raise HeadError(HTTPStatus.BAD_REQUEST, "the request is answered without its body")
        if isinstance(body, Chunked):
            raise HeadError(HTTPStatus.LENGTH_REQUIRED, "a body has a Content-Length here")
        if body.left > self.settings.body_max_bytes:
            raise HeadError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")

    def _take_body(self, body: Counted | Chunked, part: bytes) -> bytes:
        """Hand on what of some bytes belongs to the body under way; return what comes behind it.

        Its framing is read here, not by uvicorn's parser, so that nothing behind the body is touched.
        """
        try:
            content, rest = body.feed(part)
        except HeadError as error:
            log.debug("%s: %s", self.client, error)
            self._body = None
            self.transport.close()
            return b""
        if self._is_streamed:
            self._end_in(self.settings.stall_timeout_s)
        if content:
            self.on_body(content)
        if body.is_done:
            self._body, self._ends_at = None, math.inf
            self.on_message_complete()
            self.parser = httptools.HttpRequestParser(self)  # the one that it replaces still waits for a body
        return rest

    def _close_after_answer(self) -> None:
        """Read nothing more."""
        self._heads.clear()
        self.cycle.keep_alive = False
        self.cycle.waiting_for_100_continue = False

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self.server_state.total_requests += 1
        if self._is_last:
            self._body = None
            self._linger()
            return
        self._rest()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._advance()

    def _linger(self) -> None:
        """Say that nothing more comes from here, and take what still comes for a moment.

        A connection that is closed while bytes come is reset, and then a client may not get its answer.
        """
        self._lingers, self._ignored = True, 0
        self._rest()
        if not self.transport.is_closing():
            if self.transport.can_write_eof():  # not where it is encrypted
                self.transport.write_eof()
            self.flow.resume_reading()

    def _rest(self) -> None:
        """Wait for the next request. A connection whose answer has not left yet may not be closed for another."""
        self._phase = Phase.IDLE
        self._end_in(self.settings.linger_s if self._lingers else self.settings.keep_alive_s)
        if self._places is not None and self._place is not None and not self.transport.get_write_buffer_size():
            self._places.rest(self._place)

    def _end_in(self, seconds: float) -> None:
        self._ends_at = self.loop.time() + seconds

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application for one request, in uvicorn's task."""
        if self._refusal is not None:
            status, body = self._refusal.status, protocol_error_body(self._refusal.status, str(self._refusal))
            headers = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        try:
            await self._application(scope, receive, send if self._body is None else self._in_time(send))
        except ClientDisconnect:
            log.debug("%s: the client left before the body of its request was here", scope["path"][:300])

    def _in_time(self, send: Any) -> Any:
        """Have an answer that begins before the body of its request is here say that the connection ends with it.

        A client that is not told sends its next request here, and may not repeat that. Source: RFC 9112 section 9.6.
        """

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and self._body is not None:
                self._is_last = True
                message = message | {"headers": [*message.get("headers", ()), (b"connection", b"close")]}
                await send(message)
                self.cycle.keep_alive = True  # else uvicorn closes before the client has the answer
            else:
                await send(message)

        return sent

    def _refuse(self, error: HeadError) -> None:
        """Answer what is no request, and close."""
        log.debug("%s: %d: %s", self.client, error.status, error)
        self._heads.clear()
        body = protocol_error_body(error.status, str(error))
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (error.status, HTTPStatus(error.status).phrase.encode(), MEDIA_TYPE, len(body), body)
        )
        self.transport.close()
