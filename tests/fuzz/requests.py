"""A client that sends anything to an endpoint, and what must hold of the endpoint's connection, whatever it sends."""

import asyncio
import logging
from typing import Any, Final

import uvicorn
from starlette.requests import Request
from uvicorn.server import ServerState

from mirror.app.places import Kind, Places
from mirror.app.zerocopy import ZeroCopyProtocol
from mirror.settings import ServerSettings

from .grammar import Chooser, Script, pick
from .world import BrokenRule

_SETTINGS: Final = ServerSettings(
    head_max_bytes=512,
    head_lines_max=8,
    body_max_bytes=256,
    head_s=5.0,
    keep_alive_s=20.0,
    stall_timeout_s=10.0,
    linger_max_bytes=1024,
)
_STEPS_MAX: Final = 100
_UNANSWERED_MAX_BYTES: Final = 4096
"""Bounds what an endpoint reads without an answer, in bytes: a head, a body and as much behind it, and two packets."""
_METHODS: Final = (
    b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"G\x00T", b"", b"X" * 600, b"PRI"
)  # fmt: skip
_TARGETS: Final = (
    b"/", b"/v2/x/blobs/1?ns=a", b"*", b"http://a/", b"http://", b"//", b"/%00%ff%zz", b"/\xff", b"", b"/" + b"a" * 500,
    b"a:1", b"/a b", b"/#", b"/body", b"/stream", b"/stream",
)  # fmt: skip
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9", b"", b"HTTP/1.1 ", b"http/1.1")
_NAMES: Final = (
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"X-Odd", b"", b"a b",
    b"\x00", b" folded", b"Trailer",
)  # fmt: skip
_VALUES: Final = (
    b"localhost", b"0", b"5", b"256", b"257", b"-1", b"99999999999999999999", b"5, 5", b"chunked", b"gzip, chunked",
    b"identity", b"close", b"keep-alive", b"Upgrade", b"h2c", b"websocket", b"100-continue", b"x" * 400, b"", b"\x00",
    b"\xff", b"a\rb", b"+5", b"0x5",
)  # fmt: skip
_ENDS: Final = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"")
_LOOSE: Final = (b"\r\n", b"\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"\x16\x03\x01", b"x" * 200, b"\x00", b"GET ")


class Wire(asyncio.Transport):
    """The endpoint's end of a connection whose client takes what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.said = bytearray()
        self.unsent = 0
        self.paused = self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("10.9.0.1", 4000), "sockname": ("10.9.0.2", 5001)}.get(name, default)

    def write(self, data: Any) -> None:
        if not self.closing:
            self.said += data
            self.unsent += len(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing, self.unsent = True, 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write_eof(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Endpoint:
    """Answers every request; `/body` reads its body, and `/stream` takes it as it comes. Counts."""

    def __init__(self) -> None:
        self.running = 0
        self.is_streaming = False
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        _hold(self.running == 1, "two requests of one connection run at once")
        try:
            body = b""
            if scope["path"] == "/body":
                body = await Request(scope, receive).body()
                _hold(len(body) <= _SETTINGS.body_max_bytes, "a body is longer than it may be")
            elif scope["path"] == "/stream" and not await self._taken(receive):
                return
            await self.go_on.wait()
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"ok"})
        finally:
            self.running -= 1

    async def _taken(self, receive: Any) -> bool:
        """Take a body as it comes; return whether all of it came."""
        self.is_streaming = True
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return False
                if not message["more_body"]:
                    return True
        finally:
            self.is_streaming = False


class Listening(logging.Handler):
    """Keeps what an operator would see."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.getMessage()} {record.exc_info}")


def requests(script: bytes) -> None:
    """A connection gets packets, raw and well-formed, while time passes."""
    asyncio.run(_connection(Script(script)))


async def _connection(choose: Script) -> None:
    ears = Listening()
    logging.getLogger().addHandler(ears)
    try:
        endpoint, places, wire = Endpoint(), Places(list, 1000, _SETTINGS), Wire()
        place = places.take(Kind.STRANGER, "10.9.0.1", wire.close, 0.0)
        config = uvicorn.Config(endpoint, ws="none", lifespan="off", interface="asgi3", log_config=None)
        config.load()
        protocol = ZeroCopyProtocol(
            config=config, server_state=ServerState(), app_state={}, settings=_SETTINGS, places=places, place=place,
            streams=lambda method, path: path == "/stream",
        )  # fmt: skip
        protocol.connection_made(wire)
        await _converse(choose, protocol, wire, endpoint)
        protocol.connection_lost(None)
        endpoint.go_on.set()
        for _ in range(10):
            await asyncio.sleep(0)
        _hold(places.count == 0, "a connection that is gone has a place")
        _hold(endpoint.running == 0, "a request lives on without its connection")
        _hold(not wire.said or wire.said.startswith(b"HTTP/1.1 "), f"it says {wire.said[:60]!r}")
        _hold(not ears.heard, f"an operator is told of a client's mistake: {ears.heard[:2]}")
    finally:
        logging.getLogger().removeHandler(ears)


async def _converse(choose: Script, protocol: ZeroCopyProtocol, wire: Wire, endpoint: Endpoint) -> None:
    unanswered = 0
    for _ in range(_STEPS_MAX):
        if not choose.more or wire.closing:
            return
        match choose.below(8):
            case 0:
                endpoint.go_on.set()
            case 1:
                endpoint.go_on.clear()
            case 2:
                wire.unsent = 0
            case 3:
                protocol.look()
            case _ if not wire.paused:
                packet = _packet(choose)
                before = len(wire.said)
                protocol.data_received(packet)
                unanswered = 0 if len(wire.said) > before else unanswered + len(packet)
        before = len(wire.said)
        for _ in range(4):
            await asyncio.sleep(0)
        unanswered = 0 if len(wire.said) > before or endpoint.is_streaming else unanswered
        _hold(unanswered <= _UNANSWERED_MAX_BYTES or wire.closing, "it reads on and on without an answer")


def _packet(choose: Chooser) -> bytes:
    match choose.below(4):
        case 0:
            return choose.octets(choose.below(300)) or b"\x00"
        case 1:
            return pick(choose, _LOOSE)
    lines = [b" ".join((pick(choose, _METHODS), pick(choose, _TARGETS), pick(choose, _VERSIONS)))]
    lines += [pick(choose, _NAMES) + b": " + pick(choose, _VALUES) for _ in range(choose.below(10))]
    end = pick(choose, _ENDS)
    head = end.join((*lines, b"", b""))
    return head[: choose.below(len(head)) + 1] if choose.below(4) == 0 else head * (1 + choose.below(3))


def _hold(rule: bool, what: str) -> None:
    if not rule:
        raise BrokenRule(what)
