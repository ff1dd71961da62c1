"""Who gets a place while streams are opened, with sockets whose other ends seem to be elsewhere."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from gossip.net import listener
from gossip.net.listener import StreamListener, StreamTls
from mirror.channels.contexts import Channels
from tests.loopback.channels import channels

WITHIN_S = 20.0
MEMBER, HELLO_START = "192.0.2.200", bytes.fromhex("160301020001")


class Ear:
    """A socket that listens; who connects from 127.0.2.7, say, seems to be 192.0.2.7."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.sock.setblocking(False)
        self.lacking = False
        self.tries = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.lacking:
            self.tries += 1
            raise OSError(errno.EMFILE, "Too many open files")
        accepted, (host, port) = self.sock.accept()
        return accepted, (host.replace("127.0.2", "192.0.2"), port)

    def close(self) -> None:
        self.sock.close()


class Site:
    """A listener, and those who open streams."""

    def __init__(self, stack: ExitStack, ways: Channels) -> None:
        self.ear, self.served, self.refused = Ear(), 0, 0
        self._stack = stack
        server, client = ways.server, ways.dialling
        assert server is not None
        assert client is not None
        self._client = client
        tls = StreamTls(lambda: server, lambda: client, lambda certificate: True, required=True)
        self.listener = StreamListener(
            self.ear,  # type: ignore[arg-type]
            self._serve,
            self._refuse,
            lambda host: host == MEMBER,
            tls,
            read_bytes=65536,
        )

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        writer.write(b"served")
        writer.close()

    def _refuse(self) -> None:
        self.refused += 1

    def open(self, number: int, said: bytes = b"") -> socket.socket:
        """Somebody at an address opens a stream, says something, and no more."""
        opener = self._stack.enter_context(socket.socket())
        opener.bind((f"127.0.2.{number}", 0))
        opener.connect(self.ear.sock.getsockname())
        opener.sendall(said)
        return opener

    def hello(self) -> bytes:
        """The first thing that an opener says, whole."""
        outgoing = ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):
            self._client.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
        return outgoing.read()

    async def is_served(self, number: int) -> bool:
        """Whether a node at an address can open a stream."""
        opener = self.open(number)
        opener.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=opener, ssl=self._client, server_hostname="")
        try:
            return await reader.readexactly(6) == b"served"
        finally:
            writer.transport.abort()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    with ExitStack() as stack:
        opened = Site(stack, channels("a"))
        try:
            yield opened
        finally:
            opened.listener.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's time runs out."""
    monkeypatch.setattr(listener, "OPENING_S", 600.0)


def test_strangers_that_began_to_greet_keep_nobody_out() -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            for number in range(1, 6):
                for _ in range(10):
                    at.open(number, HELLO_START)
            await until(lambda: at.refused == 10)
            assert await at.is_served(200)
            assert await at.is_served(100), "nor other strangers"

    asyncio.run(story())


def test_strangers_that_stop_in_the_middle_of_a_handshake_keep_no_member_out() -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            for number in range(1, 6):
                for _ in range(8):
                    at.open(number, at.hello())
            await asyncio.sleep(0)
            for _ in range(3):
                assert await at.is_served(200)

    asyncio.run(story())


def test_hello_that_comes_byte_by_byte_is_heard() -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            hello, opener = at.hello(), at.open(1)
            for place in range(len(hello)):
                opener.sendall(hello[place : place + 1])
                await asyncio.sleep(0)
            opener.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(opener, 1) == b"\x16"

    asyncio.run(story())


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1", b"\x16\x03\x01\xff\xff"], ids=["no TLS", "no record of TLS"])
def test_what_is_no_handshake_is_refused_at_once(said: bytes) -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            at.open(1, said)
            await until(lambda: at.refused == 1)

    asyncio.run(story())


def test_who_ends_before_it_began_is_refused_and_nothing_spins() -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            at.open(1, HELLO_START).shutdown(socket.SHUT_WR)
            await until(lambda: at.refused == 1)

    asyncio.run(story())


def test_without_descriptors_nothing_is_accepted_for_a_while_whatever_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with site() as at, asyncio.timeout(WITHIN_S):
            openers = [at.open(1 + number // 8) for number in range(64)]
            await until(lambda: not at.refused and len(asyncio.all_tasks()) > 64)
            at.ear.lacking = True
            waits = at.open(200)
            await until(lambda: at.ear.tries > 0)
            for opener in openers:
                opener.close()
            await until(lambda: at.refused == 64)
            assert at.ear.tries <= 5, "not once for each that ended"
            at.ear.lacking = False
            waits.close()
            assert await at.is_served(200)

    with caplog.at_level(logging.WARNING, "gossip.net.listener"):
        asyncio.run(story())
    assert len(caplog.records) == 1
