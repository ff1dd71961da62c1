"""Heads of HTTP that somebody else writes: those of requests to this node, and those of members' answers.

heads       what a connection sends to a listener, in parts of any length: what of it reaches an endpoint
answers     what a member sends in reply to a question for a piece, over a connection that is used again

Both are scripts: a byte chooses a phrase of HTTP, or noise, so that a changed byte is another head.
"""

import asyncio
import copy
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from unittest import mock

import uvicorn
from uvicorn.server import ServerState

from mirror.app.request import parse, target
from mirror.app.responses import send_error, send_json
from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.errors import OciError
from mirror.settings import PeerSettings, ServerSettings
from mirror.sources.peers import connections
from mirror.sources.peers.protocol import MemberAnswer, MemberRequest

from .grammar import Chooser, Script, pick
from .world import BrokenRule

_PARTS_MAX: Final = 60
_SETTINGS: Final = ServerSettings(head_max_bytes=1024, head_lines_max=12, body_max_bytes=64)
"""Bounds that a fuzzer reaches."""

_REQUEST_LINES: Final = (
    b"GET /v2/ HTTP/1.1\r\n",
    b"HEAD /v2/library/app/manifests/1?ns=docker.io HTTP/1.1\r\n",
    b"GET /v2/library/app/blobs/sha256:" + b"0" * 64 + b" HTTP/1.1\r\n",
    b"POST /api/v1/keys/use HTTP/1.1\r\n",
    b"GET http://a/v2/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v2/%00/\xff/blobs/x?ns=a&ns=b HTTP/1.1\r\n",
    b"get / HTTP/1.1\r\n",
    b"GET / HTTP/1.1 HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
_HEADERS: Final = (
    b"Host: localhost\r\n",
    b"Host: a\r\nHost: b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\nContent-Length: 40\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Range: bytes=0-5,7-9\r\n",
    b"Range: bytes=-\r\n",
    b"Skvaller-Role: home\r\nSkvaller-Hop: 1\r\n",
    b"Skvaller-Avoid: " + b"a," * 200 + b"\r\n",
    b"Skvaller-Relative-Rate: 1e999\r\n",
    b"x: " + b"y" * 700 + b"\r\n",
    b"a: b\r\n" * 12,
    b" folded\r\n",
    b"\xff\xfe: \x01\r\n",
    b"no colon\r\n",
    b": empty\r\n",
    b"bare: line feed\n",
)
_REST: Final = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"1;" + b"e" * 300 + b"\r\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"GET /v2/hidden HTTP/1.1\r\n\r\n",
)
_HIDDEN: Final = b"GET /v2/smuggled HTTP/1.1\r\n\r\n"
_FRAMES: Final = (
    b"Content-Length: %d\r\n" % len(_HIDDEN),
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(_HIDDEN),
    b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(_HIDDEN),
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length: %d, 0\r\n" % len(_HIDDEN),
)
"""What says that a body follows, in ways of which some are wrong: what follows is never a request."""


def _said(choose: Chooser) -> bytes:
    """A head, a phrase of one, or noise."""
    match choose.below(13):
        case 12:
            return b"".join([pick(choose, _REQUEST_LINES[:4]), _HEADERS[0], pick(choose, _FRAMES), b"\r\n", _HIDDEN])
        case 0 | 1 | 2 | 3 | 4:
            odd = [pick(choose, _HEADERS) for _ in range(choose.below(4) * choose.below(2))]
            return b"".join([pick(choose, _REQUEST_LINES[:5]), _HEADERS[0], *odd, b"\r\n"])
        case 5 | 6:
            return pick(choose, _REQUEST_LINES)
        case 7 | 8:
            return pick(choose, _HEADERS)
        case 9 | 10:
            return pick(choose, _REST)
        case _:
            return choose.octets(choose.below(200))


class _Wire(asyncio.Transport):
    """A client that takes all that is sent, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed_at: int | None = None
        self.reading = True

    def write(self, data: Any) -> None:
        """Take bytes."""
        self.sent += bytes(data)

    def close(self) -> None:
        """Take no more."""
        if self.closed_at is None:
            self.closed_at = len(self.sent)

    abort = close

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self.closed_at is not None

    def pause_reading(self) -> None:
        """Deliver nothing for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        """There is no buffer."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Where both ends are."""
        return {"peername": ("192.0.2.1", 9), "sockname": ("192.0.2.2", 5001)}.get(name, default)


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    """Stands where each connection puts an application of its own."""


@cache
def _config() -> uvicorn.Config:
    """uvicorn's part, as the agent sets it."""
    config = uvicorn.Config(
        _nobody, interface="asgi3", http=ZeroCopyProtocol, ws="none", lifespan="off", log_config=None
    )
    config.load()
    return config


class Listened:
    """A connection to a listener whose endpoint answers all that it can read.

    Args:
        loop: that runs it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered = 0
        self.wire = _Wire()
        self._loop = loop
        self._problems: list[str] = []
        loop.set_exception_handler(lambda _, context: self._problems.append(str(context)))
        config = copy.copy(_config())
        config.loaded_app = self._answer
        self._protocol = ZeroCopyProtocol(
            config=config, server_state=ServerState(), app_state={}, _loop=loop, settings=_SETTINGS
        )
        self._protocol.connection_made(self.wire)

    def hear(self, part: bytes) -> None:
        """Let bytes arrive, unless the connection is closed, or does not want any."""
        if not self.wire.is_closing() and self.wire.reading:
            self._protocol.data_received(part)

    def turn(self) -> None:
        """Let the loop run a turn, and look whether the connection's time is over."""
        self._loop.run_until_complete(asyncio.sleep(0))
        self._protocol.look()

    def end(self) -> None:
        """Close it from this side; all that runs must end."""
        for _ in range(8):
            self.turn()
        self._protocol.connection_lost(None)
        for _ in range(4):
            self._loop.run_until_complete(asyncio.sleep(0))
        _hold(not self._problems, "; ".join(self._problems))
        _hold(not asyncio.all_tasks(self._loop), "a request goes on without its connection")
        sent, closed_at = self.wire.sent, self.wire.closed_at
        _hold(closed_at is None or closed_at == len(sent), "something is said behind the end")
        last = sent.partition(b"connection: close\r\n")[2]
        _hold(b"HTTP/1.1 " not in last, "there is an answer behind one that says that it is the last")
        _hold(not sent or sent.startswith(b"HTTP/1.1 "), f"an answer begins with {sent[:20]!r}")

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.answered += 1
        try:
            await self._check_and_answer(scope, receive, send)
        except (BrokenRule, AttributeError, LookupError, TypeError, ValueError) as problem:
            self._problems.append(repr(problem))

    async def _check_and_answer(self, scope: Any, receive: Any, send: Any) -> None:
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        _hold(len(headers) <= _SETTINGS.head_lines_max, f"{len(headers)} headers reach the endpoint")
        _hold(size <= _SETTINGS.head_max_bytes, f"{size} bytes of headers reach the endpoint")
        _hold(scope["path"] != "/v2/smuggled", "what was hidden in a body is asked")
        _hold(not any(byte < 0x21 for byte in target(scope).encode("latin-1")), f"the target is {target(scope)!r}")
        MemberRequest.parse({name.decode("latin-1"): value.decode("latin-1") for name, value in headers})
        body = b""
        if scope["method"] == "POST":
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                body += message["body"]
            body += message.get("body", b"")
        _hold(len(body) <= _SETTINGS.body_max_bytes, f"a body of {len(body)} bytes is read")
        try:
            parse({**scope, "method": "GET"})
            await send_json(scope, send, 200, {})
        except OciError as error:
            await send_error(scope, send, error)


def heads(script: bytes) -> None:
    """A client says anything on a connection, in parts of any length."""
    choose = Script(script)
    loop = asyncio.new_event_loop()
    try:
        connection = Listened(loop)
        ends = 0
        for _ in range(_PARTS_MAX):
            if not choose.more:
                break
            said = b"".join(_said(choose) for _ in range(1 + choose.below(3)))
            ends += said.count(b"\n\r\n") + said.count(b"\n\n") + said.count(b"\n\r\r\n") + 2
            for part in _cut(choose, said):
                connection.hear(part)
                if choose.below(2):
                    connection.turn()
        connection.end()
        _hold(connection.answered <= ends, f"{connection.answered} requests in {ends} heads")
    finally:
        loop.close()


def _cut(choose: Chooser, said: bytes) -> list[bytes]:
    """The same bytes in parts."""
    match choose.below(4):
        case 0:
            return [said]
        case 1:
            return [said[at : at + 1] for at in range(len(said))]
        case _:
            at = choose.below(max(1, len(said)))
            return [part for part in (said[:at], said[at:]) if part]


# What members answer

_STATUS_LINES: Final = (
    b"HTTP/1.1 206 Partial Content\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 503 Busy\r\n",
    b"HTTP/1.1 404 \r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 99 Low\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 2000 OK\r\n",
    b"HTTP/1.1 206\r\n",
    b"ICY 200 OK\r\n",
    b"HTTP/1.1 307 \x1b[2J\r\n",
)
_ANSWERED: Final = (
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"content-length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5_0\r\n",
    b"Content-Length: \xb2\r\n",
    b"Content-Range: bytes 0-4/10\r\n",
    b"Content-Range: bytes 0-4/*\r\n",
    b"Content-Range: bytes 5-4/" + b"9" * 400 + b"\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Skvaller-Reason: busy\r\n",
    b"Skvaller-Reason: \x1b[31m\r\n",
    b"Skvaller-Origin: upstream\r\n",
    b"Skvaller-Origin: ../../x\r\n",
    b"Skvaller-Tag-Age: nan\r\n",
    b"Skvaller-Tag-Age: -1e308\r\n",
    b"x: " + b"y" * 9000 + b"\r\n",
    b"a: b\r\n" * 50,
    b" folded\r\n",
    b"no colon\r\n",
    b"\0: \0\r\n",
    b"bare: \r\r\n",
    b"\r\n",
    b"\r\nhello",
)


class _Answering:
    """The other end of a connection: a socket that has received what a script says."""

    def __init__(self, choose: Chooser) -> None:
        self._parts = [_reply(choose) for _ in range(choose.below(6))]
        self._step = 1 + choose.below(300)
        self.asked = b""

    def recv(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        if not self._parts:
            return b""
        part = self._parts[0]
        taken = part[: min(most, self._step)]
        self._parts[0] = part[len(taken) :]
        if not self._parts[0]:
            self._parts.pop(0)
        return taken or self.recv(most)

    def sendall(self, request: bytes) -> None:
        """Take a request."""
        self.asked += request

    def ignore(self, *_: object) -> None:
        """Nothing of this changes what is received."""

    connect = setsockopt = settimeout = shutdown = close = ignore


def _reply(choose: Chooser) -> bytes:
    said = [pick(choose, _STATUS_LINES)] if choose.below(8) else [choose.octets(choose.below(60))]
    said += [pick(choose, _ANSWERED) for _ in range(choose.below(8))]
    return b"".join([*said, b"\r\n" * (choose.below(4) > 0), choose.octets(choose.below(20))])


def answers(script: bytes) -> None:
    """A member answers questions for a piece, one after the other on one connection while that is whole."""
    choose = Script(script)
    settings = PeerSettings(head_max_bytes=4096, drained_max_bytes=64)
    with mock.patch("socket.socket", side_effect=lambda *_: _Answering(choose)):
        connection = connections.Connection("192.0.2.1", 1, settings)
        while choose.more:
            _question(connection, settings)
            if not connection.is_idle:
                connection.close()
                connection = connections.Connection("192.0.2.1", 1, settings)


def _question(connection: connections.Connection, settings: PeerSettings) -> None:
    came: list[tuple[int, int]] = []
    try:
        head = connection.get("/v2/", {"Host": "a"})
        _hold(100 <= head.status <= 599, f"a status of {head.status}")
        size = sum(len(name) + len(value) for name, value in head.headers.items())
        _hold(size <= settings.head_max_bytes, f"a head of {size} bytes")
        _hold(head.length is None or 0 <= head.length < 10**19, f"a length of {head.length}")
        said = MemberAnswer.parse(head.headers)
        said.failure(head.status)
        _hold(not any(set("\r\n\0\x1b") & set(text) for text in said.headers().values()), f"{said} is passed on")
        if head.length:
            read = connection.read_body(lambda at, part: came.append((at, len(part))), 100, min(head.length, 50))
            _hold(read == sum(count for _, count in came) <= 50, f"{read} bytes come as {came}")
        connection.drain()
    except (OSError, connections.RemoteProtocolError):
        pass
    expected = 100
    for at, count in came:
        _hold(at == expected and count > 0, f"parts come as {came}")
        expected += count


def _hold(rule: bool, what: str) -> None:
    if not rule:
        raise BrokenRule(what)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"heads": heads, "answers": answers}
