"""TLS between members: who is let in, what comes through, and what strangers can do to the listener."""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from mirror.app.blob import BlobResponse, of_file
from mirror.app.tls import MEMBER_NAMES, Acceptance
from mirror.channels import PeerTls
from mirror.channels.contexts import Channels
from mirror.errors import PeerError, Reason
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.settings import PeerSettings
from mirror.sources import RangeRequest, Role
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.client import PeerClient
from tests.loopback.channels import DAY_S, ONE, TWO, channels, listening
from tests.loopback.servers import Memory, content_of

MIB = 1024 * 1024
SIZE = 5 * MIB + 17
PATIENCE_S = 50.0
PATIENT = PeerSettings(connect_s=PATIENCE_S, head_s=PATIENCE_S, silent_s=PATIENCE_S, sign_of_life_s=PATIENCE_S)
TAG = Reference.parse("library/x:1")

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random bytes."""
    path = tmp_path_factory.mktemp("tls") / "blob"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


@pytest.fixture(scope="module")
def blob(path: Path) -> bytes:
    return path.read_bytes()


class Holder:
    """Serves a file to whoever is let in; answers HEAD as a tag."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.asked: list[frozenset[str] | None] = []
        """By whom, as their certificates say."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["extensions"].get(MEMBER_NAMES))
        if scope["method"] == "HEAD":
            headers = [(b"docker-content-digest", b"sha256:" + b"0" * 64), (b"skvaller-tag-age", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        asked = next((value for name, value in scope["headers"] if name == b"range"), b"bytes=0-%d" % (SIZE - 1))
        first, last = map(int, asked.removeprefix(b"bytes=").split(b"-"))
        count = min(last, SIZE - 1) + 1 - first
        headers = [
            (b"content-length", b"%d" % count),
            (b"content-range", b"bytes %d-%d/%d" % (first, first + count - 1, SIZE)),
        ]
        with self._path.open("rb") as file:
            await BlobResponse(206, headers, of_file(file.fileno(), self._extents(first, count)))(scope, receive, send)

    async def _extents(self, first: int, count: int) -> AsyncGenerator[tuple[int, int], None]:
        """One that is copied, then one that is sent by a thread."""
        early = min(count, 1000)
        yield first, early
        await self.gate.wait()
        if count > early:
            yield first + early, count - early


@contextlib.asynccontextmanager
async def asking(name: str, ways: Channels, auth: PeerAuth | None = None) -> AsyncIterator[PeerClient]:
    client = PeerClient(name, auth or PeerAuth(), PATIENT, ways)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
        await asyncio.sleep(0)


async def fetch(client: PeerClient, peer: Peer, start: int = 0, stop: int = SIZE) -> bytes:
    sink = Memory()
    await client.download(peer, content_of(b"x"), RangeRequest(start, stop), sink)
    return bytes(sink.body)


def at(name: str, port: int, *, tls: bool = True) -> Peer:
    return Peer(name, "127.0.0.1", port, tls)


def test_a_blob_comes_through_whole_and_the_connection_serves_again(run: Run, path: Path, blob: bytes) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b")) as door, asking("a", channels("a")) as client:
            peer = at("b", door.port)
            assert await fetch(client, peer) == blob
            assert await fetch(client, peer, 5, 100) == blob[5:100]
            assert await fetch(client, peer, MIB, SIZE) == blob[MIB:]
            assert len(door.open) == 1
            assert str((await client.tag(peer, TAG)).digest) == "sha256:" + "0" * 64
            assert await client.is_alive(peer)
            assert holder.asked == [frozenset({"a"})] * 5

    run(main())


def test_a_name_that_looks_like_an_address_is_a_name(run: Run, path: Path, blob: bytes) -> None:
    async def main() -> None:
        async with listening(Holder(path), channels("10.1.2.3")) as door, asking("a_1", channels("a_1")) as client:
            assert await fetch(client, at("10.1.2.3", door.port), 0, 100) == blob[:100]

    run(main())


def test_many_at_once_get_every_byte(run: Run, path: Path, blob: bytes) -> None:
    async def main() -> None:
        async with listening(Holder(path), channels("b")) as door, asking("a", channels("a")) as client:
            bodies = await asyncio.gather(*(fetch(client, at("b", door.port)) for _ in range(24)))
            assert all(body == blob for body in bodies)

    run(main())


def test_bytes_that_wait_for_others_are_there_at_once(run: Run, path: Path, blob: bytes) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b")) as door, asking("a", channels("a")) as client:
            holder.gate.clear()
            sink = Memory()
            work = asyncio.create_task(
                client.download(at("b", door.port), content_of(b"x"), RangeRequest(0, SIZE, Role.HOME), sink)
            )
            await sink.came.wait()
            assert bytes(sink.body) == blob[:1000]
            holder.gate.set()
            await work
            assert bytes(sink.body) == blob

    run(main())


async def refused(work: Coroutine[Any, Any, Any]) -> tuple[Reason, str]:
    with pytest.raises(PeerError) as caught:
        await work
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(
    ("server", "client", "meant", "why"),
    [
        (channels("b"), channels("a"), "c", "not valid for 'c'"),
        (channels("b", TWO), channels("a", ONE), "b", "self-signed certificate"),
        (channels("b"), channels("a", denied=["B"]), "b", "--tls-deny"),
        (channels("b", step=PeerTls.OFF), channels("a"), "b", "no TLS with it"),
    ],
    ids=["another member", "another cluster", "a member that is denied", "no TLS"],
)
def test_only_the_member_that_is_meant_is_believed(
    run: Run, path: Path, server: Channels, client: Channels, meant: str, why: str
) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, server) as door, asking("a", client) as asker:
            peer = at(meant, door.port)
            for work in (fetch(asker, peer), asker.tag(peer, TAG)):
                reason, text = await refused(work)
                assert reason is Reason.UNPROVEN
                assert why in text
            assert not await asker.is_alive(peer)
            assert holder.asked == []

    run(main())


def test_a_connection_to_one_member_is_not_used_for_another_at_the_same_address(run: Run, path: Path) -> None:
    async def main() -> None:
        async with listening(Holder(path), channels("b")) as door, asking("a", channels("a")) as client:
            await fetch(client, at("b", door.port))
            await client.tag(at("b", door.port), TAG)
            for work in (fetch(client, at("c", door.port)), client.tag(at("c", door.port), TAG)):
                assert (await refused(work))[0] is Reason.UNPROVEN

    run(main())


@pytest.mark.parametrize("shift_days", [-15, 15])
def test_a_certificate_whose_time_is_not_now_is_not_believed(
    run: Run, path: Path, shift_days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = __import__("time").time()
    monkeypatch.setattr("mirror.channels.contexts.time.time", lambda: now + shift_days * DAY_S)
    monkeypatch.setattr("mirror.channels.contexts._rehearse", lambda *_: None)  # as if the clock were that one
    odd = channels("b")
    monkeypatch.undo()

    async def main() -> None:
        async with listening(Holder(path), odd) as door, asking("a", channels("a")) as client:
            assert (await refused(fetch(client, at("b", door.port))))[0] is Reason.UNPROVEN
        holder = Holder(path)
        async with listening(holder, channels("a")) as door, asking("b", odd) as client:
            await refused(fetch(client, at("a", door.port)))
            assert holder.asked == []
            await door.failed.wait()
            assert "certificate is" in str(door.failures[0])

    run(main())


def test_a_stranger_is_not_let_in_and_one_without_a_certificate_neither(run: Run, path: Path) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b", ONE)) as door:
            async with asking("a", channels("a", TWO, ONE)) as client:  # it believes b, and b does not believe it
                await refused(fetch(client, at("b", door.port)))
            anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=anonymous)
                writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await reader.read() == b""
                writer.close()
            while len(door.failures) < 2:
                await asyncio.sleep(0.01)
            assert holder.asked == []

    run(main())


@pytest.mark.parametrize(("step", "status"), [(PeerTls.ON, b"400"), (PeerTls.PREFER, b"206")])
def test_clear_text_is_answered_only_where_it_may_be(run: Run, path: Path, step: PeerTls, status: bytes) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b", step=step)) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).split(b" ")[1] == status
            writer.close()
            assert holder.asked == ([] if step is PeerTls.ON else [None])

    run(main())


@pytest.mark.parametrize(
    ("theirs", "ours", "says", "speaks"),
    [
        (PeerTls.PREFER, PeerTls.ON, False, "TLS"),
        (PeerTls.PREFER, PeerTls.PREFER, True, "TLS"),
        (PeerTls.ON, PeerTls.PREFER, True, "TLS"),
        (PeerTls.OFF, PeerTls.PREFER, False, "clear"),
        (PeerTls.PREFER, PeerTls.OFF, True, "clear"),
    ],
)
def test_a_cluster_goes_from_off_to_on_node_by_node(
    run: Run, path: Path, blob: bytes, theirs: PeerTls, ours: PeerTls, says: bool, speaks: str
) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with (
            listening(holder, channels("b", step=theirs)) as door,
            asking("a", channels("a", step=ours)) as client,
        ):
            peer = at("b", door.port, tls=says)
            assert await fetch(client, peer) == blob
            await client.tag(peer, TAG)
            assert holder.asked == [frozenset({"a"}) if speaks == "TLS" else None] * 2

    run(main())


def test_keys_change_under_load(run: Run, path: Path, blob: bytes) -> None:
    """Install on both, use on both, remove from both; all the while content is fetched and questions are asked."""

    async def main() -> None:
        theirs, ours = channels("b", ONE), channels("a", ONE)
        async with listening(Holder(path), theirs) as door, asking("a", ours) as client:
            peer, ended = at("b", door.port), asyncio.Event()

            async def load() -> int:
                count = 0
                while not ended.is_set():
                    assert await fetch(client, peer) == blob
                    await client.tag(peer, TAG)
                    count += 1
                return count

            loads = [asyncio.create_task(load()) for _ in range(3)]
            for keys in ([ONE, TWO], [TWO, ONE], [TWO]):
                for ways in (theirs, ours):
                    ways.use(keys)
                    await fetch(client, peer)
            ended.set()
            assert all(count > 0 for count in await asyncio.gather(*loads))
            async with asking("old", channels("old", ONE)) as old:
                assert (await refused(fetch(old, peer)))[0] is Reason.UNPROVEN

    run(main())


def test_a_key_that_was_removed_is_of_no_use_on_open_connections(run: Run, path: Path) -> None:
    async def main() -> None:
        theirs, holder = channels("b", ONE), Holder(path)
        async with listening(holder, theirs) as door, asking("a", channels("a", ONE)) as client:
            await client.tag(at("b", door.port), TAG)
            await client.is_alive(at("b", door.port))
            await fetch(client, at("b", door.port))
            theirs.use([TWO])
            await fetch(client, at("b", door.port), 0, 100)  # the connection is open, and this holder answers anybody
            assert holder.asked == [frozenset({"a"})] * 3 + [frozenset()]

    run(main())


def test_a_certificate_that_expires_is_of_no_use_on_open_connections(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b")) as door, asking("a", channels("a")) as client:
            peer = at("b", door.port)
            await client.tag(peer, TAG)
            await fetch(client, peer)
            asked, later = len(holder.asked), time.time() + 8 * DAY_S
            monkeypatch.setattr("mirror.channels.contexts.time.time", lambda: later)
            for work in (client.tag(peer, TAG), fetch(client, peer)):
                assert (await refused(work))[0] is Reason.UNPROVEN
            assert len(holder.asked) == asked

    run(main())


def client_hello() -> bytes:
    """The first bytes of a handshake."""
    outgoing = ssl.MemoryBIO()
    half = channels("a").client
    assert half is not None
    with contextlib.suppress(ssl.SSLWantReadError):
        half.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="b").do_handshake()
    return outgoing.read()


STRANGERS = {
    "nothing": b"",
    "one byte of TLS": b"\x16",
    "half a handshake": client_hello()[:-20],
    "a handshake that is not gone on with": client_hello(),
    "a record without an end": b"\x16\x03\x01\xff\xff" + b"x" * 100,
    "garbage": b"\x16" + bytes(range(256)) * 20,
    "other garbage": bytes(range(255, -1, -1)) * 20,
}


@pytest.mark.parametrize("sent", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_has_no_more_than_its_time(run: Run, path: Path, sent: bytes) -> None:
    async def main() -> None:
        holder = Holder(path)
        async with listening(holder, channels("b"), handshake_s=0.1) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(sent)
            await door.failed.wait()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            door.acceptance = Acceptance(channels("b"))  # members may take longer on a busy machine
            async with asking("a", channels("a")) as client:
                await client.tag(at("b", door.port), TAG)
            assert len(holder.asked) == 1

    run(main())


def test_strangers_that_stop_in_the_middle_do_not_keep_members_out(run: Run, path: Path, blob: bytes) -> None:
    async def main() -> None:
        async with listening(Holder(path), channels("b"), handshake_s=PATIENCE_S) as door:
            strangers = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(50)]
            for _, writer in strangers:
                writer.write(client_hello())
            async with asking("a", channels("a")) as client:
                assert await fetch(client, at("b", door.port)) == blob
            for _, writer in strangers:
                writer.close()
            while len(door.failures) < len(strangers):
                await asyncio.sleep(0)

    run(main())


def test_a_member_that_goes_in_the_middle_of_a_file_is_no_trouble(
    run: Run, path: Path, blob: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        ways = channels("a")
        async with listening(Holder(path), channels("b")) as door:
            for linger in (False, True):
                sock = socket.create_connection(("127.0.0.1", door.port))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                assert ways.client is not None
                encrypted = await asyncio.to_thread(ways.client.wrap_socket, sock, server_hostname="b")
                encrypted.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.to_thread(encrypted.recv, 2000)
                if linger:
                    encrypted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                encrypted.close()
                while door.state.connections:
                    await asyncio.sleep(0.001)
            async with asking("a", ways) as client:
                assert await fetch(client, at("b", door.port)) == blob

    run(main())
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


def test_an_application_that_ends_early_makes_a_short_body(run: Run, path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000"), (b"content-range", b"bytes 0-999/1000")]
        await send({"type": "http.response.start", "status": 206, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 10, "more_body": True})

    async def main() -> None:
        async with listening(_as_app(app), channels("b")) as door, asking("a", channels("a")) as client:
            reason, text = await refused(fetch(client, at("b", door.port), 0, 1000))
            assert reason is Reason.BROKEN
            assert "990 bytes short" in text

    run(main())


def _as_app(app: ASGIApp) -> ASGIApp:
    return app
