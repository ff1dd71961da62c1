"""A registry that answers anything, and what must hold of the client that asks it, whatever the answers are.

Nothing leaves this process but connections to one listener on loopback: names and addresses lead there, whatever they
are, after they were noted.
"""

import asyncio
import base64
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from mirror.errors import StorageFull, UpstreamError
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.settings import UpstreamSettings
from mirror.sources import SIZE_MAX_BYTES, RangeReply, RangeRequest, Role
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.addresses import is_public
from mirror.sources.upstream.registries import Registry

from .grammar import Chooser, Script, pick
from .world import BrokenRule

_ENDS_S: Final = 20.0
"""Bounds one question, s: hundreds of times what the settings below allow, for the machine may be busy."""
_SETTINGS: Final = UpstreamSettings(
    connect_s=0.5,
    question_s=0.05,
    head_s=0.05,
    stall_s=0.02,
    whole_s=0.05,
    measured_s=0.05,
    gather_min_s=0.0,
    gather_max_s=0.0,
    token_bytes_max=2048,
)
_ANSWERS_MAX: Final = 12
_QUESTIONS_MAX: Final = 6

NAMED: Final = ("lab.example", 5000, "10.0.0.5")
PASSWORD, TOKEN = "hunter2-of-the-operator", "t0ken-of-the-registry"
BASIC: Final = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
NAMES: Final = {"lab.example": "10.0.0.5", "inside.example": "10.0.0.9", "localhost": "127.0.0.1"}
"""All other names have a public address."""

BODY: Final = bytes(range(256)) * 4
MANIFEST: Final = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()
_STATUSES: Final = (
    b"200 OK", b"206 Partial Content", b"401 Unauthorized", b"307 Temporary Redirect", b"404 Not Found", b"416 No",
    b"429 Slow", b"500 Oh", b"204 None", b"304 Same", b"100 Continue", b"301 There", b"403 No", b"405 No", b"999 What",
    b"000", b"200", b"-1 x", b"101 Switching Protocols", b"2000 OK",
)  # fmt: skip
_HEADERS: Final = (
    b"Content-Type", b"Docker-Content-Digest", b"Content-Range", b"WWW-Authenticate", b"Location", b"Retry-After",
    b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Connection", b"Set-Cookie", b"X-Odd", b"", b"a b",
)  # fmt: skip
_DIGEST: Final = str(Digest.of(MANIFEST)).encode()
_VALUES: Final = (
    OCI_MANIFEST.encode(), OCI_INDEX.encode(), b"text/html; charset=x", b"application/json", _DIGEST, b"sha256:00",
    b"bytes 0-1023/1024", b"bytes 100-199/1024", b"bytes 0-0/1024", b"bytes 0-1023/*", b"bytes */1024", b"bytes */0",
    b"bytes 0-1023/99999999999999999999", b"bytes 5-4/3", b"1024", b"0", b"-1", b"99999999999999999999999", b"10, 10",
    b"chunked", b"gzip", b"close", b"keep-alive", b"120", b"Sat, 28 Nov 2026 22:00:00 GMT", b"9" * 400, b"-5", b"1e9",
    b'Bearer realm="http://lab.example:5000/token",service="lab",scope="repository:a:pull"',
    b'Bearer realm="http://inside.example/token"', b'Bearer realm="http://127.1/token"', b"Bearer", b"Basic realm=x",
    b'Bearer realm="https://auth.example/token"', b'Basic, Bearer realm="http://lab.example:5000/token"', b'Bearer "',
    b"Negotiate YWJj", b'Bearer realm="file:///etc/passwd"', b'Bearer realm="http://[::1]/"',
    b"http://lab.example:5000/elsewhere?sig=s1gnature", b"http://cdn.example/blob?sig=s1gnature", b"/v2/other",
    b"http://inside.example/", b"http://2130706433/", b"http://127.1/", b"http://0177.0.0.1/", b"http://0x7f.1/",
    b"http://127.0.0.1./", b"http://[::ffff:127.0.0.1]/", b"http://[fe80::1%25lo]/", b"http://user:pw@10.0.0.5:22/",
    b"https://cdn.example/", b"ftp://cdn.example/", b"http://", b"http://localhost:5000/", b"\xff\xfe", b"a\tb", b"",
    b"http://8.8.8.8/", b"http://%31%32%37.0.0.1/", b"//lab.example:5000/x", b"http://lab.example:22/",
)  # fmt: skip
_TOKENS: Final = (
    json.dumps({"token": TOKEN, "expires_in": 300}).encode(), json.dumps({"access_token": TOKEN}).encode(),
    b'{"token": "a\\nb"}', b'{"token": 5}', b'{"token": ""}', b"[]", b"[" * 2000, b'{"token": "x", "expires_in": NaN}',
    b'{"token": "x", "expires_in": 1e999}', b'{"token": "x", "expires_in": "soon"}',
    b'{"token": "x", "expires_in": -1}', b"\xff\xfe{}", b'{"token": "' + b"x" * 4000 + b'"}',
)  # fmt: skip


def answer(choose: Chooser) -> list[bytes]:
    """One answer, in the pieces in which it is sent; mostly well-formed. An empty piece: a pause."""
    kind = choose.below(16)
    if kind == 0:
        return [choose.octets(choose.below(600))]
    if kind > 9:
        return [_sensible(choose)]
    body = _body(choose)
    lines = [b"HTTP/1.1 " + pick(choose, _STATUSES)]
    lines += [pick(choose, _HEADERS) + b": " + pick(choose, _VALUES) for _ in range(choose.below(5))]
    match choose.below(8):
        case 0:
            lines += [b"Transfer-Encoding: chunked"]
            body = _chunked(choose, body)
        case 1:
            lines += [b"Content-Length: %d" % (len(body) + choose.below(300) - 20)]
        case 2:
            pass  # until the connection ends
        case _:
            lines += [b"Content-Length: %d" % len(body)]
    if kind == 1:
        lines += [b"X-Many: " + b"y" * choose.below(400) for _ in range(choose.below(200))]
    raw = bytearray(b"\r\n".join([*lines, b"", b""]) + body)
    if kind in (2, 3) and raw:
        place = choose.below(min(len(raw), 65535))
        raw[place : place + choose.below(3)] = choose.octets(choose.below(4))
    cut = choose.below(min(len(raw), 65535) + 1) if choose.below(4) == 0 else len(raw)
    return [bytes(raw[:cut]), b"", bytes(raw[cut:])]


def _sensible(choose: Chooser) -> bytes:
    """An answer as a registry gives it, with one value that may be any."""
    value, body = pick(choose, _VALUES), _body(choose)
    length = b"Content-Length: %d" % len(body)
    lines = pick(choose, (
        (b"401 No", b"WWW-Authenticate: " + value, length),
        (b"307 There", b"Location: " + value, length),
        (b"200 OK", b"Content-Type: " + value, b"Docker-Content-Digest: " + _DIGEST, length),
        (b"200 OK", b"Docker-Content-Digest: " + value, b"Content-Type: " + OCI_MANIFEST.encode(), length),
        (b"206 Part", b"Content-Range: " + value, length),
        (b"206 Part", b"Content-Range: bytes 0-%d/1024" % max(0, len(body) - 1), length),
        (b"429 Slow", b"Retry-After: " + value, length),
        (b"200 OK", b"Content-Type: application/octet-stream", length),
    ))  # fmt: skip
    return b"HTTP/1.1 " + b"\r\n".join([*lines, b"", b""]) + body


def _body(choose: Chooser) -> bytes:
    match choose.below(8):
        case 0:
            return b""
        case 1:
            return choose.octets(choose.below(300))
        case 2 | 3:
            return MANIFEST
        case 4:
            return b"<html>" * choose.below(100)
        case 5:
            return BODY[: choose.below(1025)]
        case 6:
            return pick(choose, _TOKENS)
        case _:
            return BODY


def _chunked(choose: Chooser, body: bytes) -> bytes:
    size = pick(choose, (b"%x" % len(body), b"%X;ext=1" % len(body), b"-1", b"", b"f" * 20, b"0x10", b"1"))
    return size + b"\r\n" + body + pick(choose, (b"\r\n0\r\n\r\n", b"\r\n", b"", b"0\r\nTrailer: x\r\n\r\n"))


class Loop(asyncio.SelectorEventLoop):
    """Lets all connections lead to one listener, and notes to which addresses they were meant to."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.contacted: list[tuple[str, int]] = []

    @staticmethod
    def look_up(host: Any, port: Any, **_: Any) -> Any:
        """Names as `NAMES` has them; addresses, in every way of writing them, as the C library reads them."""
        with suppress(OSError, UnicodeError, AttributeError):
            host = socket.inet_ntoa(socket.inet_aton(host))
        address = host if host[:1].isdigit() else NAMES.get(host.lower().rstrip("."), "93.184.216.34")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to the listener instead."""
        self.contacted.append((address[0], address[1]))
        if sock.family != socket.AF_INET:
            raise OSError("only the listener can be reached")
        await super().sock_connect(sock, ("127.0.0.1", self.port))


class Liar:
    """The listener: its answers are a script; then it says nothing more.

    Args:
        answers: one for each request, in order.
    """

    def __init__(self, answers: Sequence[Sequence[bytes]]) -> None:
        self._answers = list(answers)
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.heard: list[bytes] = []
        """The heads of all requests."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                if not self._answers:
                    break
                for piece in self._answers.pop(0):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    async def close(self) -> None:
        """End all connections."""
        for _ in range(8):  # what is accepted has its task some turns of the loop later
            await asyncio.sleep(0)
        for writer in self._tasks.values():
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        for writer in self._tasks.values():
            with suppress(ConnectionError):
                await writer.wait_closed()


class Notebook:
    """A sink that holds the client to its word.

    Args:
        request: what was asked for.
    """

    def __init__(self, request: RangeRequest) -> None:
        self._request = request
        self.reply: RangeReply | None = None
        self.position = 0

    async def begin(self, reply: RangeReply) -> None:
        """Note what is to come."""
        if reply.size > SIZE_MAX_BYTES:
            raise StorageFull("larger than any disk")
        _hold(self.reply is None, "a reply begins twice")
        _hold(reply.start == self._request.start <= reply.stop <= reply.size, f"no part of the content: {reply}")
        self.reply, self.position = reply, reply.start

    def begin_at_once(self, reply: RangeReply) -> bool:
        """Nothing is expected."""
        return False

    async def wait_for_space(self, position: int) -> None:
        """There is space."""

    def put(self, position: int, part: bytes | memoryview) -> None:
        """Note how far it is."""
        _hold(self.reply is not None and position == self.position, "bytes come where none were announced")
        self.position += len(part)
        _hold(self.reply is not None and self.position <= self.reply.stop, "more bytes come than were announced")


def registry(script: bytes) -> None:
    """Ask a registry that follows a script about tags, sizes and bytes."""
    choose = Script(script)
    questions = [choose.below(5) for _ in range(1 + choose.below(_QUESTIONS_MAX))]
    answers = [answer(choose) for _ in range(_ANSWERS_MAX) if choose.more]
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_converse(questions, answers))


async def _converse(questions: Sequence[int], answers: Sequence[Sequence[bytes]]) -> None:
    loop, liar = asyncio.get_running_loop(), Liar(answers)
    assert isinstance(loop, Loop)
    server = await asyncio.start_server(liar.serve, sock=socket.create_server(("127.0.0.1", 0)))
    loop.port = server.sockets[0].getsockname()[1]
    host, port, address = NAMED
    upstream = Upstream([Registry("lab", f"http://{host}:{port}", "robot", PASSWORD)], _SETTINGS, look_up=loop.look_up)
    await upstream.start()
    try:
        for question in questions:
            await _ask(upstream, question)
    finally:
        await upstream.close()
        server.close()
        await liar.close()
    for contacted in loop.contacted:
        # The registry's own host is in a private network: it may lead to all ports of that, and to no other host.
        _hold(is_public(contacted[0]) or contacted[0] == address, f"{contacted} was contacted")
    strangers_asked = False
    for head in liar.heard:
        text = head.decode("latin-1")
        _check_head(text, strangers_asked=strangers_asked)
        strangers_asked |= "\r\nauthorization:" not in text.lower() and "/v2/team/app/" not in text


async def _ask(upstream: Upstream, question: int) -> None:
    repository = Repository("lab", "team/app")
    blob, manifest = (
        Content(repository, "blobs", Digest.of(BODY)),
        Content(repository, "manifests", Digest.of(MANIFEST)),
    )
    start, stop = ((0, None), (100, 200), (0, 1024))[question % 3]
    request = RangeRequest(start, stop, Role.UPSTREAM)
    notebook = Notebook(request)
    ask: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: upstream.resolve(Reference(repository, "1")),
        lambda: upstream.size(blob),
        lambda: upstream.download(blob, request, notebook),
        lambda: upstream.download(manifest, request, notebook),
        lambda: upstream.download(blob, request, notebook),
    )
    try:
        async with asyncio.timeout(_ENDS_S):
            answered = await ask[question]()
    except UpstreamError as error:
        _check_message(str(error))
    except StorageFull:
        pass
    except TimeoutError:
        raise BrokenRule("a question never ends") from None
    else:
        _hold(question > 1 or answered is not None, "no answer and no error")
        _hold(question != 1 or answered >= 0, "a size is negative")
        _hold(question < 2 or (notebook.reply is not None and notebook.position == notebook.reply.stop), "bytes lack")


def _check_head(head: str, *, strangers_asked: bool) -> None:
    """Who is told what: a token goes to the registry alone, a password to it and to the token service that it names.

    A host to which the registry redirects is told a token only if somebody was asked for one without a password.
    """
    line, *fields = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    given, host = headers.get("authorization", ""), headers.get("host", "")
    _hold("\n" not in line and line.endswith(" HTTP/1.1") and line.count(" ") == 2, f"a request is odd: {line!r}")
    if given.startswith("Bearer"):
        _hold(strangers_asked or host == "lab.example:5000", f"{host} is told a token")
    elif given:
        _hold(host == "lab.example:5000" or "scope=" in line, f"{host} is told the password")


def _check_message(message: str) -> None:
    """Messages go into logs, and to clients."""
    _hold(message.isprintable(), f"a message has what cannot be printed: {message!r}")
    _hold(len(message) <= 1000, f"a message has {len(message)} characters")
    for secret in (PASSWORD, BASIC, TOKEN, "s1gnature"):
        _hold(secret not in message, f"a message has a secret: {message!r}")


def _hold(rule: bool, what: str) -> None:
    if not rule:
        raise BrokenRule(what)
