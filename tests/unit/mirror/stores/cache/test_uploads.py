"""A blob that arrives under no name: nothing is left of one that ends wrong, and one that ends right is served."""

import asyncio
import os
from collections.abc import Coroutine
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
from mirror.stores.cache.reservation import Place
from mirror.stores.cache.space import Bounds, Space
from mirror.stores.cache.uploads import CacheUploads
from mirror.stores.marks import Marks

BLOB = bytes(range(256)) * 20
DIGEST = Digest.of(BLOB)


class Cache:
    """A folder with a bound, and what was committed."""

    def __init__(self, path: Path, capacity: int = 1 << 20) -> None:
        self.folder = Folder(path)
        self.folder.ground.make()
        self.partials = Partials(self.folder)
        self.keeping = Keeping(0.0)
        bounds = Bounds(capacity, capacity)
        space = Space(bounds, self.folder, Blobs(3600), self.partials, self.keeping, lambda names: None)
        self.committed: list[tuple[str, int, Proof | None]] = []
        marks = MarkFiles(self.folder, Marks())
        place = Place(self.folder, marks, self.partials, space, self.keeping, room_s=10)
        self.uploads = CacheUploads(place, self._note)

    def _note(self, writing: Writing, proof: Proof | None) -> None:
        self.committed.append((writing.name, writing.size, proof))

    def files(self) -> list[Path]:
        return list(self.folder.partial("x").parent.iterdir())


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


def test_an_upload_becomes_a_blob_of_the_length_that_came(tmp_path: Path) -> None:
    async def story() -> None:
        cache = Cache(tmp_path)
        upload = await cache.uploads.begin(len(BLOB) + 1000)
        await asyncio.to_thread(upload.reserve, 100)
        assert cache.partials.bytes == len(BLOB) + 1000
        os.pwrite(upload.fd, BLOB, 0)
        upload.commit(DIGEST, len(BLOB), None)
        assert not upload.is_open
        assert cache.folder.blob(DIGEST.hex).read_bytes() == BLOB
        assert cache.committed == [(DIGEST.hex, len(BLOB), None)]
        assert (cache.files(), cache.partials.bytes) == ([], 0)

    run(story())


def test_an_upload_that_grows_takes_space_as_it_does_and_no_more_than_the_bound(tmp_path: Path) -> None:
    async def story() -> None:
        cache = Cache(tmp_path, capacity=8000)
        upload = await cache.uploads.begin()
        await asyncio.to_thread(upload.reserve, 3000)
        await asyncio.to_thread(upload.reserve, 2000)
        assert cache.partials.bytes == 3000
        with pytest.raises(StorageFull):
            await upload.expect(8001)
        with pytest.raises(StorageFull):
            await asyncio.to_thread(upload.reserve, 9000)
        with pytest.raises(StorageFull):
            await cache.uploads.begin(8000)
        upload.discard()
        upload.discard()
        await cache.folder.settled()
        assert (cache.files(), cache.partials.bytes) == ([], 0)

    run(story())


def test_a_disk_that_fails_at_the_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, arrived_as: str | None = None) -> None:
        raise OSError(5, "Input/output error")

    async def story() -> None:
        cache = Cache(tmp_path)
        upload = await cache.uploads.begin(len(BLOB))
        os.pwrite(upload.fd, BLOB, 0)
        monkeypatch.setattr(cache.folder, "publish", fail)
        with pytest.raises(StorageFailed, match="Input/output"):
            upload.commit(DIGEST, len(BLOB), None)
        await cache.folder.settled()
        assert (upload.is_open, cache.files(), cache.committed) == (False, [], [])
        assert cache.keeping.why_not is not None

    run(story())


def test_nothing_arrives_where_nothing_is_kept(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(StorageFull):
            await Cache(tmp_path, capacity=0).uploads.begin(1)

    run(story())
