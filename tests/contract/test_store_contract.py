"""What every store promises, over all of them: the cache on a folder, and containerd's with a real containerd.

A ground is where a store's content lives. It outlasts the store, and has a way to put content in and to take it out.
"""

import asyncio
import importlib.util
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores import Store, Tag
from mirror.stores.cache.store import CacheStore
from mirror.stores.containerd import ContainerdStore
from testbed.recorder import Recorder

if TYPE_CHECKING:
    from testbed.containerd import Containerd
    from testbed.images import Image

# The real tools' fixtures, for the one ground that needs them.
_spec = importlib.util.spec_from_file_location("real_tools", Path(__file__).parent.parent / "clients" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_tools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tools)
make_image, start_containerd = _tools.make_image, _tools.start_containerd


class Ground(Protocol):
    """Where a store's content lives."""

    def store(self) -> Store:
        """A new store over what is there."""
        ...

    async def put(self, name: str) -> bytes:
        """Add content that was never there, under a tag; return the bytes that the tag names."""
        ...

    async def remove(self, name: str, content: bytes) -> None:
        """Take that content out again."""
        ...


class CacheGround:
    """A folder; content comes through the store that is open on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._serial = itertools.count()
        self._store: CacheStore | None = None

    def store(self) -> Store:
        self._store = CacheStore(self._folder, 1024 * 1024)
        return self._store

    async def put(self, name: str) -> bytes:
        assert self._store is not None
        content = f"content {next(self._serial)}".encode()
        digest = Digest.of(content)
        writer = await self._store.begin(digest, len(content))
        os.write(writer.fd, content)
        os.close(writer.fd)
        writer.commit()
        await self._store.put_tag(Reference.parse(name), Tag(digest, time.time(), "upstream"))
        return content

    async def remove(self, name: str, content: bytes) -> None:
        assert self._store is not None
        digest = Digest.of(content)
        (self._folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex).unlink()
        assert self._store.open(digest) is None  # which notices


class ContainerdGround:
    """A real containerd; content comes and goes with its images."""

    def __init__(self, containerd: "Containerd", make: "Callable[..., Image]") -> None:
        self._containerd = containerd
        self._make = make

    def store(self) -> Store:
        return ContainerdStore(self._containerd.socket)

    async def put(self, name: str) -> bytes:
        image = self._make(name, [1000])
        await asyncio.to_thread(self._containerd.import_image, image)
        return image.read(image.manifest)

    async def remove(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._containerd.remove_images, name)


@pytest.fixture(params=["cache", pytest.param("containerd", marks=pytest.mark.clients)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "cache":
        return CacheGround(tmp_path / "cache")
    start: Callable[..., Containerd] = request.getfixturevalue("start_containerd")
    return ContainerdGround(start(), request.getfixturevalue("make_image"))


class Strict(Recorder):
    """A listener that knows what can be served, and that is told of each change once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.openable_when_reported: set[bytes] = set()
        self._store = store

    def appeared(self, keys: Collection[bytes]) -> None:
        assert len(keys) == len(set(keys))
        assert not self.keys.intersection(keys), "reported as new, but was there"
        for key in keys:
            if held := self._store.open(Digest(key.hex())):
                held.close()
                self.openable_when_reported.add(key)
        super().appeared(keys)

    def vanished(self, keys: Collection[bytes]) -> None:
        assert self.keys.issuperset(keys), "reported as gone, but was not there"
        super().vanished(keys)


@asynccontextmanager
async def started(ground: Ground) -> AsyncIterator[tuple[Store, Strict]]:
    store = ground.store()
    listener = Strict(store)
    await store.start(listener)
    try:
        yield store, listener
    finally:
        await store.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test, debug=True)


MADE = "registry.test/made:1"
KEY = Reference.parse(MADE).key


def test_an_empty_store_reports_and_opens_nothing(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (store, listener):
            assert listener.keys == set()
            assert store.open(Digest.of(b"unknown")) is None
            assert store.tag(Reference.parse(MADE)) is None

    run(check())


def test_content_and_tag_are_reported_when_they_can_be_served(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (store, listener):
            earliest = time.time() - 1
            content = await ground.put(MADE)
            digest = Digest.of(content)
            await listener.until(lambda: listener.keys >= {digest.key, KEY})
            assert digest.key in listener.openable_when_reported
            held = store.open(digest)
            assert held is not None
            with held:
                assert (held.size, held.store) == (len(content), store.name)
                assert os.pread(held.fd, held.size + 1, 0) == content
            tag = store.tag(Reference.parse(MADE))
            assert tag is not None
            assert tag.digest == digest
            assert earliest <= tag.checked_unix_s <= time.time() + 1

    run(check())


def test_a_new_store_reports_what_the_last_one_held(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (_, listener):
            content = await ground.put(MADE)
            await listener.until(lambda: listener.keys >= {Digest.of(content).key, KEY})
        async with started(ground) as (store, again):
            await again.until(lambda: again.keys >= {Digest.of(content).key, KEY})
            assert again.keys == listener.keys
            assert store.tag(Reference.parse(MADE)) is not None

    run(check())


def test_what_goes_is_withdrawn_and_what_is_open_stays_good(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (store, listener):
            content = await ground.put(MADE)
            other = await ground.put("registry.test/other:1")
            digest, kept = Digest.of(content), Digest.of(other)
            await listener.until(lambda: listener.keys >= {digest.key, kept.key})
            held = store.open(digest)
            assert held is not None
            with held:
                await ground.remove(MADE, content)
                await listener.until(lambda: digest.key not in listener.keys)
                assert store.open(digest) is None
                assert os.pread(held.fd, held.size, 0) == content
            assert kept.key in listener.keys
            still = store.open(kept)
            assert still is not None
            still.close()

    run(check())


def test_to_hear_that_another_store_has_it_too_changes_nothing_of_what_is_held(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (store, listener):
            content = await ground.put(MADE)
            digest = Digest.of(content)
            await listener.until(lambda: listener.keys >= {digest.key, KEY})
            store.mark_redundant([digest.key, KEY, Digest.of(b"unknown").key])
            store.mark_redundant([])
            assert digest.key in listener.keys
            held = store.open(digest)
            assert held is not None
            held.close()

    run(check())


def test_a_tag_that_moves_keeps_its_key_and_means_the_new_content(ground: Ground) -> None:
    async def check() -> None:
        async with started(ground) as (store, listener):
            old = await ground.put(MADE)
            await listener.until(lambda: meaning(store) == Digest.of(old))
            before = store.tag(Reference.parse(MADE))
            new = await ground.put(MADE)
            await listener.until(lambda: meaning(store) == Digest.of(new))
            after = store.tag(Reference.parse(MADE))
            assert before is not None
            assert after is not None
            assert after.checked_unix_s > before.checked_unix_s
            assert KEY in listener.keys

    def meaning(store: Store) -> Digest | None:
        tag = store.tag(Reference.parse(MADE))
        return tag.digest if tag else None

    run(check())
