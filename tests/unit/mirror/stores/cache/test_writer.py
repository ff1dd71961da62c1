"""One object writes a blob: it is committed, left or discarded, once."""

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import StorageFailed, StorageFull
from mirror.oci.digest import Digest
from mirror.stores import Proof
from mirror.stores.cache.blobs import Blobs
from mirror.stores.cache.folder import Folder
from mirror.stores.cache.keeping import Keeping
from mirror.stores.cache.marks import MarkFiles
from mirror.stores.cache.partials import Partials, Writing
from mirror.stores.cache.reservation import Place as WhereTo
from mirror.stores.cache.space import Bounds, Space
from mirror.stores.cache.writer import CacheWriter
from mirror.stores.marks import Marks

BLOB = bytes(range(256)) * 40
DIGEST = Digest.of(BLOB)
PREFIX = hashlib.sha256(BLOB).digest()


class Place:
    """A folder, what is partial in it, and what was committed."""

    def __init__(self, path: Path, capacity: int = 1 << 20) -> None:
        self.folder = Folder(path)
        self.folder.ground.make()
        self.partials = Partials(self.folder)
        self.blobs = Blobs(3600)
        self.keeping = Keeping(0.0)
        space = Space(
            Bounds(capacity, capacity), self.folder, self.blobs, self.partials, self.keeping, lambda names: None
        )
        self.marks = Marks()
        files = MarkFiles(self.folder, self.marks)
        self.place = WhereTo(self.folder, files, self.partials, space, self.keeping, room_s=10)
        self.committed = 0

    async def begin(self) -> CacheWriter:
        return await CacheWriter.open(self.partials.begin(DIGEST.hex, len(BLOB)), self.place, self._note)

    def _note(self, writing: Writing, proof: Proof | None) -> None:
        assert self.folder.blob(DIGEST.hex).exists(), "told before it can be served"
        self.committed += 1

    def files(self) -> list[str]:
        spool = self.folder.partial(DIGEST.hex).parent
        return sorted(path.name for path in spool.iterdir() if not path.name.startswith("discarded"))


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


def test_a_committed_blob_is_under_its_name_and_nothing_else_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        writer = await place.begin()
        assert (writer.is_open, writer.prefixes, os.fstat(writer.fd).st_size) == (True, [], len(BLOB))
        assert place.partials.claimed_bytes == len(BLOB)
        assert place.partials.bytes == 0, "its size alone takes no space"
        await asyncio.to_thread(writer.reserve, 0, len(BLOB))
        assert place.partials.bytes == len(BLOB)
        os.pwrite(writer.fd, BLOB, 0)
        writer.append_prefix(PREFIX)
        writer.commit()
        assert not writer.is_open
        assert place.committed == 1
        assert place.partials.bytes == 0
        assert place.files() == []
        assert place.folder.blob(DIGEST.hex).read_bytes() == BLOB
        assert os.pread(writer.fd, len(BLOB), 0) == BLOB  # readers go on
        os.close(writer.fd)

    run(story())


def test_what_was_left_is_continued(tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        writer = await place.begin()
        await asyncio.to_thread(writer.reserve, 0, 5000)
        os.pwrite(writer.fd, BLOB, 0)
        writer.append_prefix(PREFIX)
        os.close(writer.fd)
        writer.leave()
        assert place.partials.was_left(DIGEST.hex)
        assert (place.partials.bytes, place.partials.claimed_bytes) == (5000, 0)
        again = await place.begin()
        assert again.prefixes == [PREFIX]
        assert os.pread(again.fd, len(BLOB), 0) == BLOB
        again.keep(0)
        os.close(again.fd)
        again.leave()
        assert not place.partials.was_left(DIGEST.hex), "nothing of it is known to be right"
        assert place.files() == []
        assert place.committed == 0

    run(story())


def test_what_was_discarded_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        writer = await place.begin()
        writer.append_prefix(PREFIX)
        os.close(writer.fd)
        writer.discard()
        assert place.files() == []
        assert place.partials.bytes == 0

    run(story())


ENDS: list[Callable[[CacheWriter], None]] = [CacheWriter.commit, CacheWriter.leave, CacheWriter.discard]


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_a_writer_ends_once(
    tmp_path: Path, first: Callable[[CacheWriter], None], second: Callable[[CacheWriter], None]
) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        writer = await place.begin()
        writer.append_prefix(PREFIX)
        os.close(writer.fd)
        first(writer)
        before = place.files(), place.committed, place.partials.bytes
        with pytest.raises(RuntimeError, match="already committed, left or discarded"):
            second(writer)
        writer.append_prefix(PREFIX)  # too late: ignored
        writer.keep(0)
        assert (place.files(), place.committed, place.partials.bytes) == before

    run(story())


def test_where_the_disk_does_not_let_it_be_committed_it_can_still_be_left(tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        writer = await place.begin()
        writer.append_prefix(PREFIX)
        os.close(writer.fd)
        place.folder.blob(DIGEST.hex).parent.write_bytes(b"")  # a file where a folder has to be
        with pytest.raises(OSError, match=os.strerror(errno.EEXIST)):
            writer.commit()
        assert writer.is_open
        assert place.committed == 0
        writer.leave()
        assert place.partials.was_left(DIGEST.hex)

    run(story())


def test_whoever_is_cancelled_while_files_are_opened_leaves_none_open(tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        await asyncio.to_thread(int)  # so that the thread is there already, with what it keeps open
        before = os.listdir("/proc/self/fd")
        task = asyncio.create_task(place.begin())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir("/proc/self/fd") == before

    run(story())


def test_where_there_is_no_space_the_thread_that_asks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        place = Place(tmp_path, capacity=len(BLOB) - 1)
        writer = await place.begin()
        with pytest.raises(StorageFull, match="cache-size"):
            await asyncio.to_thread(writer.reserve, 0, len(BLOB))
        assert place.partials.bytes == 0

        def full(*_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        place.blobs.add("0" * 64, 1, 0.0)
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageFull):
            await asyncio.to_thread(writer.reserve, 0, 1)
        assert len(place.blobs) == 1, "nothing goes for what would not fit"
        os.close(writer.fd)
        writer.discard()

    run(story())


def test_a_thread_does_not_wait_for_ever_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        place.place = replace(place.place, room_s=0.01)

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(place.place.space, "reserve", never)
        writer = await place.begin()
        with pytest.raises(StorageFailed, match="in time"):
            await asyncio.to_thread(writer.reserve, 0, 1)
        os.close(writer.fd)
        writer.discard()

    run(story())
