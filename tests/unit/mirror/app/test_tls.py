"""Whether the kernel encrypts, so that files leave by sendfile; and how an encrypted connection sends and ends."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest

from mirror.app.tls import LEND, TlsTransport, kernel_encrypts


class Kernel:
    """A socket of a kernel that answers in its way."""

    def __init__(self, answer: bytes | OSError) -> None:
        self._answer = answer

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (282, 1)
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "encrypts"), [(b"\x04\x03\x33\x00", True), (b"", False), (OSError(92, "no such option"), False)]
)
def test_the_kernel_says_whether_it_encrypts(answer: bytes | OSError, encrypts: bool) -> None:
    assert kernel_encrypts(Kernel(answer)) is encrypts  # type: ignore[arg-type]


def test_an_ordinary_connection_is_not_encrypted_by_the_kernel() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert not kernel_encrypts(one)


class Encrypted:
    """A connection of the TLS library, whose other end takes `room` bytes."""

    context = None

    def __init__(self, room: int = 0) -> None:
        self._own, self.other = socket.socketpair()
        self.room = room
        self.sent = bytearray()
        self.longest = 0

    def cipher(self) -> None:
        return None

    def getpeername(self) -> str:
        return ""

    getsockname = getpeername

    def fileno(self) -> int:
        return self._own.fileno()

    def getsockopt(self, *_: int) -> bytes:
        raise OSError(92, "no such option")

    def recv(self, _: int) -> bytes:
        raise ssl.SSLWantReadError

    def send(self, content: bytes) -> int:
        self.longest = max(self.longest, len(content))
        if not self.room:
            raise ssl.SSLWantWriteError
        taken = min(len(content), self.room)
        self.room -= taken
        self.sent += content[:taken]
        return taken

    def unwrap(self) -> None:
        raise ssl.SSLWantReadError

    def close(self) -> None:
        self._own.close()


class Ended(asyncio.Protocol):
    """Knows when its connection has ended."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.set_result(exc)


@contextlib.contextmanager
def carried(encrypted: Encrypted) -> Iterator[tuple[TlsTransport, Ended]]:
    protocol = Ended()
    transport = TlsTransport(encrypted, protocol, frozenset)  # type: ignore[arg-type]
    with encrypted.other:
        yield transport, protocol


@pytest.mark.parametrize("room", [1000, 0])
def test_a_connection_that_is_closed_while_it_is_lent_sends_what_waits_and_ends(room: int) -> None:
    async def main() -> None:
        encrypted = Encrypted(room)
        with carried(encrypted) as (transport, protocol):
            lent = transport.get_extra_info(LEND)()
            transport.write(b"the end")
            transport.close()
            lent.close()
            encrypted.room = 1000
            assert await asyncio.wait_for(protocol.end, 20) is None
        assert encrypted.sent == b"the end"

    asyncio.run(main())


def test_what_waits_leaves_in_parts_so_that_progress_shows() -> None:
    async def main() -> None:
        encrypted = Encrypted(100 * 1024)
        with carried(encrypted) as (transport, protocol):
            transport.write(bytes(1024 * 1024))
            assert transport.get_write_buffer_size() == 924 * 1024
            assert encrypted.longest < 128 * 1024
            transport.abort()
            await asyncio.wait_for(protocol.end, 20)

    asyncio.run(main())
