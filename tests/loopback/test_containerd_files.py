"""What containerd's files are, rather than what containerd says of them: cut, empty, wrong, at any time."""

import asyncio
import errno
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mirror.errors import Corrupt, StorageFailed
from mirror.oci.digest import Algorithm, Digest
from mirror.settings import ContainerdSettings
from mirror.stores.checking import Identity
from mirror.stores.containerd import ContainerdStore
from mirror.stores.containerd.folder import ContentFolder
from testbed.recorder import Recorder

BLOB = random.Random(8).randbytes(1_000_000)
QUICK = ContainerdSettings(burst_s=0.0, spacing_s=0.01, collect_s=0.05, regardless_s=0.05)


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number: int, body: bytes | int) -> bytes:
    if isinstance(body, int):
        return varint(number << 3) + varint(body)
    return varint(number << 3 | 2) + varint(len(body)) + body


class Fake(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Answers as containerd does, of files in a folder.

    Args:
        folder: has its socket and its content.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "content"
        for algorithm in Algorithm:
            (self.root / "blobs" / algorithm).mkdir(parents=True)
        self.socket = folder / "s"
        self.sizes: dict[str, int] = {}
        self.listings = 0

    def file(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

    def put(self, content: bytes, *, digest: Digest | None = None, size: int | None = None) -> Digest:
        """Hold content; under the name of another one, or saying another size, where a test wants that."""
        digest = digest or Digest.of(content)
        self.file(digest).write_bytes(content)
        self.sizes[str(digest)] = len(content) if size is None else size
        return digest

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method.rpartition("services.")[2]
        if method == "content.v1.Content/List":
            return grpc.unary_stream_rpc_method_handler(self._content)
        if method == "events.v1.Events/Subscribe":
            return grpc.unary_stream_rpc_method_handler(self._events)
        plugin = field(1, b"io.containerd.content.v1") + field(2, b"content")
        plugin += field(5, field(1, b"root") + field(2, str(self.root).encode()))
        answer = field(1, plugin) if method == "introspection.v1.Introspection/Plugins" else b""

        async def once(request: bytes, context: object) -> bytes:
            return answer

        return grpc.unary_unary_rpc_method_handler(once)

    async def _content(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        rows = [field(1, field(1, name.encode()) + field(2, size)) for name, size in self.sizes.items()]
        yield b"".join(rows)
        self.listings += 1

    async def _events(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


class Counted(Recorder):
    """Counts how often a key appeared."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[bytes] = Counter()

    def appeared(self, keys: Collection[bytes]) -> None:
        self.times.update(keys)
        super().appeared(keys)


@asynccontextmanager
async def running(fake: Fake, settings: ContainerdSettings = QUICK) -> AsyncIterator[tuple[ContainerdStore, Counted]]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((fake,))
    server.add_insecure_port(f"unix:{fake.socket}")
    await server.start()
    store, told = ContainerdStore(fake.socket, settings=settings), Counted()
    await store.start(told)
    try:
        yield store, told
    finally:
        await store.close()
        await server.stop(None)


async def listed(fake: Fake, told: Recorder) -> None:
    """Wait until what is so now was listed: one listing is under way, and the end of the next is seen by a third."""
    most = fake.listings + 3
    await told.until(lambda: fake.listings >= most)


async def read(store: ContainerdStore, digest: Digest) -> bytes | None:
    held = store.open(digest)
    if held is None:
        return None
    with held:
        return await held.read()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_content_by_its_sha512_is_served(tmp_path: Path) -> None:
    async def story() -> None:
        fake = Fake(tmp_path)
        digest = fake.put(BLOB, digest=Digest.of(BLOB, Algorithm.SHA512))
        wrong = fake.put(b"other", digest=Digest.of(b"one", Algorithm.SHA512))
        async with running(fake) as (store, told):
            assert told.keys == {digest.key, wrong.key}
            assert await read(store, digest) == BLOB
            with pytest.raises(Corrupt):
                await read(store, wrong)
            assert told.keys == {digest.key}

    run(story())


def test_a_damaged_file_does_not_come_back_by_a_listing_that_began_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(folder: ContentFolder, sizes: Mapping[Digest, int], broken: Mapping[Digest, Identity]) -> Any:
        begun.set()
        goes_on.wait(20)
        return really(folder, sizes, broken)

    async def story() -> None:
        fake = Fake(tmp_path)
        bad, good = fake.put(b"other", digest=Digest.of(BLOB)), fake.put(b"good")
        async with running(fake) as (store, told):
            assert told.keys == {bad.key, good.key}
            monkeypatch.setattr(ContentFolder, "openable", slowly)
            begun.clear()
            await asyncio.to_thread(begun.wait, 20)
            with pytest.raises(Corrupt):
                await read(store, bad)
            assert told.keys == {good.key}
            goes_on.set()
            await listed(fake, told)
            assert (told.keys, told.times[bad.key], told.twice) == ({good.key}, 1, [])
            assert store.open(bad) is None
            fake.put(BLOB)
            await listed(fake, told)
            assert await read(store, bad) == BLOB, "it is another file now"

    really = ContentFolder.openable
    run(story())


@pytest.mark.parametrize("content", [b"", BLOB[:-1], BLOB + b"more"])
@pytest.mark.parametrize("says", [len(BLOB), 0])
def test_a_file_of_another_length_than_containerd_says_is_not_offered(
    tmp_path: Path, content: bytes, says: int
) -> None:
    async def story() -> None:
        fake = Fake(tmp_path)
        digest = fake.put(content, digest=Digest.of(BLOB), size=says)
        empty = fake.put(b"")
        async with running(fake) as (store, told):
            assert told.keys == {empty.key}
            assert store.open(digest) is None
            assert await read(store, empty) == b""
            fake.put(BLOB)
            await listed(fake, told)
            assert told.keys == {digest.key, empty.key}

    run(story())


@pytest.mark.parametrize("length", [0, 1000])
def test_a_file_that_is_cut_is_withdrawn_though_nobody_asks_for_it(tmp_path: Path, length: int) -> None:
    async def story() -> None:
        fake = Fake(tmp_path)
        digest = fake.put(BLOB)
        async with running(fake) as (store, told):
            assert await read(store, digest) == BLOB
            os.truncate(fake.file(digest), length)
            await told.until(lambda: not told.keys)
            assert store.open(digest) is None
            assert told.twice == []

    run(story())


@pytest.mark.parametrize(("failing_s", "comes_back"), [(600.0, False), (0.0, True)])
def test_a_file_that_the_disk_does_not_give_is_withdrawn_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_s: float, comes_back: bool
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EUCLEAN, os.strerror(errno.EUCLEAN))

    async def story() -> None:
        fake = Fake(tmp_path)
        digest = fake.put(BLOB)
        async with running(fake, replace(QUICK, failing_s=failing_s)) as (store, told):
            with monkeypatch.context() as patch:
                patch.setattr("mirror.stores.checking.read_parts", fails)
                with pytest.raises(StorageFailed):
                    await read(store, digest)
            await listed(fake, told)
            assert (digest.key in told.keys) is comes_back
            assert (await read(store, digest) == BLOB) is comes_back

    run(story())


def test_to_stop_waits_for_no_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(fd: int, start: int, stop: int, buffer: bytearray) -> Iterator[memoryview]:
        while True:
            begun.set()
            yield memoryview(buffer)[:0]

    async def story() -> None:
        fake = Fake(tmp_path)
        digest = fake.put(BLOB)
        async with running(fake) as (store, _):
            monkeypatch.setattr("mirror.stores.checking.read_parts", slow)
            reading = asyncio.create_task(read(store, digest))
            await asyncio.to_thread(begun.wait)
        with pytest.raises(asyncio.CancelledError):
            await reading

    begun = threading.Event()
    run(story())
