"""A listener among strangers, over real connections: what they can take, and that others are served all the same."""

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from mirror.addresses import Address, ListenAddress, UnixAddress
from mirror.app import EndpointServer, Places
from mirror.app.listener import Connect, plainly
from mirror.app.tls import Acceptance
from mirror.settings import ChannelSettings, ServerSettings
from testbed.network import free_address
from tests.loopback.channels import channels

PATIENCE_S = 30.0
MIB = 1024 * 1024
HASTY = ServerSettings(head_s=0.2, keep_alive_s=0.2, stall_timeout_s=0.2, look_s=0.1)
"""A server that waits for nobody."""
MEMBER = "127.0.77.1"
"""A member's address. 127.0.0.1 alone counts as this machine here; all others are strangers'."""

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture) -> Run:
    """Runs a coroutine on one of the event loops, within bounds; nothing that a stranger does is a warning."""

    def run(main: Coroutine[Any, Any, None]) -> None:
        caplog.set_level(logging.DEBUG, "mirror")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(main, PATIENCE_S))
        assert [record.getMessage() for record in caplog.records if is_loud(record)] == []

    return run


def is_loud(record: logging.LogRecord) -> bool:
    """Whether an operator sees it."""
    return record.levelno >= logging.WARNING or record.exc_info is not None


class App:
    """Answers with the path. `/hang` waits until it may go on; `/body` reads the body; `/large` sends 8 MiB."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.running = self.most = self.count = 0
        self.bodies: list[bytes] = []
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.count += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.scopes.append(scope)
        try:
            if scope["path"] == "/hang":
                await self.go_on.wait()
            if scope["path"] == "/body":
                self.bodies.append(await Request(scope, receive).body())
            body = bytes(8 * MIB) if scope["path"] == "/large" else scope["path"].encode()
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
            )
            await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})
        finally:
            self.running -= 1


class Served:
    """A server with its address and application."""

    def __init__(self, server: EndpointServer, address: ListenAddress, app: App) -> None:
        self.server = server
        self.address = address
        self.app = app

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, UnixAddress):
            return await asyncio.open_unix_connection(self.address.path)
        return await asyncio.open_connection(self.address.host, self.address.port, local_addr=(source, 0))

    async def say(self, what: bytes, source: str = "127.0.0.1") -> bytes:
        """Send something; return all that comes until the server closes the connection."""
        reader, writer = await self.connect(source)
        writer.write(what)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(MIB):
                answer += part
        writer.close()
        return answer

    async def is_answered(self, source: str = "127.0.0.1", path: str = "/healthz") -> bool:
        """Whether somebody gets an answer."""
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        try:
            return (await self.say(request, source)).endswith(path.encode())
        except ConnectionError:
            return False

    async def flood(self, start: bytes, part: bytes, count: int) -> int:
        """Send a lot; return how many bytes the server let come before it closed the connection."""
        reader, writer = await self.connect()
        writer.write(start)
        sent = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(count):
                writer.write(part)
                await writer.drain()
                sent += len(part)
            await reader.read()
        writer.close()
        return sent

    async def is_left_alone(self) -> None:
        """Wait until no connection is open."""
        while self.server.server_state.connections:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(
    settings: ServerSettings | None = None, address: ListenAddress | None = None, connect: Connect = plainly
) -> AsyncIterator[Served]:
    settings = settings or ServerSettings()
    address = address or Address(*free_address())
    places = Places(lambda: [MEMBER], 20_000, settings, is_local=lambda host: host == "127.0.0.1")
    app = App()
    server = EndpointServer(app, "listen", address, places, settings, connect)
    server.bind()
    server.start()
    try:
        yield Served(server, address, app)
    finally:
        app.go_on.set()
        await server.stop()
        server.unbind()
    assert places.count == 0


def ask(path: str = "/", method: str = "GET", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


# Heads


@pytest.mark.parametrize(
    ("start", "part", "count"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"x" * MIB, 200),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 100_000, 83),
        (b"GET /", b"a" * MIB, 50),
        (b"", b"A" * MIB, 50),
        (b"", b"\r\n" * (MIB // 2), 50),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", b"a:" + b" " * MIB + b"\r\n", 50),
    ],
    ids=["a wide header", "short lines", "a wide target", "a wide method", "empty lines", "blanks"],
)
def test_a_head_without_an_end_is_not_read_to_it(run: Run, start: bytes, part: bytes, count: int) -> None:
    async def main() -> None:
        async with serving() as served:
            sent = await served.flood(start, part, count)
            assert sent < count * len(part)
            assert sent < 16 * MIB, "no more than the kernel buffers"
            assert served.app.count == 0
            assert await served.is_answered()

    run(main())


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (ask("/", "GET", "X: " + "x" * 32_768), b"431"),
        (ask("/", "GET", *["a: b"] * 99), b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),  # TLS; podman tries it first
        (b"\x00\x01\x02", b"400"),
        (b"hello\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"400"),
        (b"GET http:// HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"GET / HTTP/3.14\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_is_told_so_and_logged_quietly(
    run: Run, caplog: pytest.LogCaptureFixture, said: bytes, status: bytes
) -> None:
    async def main() -> None:
        async with serving() as served:
            answer = await served.say(said)
            assert answer.startswith(b"HTTP/1.1 " + status)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"content-type: application/json" in head
            (error,) = json.loads(body)["errors"]
            assert error["code"] == "UNSUPPORTED"
            assert error["message"]
            assert served.app.count == 0

    run(main())
    told = [record for record in caplog.records if record.name == "mirror.app.protocol"]
    assert [record.levelno for record in told] == [logging.DEBUG]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/v2/", b"localhost"),
        ("http://evil.example/v2/", b"evil.example"),
        ("HTTP://evil.example:5000/v2/?ns=http://localhost/", b"evil.example:5000"),
        ("http://127.0.0.1:5000/v2/", b"127.0.0.1:5000"),
    ],
)
def test_the_host_of_a_target_that_is_a_url_counts(run: Run, target: str, host: bytes) -> None:
    async def main() -> None:
        async with serving() as served:
            await served.say(ask(target, "GET", "Host: localhost", "Connection: close"))
            (scope,) = served.app.scopes
            assert scope["path"] == "/v2/"
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            assert set(hosts) == {host}
            assert len(hosts) == (2 if target.startswith("/") else 1)

    run(main())


def test_what_runtimes_send_at_most_is_let_in(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            wide = ask("/wide", "GET", "Authorization: Bearer " + "x" * 30_000, "Connection: close")
            assert (await served.say(wide)).endswith(b"/wide")
            many = ask("/many", "GET", *(f"X-{number}: b" for number in range(97)), "Connection: close")
            assert (await served.say(many)).endswith(b"/many")

    run(main())


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", ask("/") + b"GET / HT"])
def test_a_head_that_does_not_come_ends_the_connection(run: Run, begun: bytes) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            answer = await served.say(begun)
            assert answer.endswith(b"/") if begun.startswith(ask("/")) else answer == b""

    run(main())


def test_a_head_that_comes_a_byte_at_a_time_gets_no_more_time(run: Run) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            reader, writer = await served.connect()
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            closed = asyncio.create_task(reader.read())
            while not closed.done():
                writer.write(b"x")
                await asyncio.wait([closed], timeout=0.01)
            with contextlib.suppress(ConnectionError):
                assert closed.result() == b""
            writer.close()
            assert served.app.count == 0

    run(main())


def test_an_idle_connection_is_closed_and_one_with_a_request_is_not(run: Run) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            waiting = asyncio.create_task(served.say(ask("/hang", "GET", "Connection: close")))
            for _ in range(3):
                assert (await served.say(ask("/a") + ask("/b"))).count(b"HTTP/1.1 200") == 2
            assert not waiting.done()
            served.app.go_on.set()
            assert (await waiting).endswith(b"/hang")

    run(main())


# Bodies


BODY = b"x" * MIB


@pytest.mark.parametrize(
    "head",
    [
        ask("/", "GET", f"Content-Length: {200 * MIB}"),
        ask("/hang", "GET", f"Content-Length: {200 * MIB}"),
        ask("/", "HEAD", f"Content-Length: {200 * MIB}"),
        ask("/", "GET", "Transfer-Encoding: chunked"),
        ask("/hang"),
        ask("/", "GET", f"Content-Length: {200 * MIB}", "Expect: 100-continue"),
        ask("/", "GET", "Connection: Upgrade", "Upgrade: websocket"),
    ],
)
def test_a_body_that_nobody_asked_for_is_not_read(run: Run, head: bytes) -> None:
    async def main() -> None:
        async with serving() as served:
            _, writer = await served.connect()
            writer.write(head)
            flood = asyncio.create_task(drained(writer, BODY, 200))
            if b"/hang" in head:
                await until(lambda: served.app.running == 1)
                await asyncio.wait([flood], timeout=0.3)  # it would be over by then, if anybody read
                assert not flood.done()
                assert await served.is_answered()
                served.app.go_on.set()
            sent = await flood
            assert sent < 32 * MIB, "no more than the kernel buffers"
            writer.close()
            await served.is_left_alone()
            assert served.app.count == 1 + (b"/hang" in head)

    run(main())


async def drained(writer: asyncio.StreamWriter, part: bytes, count: int) -> int:
    """Send a part again and again until the other end closes the connection; return how many bytes it let come."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        for _ in range(count):
            writer.write(part)
            await writer.drain()
            sent += len(part)
    return sent


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def test_a_get_with_a_small_body_is_answered_all_the_same(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            answer = await served.say(ask("/a", "GET", "Content-Length: 3") + b"abc")
            assert answer.endswith(b"/a")
            assert b"connection: close" in answer
            assert b"100 Continue" not in await served.say(
                ask("/a", "GET", "Content-Length: 3", "Expect: 100-continue")
            )

    run(main())


def test_orders_have_bodies_within_bounds(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            order = ask("/body", "POST", "Content-Length: 65536") + b"x" * 65536
            close = ask("/b", "GET", "Connection: close")
            for parts in (
                [order + close],
                [order[start : start + 999] for start in range(0, len(order), 999)] + [close],
            ):
                reader, writer = await served.connect()
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                answer = await reader.read()
                assert answer.count(b"HTTP/1.1 200") == 2
                assert answer.endswith(b"/b")
                writer.close()
            assert served.app.bodies == [b"x" * 65536] * 2
            assert b" 413 " in await served.say(ask("/body", "POST", "Content-Length: 65537"))
            assert b" 411 " in await served.say(ask("/body", "POST", "Transfer-Encoding: chunked"))
            served.app.bodies.clear()
            asked = ask("/body", "POST", "Content-Length: 3", "Expect: 100-continue", "Connection: close")
            reader, writer = await served.connect()
            writer.write(asked)
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"abc")
            assert (await reader.read()).endswith(b"/body")
            writer.close()
            assert served.app.bodies == [b"abc"]

    run(main())


def test_a_body_that_does_not_come_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            assert await served.say(ask("/body", "POST", "Content-Length: 3") + b"a") == b""
            assert served.app.bodies == []
            early = await served.say(ask("/early", "POST", "Content-Length: 3") + b"a")
            assert early.endswith(b"/early")

    run(main())


# Behind a request


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02", b"garbage\r\n\r\n", b"\xff" * 20_000, ask()[:-1]])
def test_garbage_behind_a_request_does_it_no_harm(run: Run, garbage: bytes) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            answer = await served.say(ask("/a") + garbage)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"/a" in answer
            slow = asyncio.create_task(served.say(ask("/hang") + garbage))
            await until(lambda: served.app.running == 1)
            served.app.go_on.set()
            assert b"/hang" in await slow

    run(main())


def test_requests_behind_a_request_wait_for_its_answer(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            last = ask("/last", "GET", "Connection: close")
            answer = await served.say(b"".join(ask(f"/request-{number:02}") for number in range(50)) + last)
            assert re.findall(rb"/request-(\d\d)", answer) == [b"%02d" % number for number in range(50)]
            assert answer.endswith(b"/last")
            assert served.app.most == 1

    run(main())


def test_a_million_requests_in_one_go_are_not_kept(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            flood = asyncio.create_task(served.flood(ask("/hang"), ask() * 10_000, 100))
            await until(lambda: served.app.running == 1)
            served.app.go_on.set()
            await flood
            assert served.app.most == 1
            assert served.app.count < 2 * 32_768 // len(ask())

    run(main())


def test_a_client_that_reads_no_answer_is_let_go(run: Run) -> None:
    async def main() -> None:
        async with serving(HASTY) as served:
            for lines in ([], ["Connection: close"]):
                _, writer = await served.connect()
                transport: Any = writer.transport
                transport.pause_reading()
                writer.write(ask("/large", "GET", *lines))
                await until(lambda: served.app.count > 0)
                await served.is_left_alone()
                writer.close()
                served.app.count = 0

    run(main())


# Connections


def test_idle_strangers_keep_nobody_out(run: Run) -> None:
    settings = ServerSettings(strangers_max=128, from_stranger_max=64)

    async def main() -> None:
        async with serving(settings) as served:
            assert isinstance(served.address, Address)
            idle = [await served.connect("127.0.5.1") for _ in range(300)]
            idle += [await served.connect(f"127.0.5.{2 + number % 8}") for number in range(300)]
            await until(lambda: len(served.server.server_state.connections) <= 128)
            for source in ("127.0.0.1", MEMBER, "127.0.6.1", "127.0.5.1"):
                assert await served.is_answered(source)
            for _, writer in idle:
                writer.close()

    run(main())


def test_strangers_with_requests_take_their_own_places_alone(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    settings = ServerSettings(strangers_max=64, from_stranger_max=16)

    async def main() -> None:
        async with serving(settings) as served:
            hanging = [
                asyncio.create_task(served.say(ask("/hang", "GET", "Connection: close"), f"127.0.5.{number % 4 + 1}"))
                for number in range(64)
            ]
            await until(lambda: served.app.running == 64)
            assert not await served.is_answered("127.0.6.1")
            for source in ("127.0.0.1", MEMBER):
                assert await served.is_answered(source)
            served.app.go_on.set()
            answers = await asyncio.gather(*hanging)
            assert all(answer.endswith(b"/hang") for answer in answers)
            assert await served.is_answered("127.0.6.1")
            refusals = [record for record in caplog.records if "refused" in record.getMessage()]
            assert len(refusals) == 1
            caplog.clear()

    run(main())


def test_4100_idle_strangers_of_one_address_leave_it_useful(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            idle = []
            for number in range(4100):
                idle.append(await served.connect("127.0.5.1"))
                if number % 512 == 0:
                    assert await served.is_answered(MEMBER)
            for source in ("127.0.0.1", MEMBER, "127.0.6.1"):
                assert await served.is_answered(source)
            await until(lambda: len(served.server.server_state.connections) <= ServerSettings().from_stranger_max)
            for _, writer in idle:
                writer.close()

    run(main())


@pytest.mark.parametrize("begun", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_handshakes_that_strangers_do_not_end_hold_no_descriptors(run: Run, begun: bytes) -> None:
    settings = ServerSettings(strangers_max=32, head_s=PATIENCE_S)
    patient = Acceptance(channels("me"), ChannelSettings(handshake_s=PATIENCE_S))

    async def main() -> None:
        async with serving(settings, connect=patient) as served:
            before = len(os.listdir("/proc/self/fd")) + 8  # the event loop may open some of its own
            begin = [await served.connect(f"127.0.5.{number % 4 + 1}") for number in range(200)]
            for _, writer in begin:
                writer.write(begun)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 200 + 32)
            more = [await served.connect("127.0.6.1") for _ in range(32)]
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 232 + 32)
            for _, writer in (*begin, *more):
                writer.close()

    run(main())


def test_a_server_that_stops_lets_a_request_end_and_takes_no_other(run: Run) -> None:
    async def main() -> None:
        async with serving() as served:
            idle, writer = await served.connect()
            running = asyncio.create_task(served.say(ask("/hang")))
            await until(lambda: served.app.running == 1)
            stopping = asyncio.create_task(served.server.stop())
            assert await idle.read() == b""
            with pytest.raises(ConnectionError):
                await served.connect()
            assert not stopping.done()
            served.app.go_on.set()
            assert (await running).endswith(b"/hang")
            await stopping
            writer.close()

    run(main())


def test_a_unix_socket_is_an_endpoint_like_another(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "client.sock"

    async def main() -> None:
        async with serving(address=UnixAddress(str(path))) as served:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await served.is_answered()
            assert served.app.scopes[0]["server"] == (str(path), None)
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sS", "--unix-socket", str(path), "http://skvaller/v2/", stdout=subprocess.PIPE
            )
            assert (await curl.communicate())[0] == b"/v2/"
        assert not path.exists()

    run(main())


# Descriptors

CRAMPED = """
import asyncio, json, os, resource, socket, sys
import uvloop
from mirror.app import EndpointServer, Places
from mirror.addresses import Address
from mirror.settings import ServerSettings

async def app(scope, receive, send):
    taken = [os.dup(0) for _ in range(5)]  # as an answer that sends files does
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
    finally:
        for fd in taken:
            os.close(fd)

async def main():
    believed, allowed, port = map(int, sys.argv[1:])
    settings = ServerSettings(look_s=0.1)
    server = EndpointServer(app, "listen", Address("127.0.0.1", port), Places(list, believed, settings), settings)
    server.bind()
    server.start()
    await asyncio.sleep(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    print("listening", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def is_told_ok(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, PATIENCE_S) as client:
            client.sendall(ask("/", "GET", "Connection: close"))
            answer = b""
            while part := client.recv(4096):
                answer += part
    except ConnectionError:
        return False
    return answer.endswith(b"ok")


@pytest.mark.parametrize("believed", [100, 20_000], ids=["it knows its limit", "accept fails"])
def test_where_descriptors_are_few_idle_connections_go_and_requests_are_answered(believed: int) -> None:
    address = free_address()
    command = [sys.executable, "-c", CRAMPED, str(believed), "100", str(address.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        idle = [socket.create_connection(address, PATIENCE_S) for _ in range(300)]
        for _ in range(5):
            while not is_told_ok(address):
                pass  # the idle ones are being closed
        for connection in idle:
            connection.close()
        process.stdin.close()
        process.wait(PATIENCE_S)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert "Traceback" not in said
        assert process.returncode == 0
    assert ("can be accepted" in said) == (believed > 100), said
