"""The cache's folder: where files are, which blobs there are, and in which order files come and go."""

import asyncio
import hashlib
import os
import stat
from pathlib import Path

from mirror.stores.cache.folder import Folder, Found, Left
from mirror.stores.proofs import record_bytes
from tests.caches import proof_of

NAME = hashlib.sha256(b"blob").hexdigest()


def opened(path: Path) -> Folder:
    folder = Folder(path)
    folder.ground.make()
    return folder


def published(folder: Folder, content: bytes = b"blob") -> None:
    folder.partial(NAME).write_bytes(content)
    folder.journal(NAME).write_bytes(b"")
    folder.publish(NAME)


def test_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)  # by an earlier version
    opened(tmp_path / "cache")
    folders = [tmp_path / "cache", *(path for path in (tmp_path / "cache").rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders if path.name != "blobs"} == {0o700}


def test_a_published_blob_is_listed_with_the_time_of_its_last_use_and_whether_it_has_a_proof(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    published(folder)
    assert not folder.journal(NAME).exists()
    assert not folder.partial(NAME).exists()
    assert folder.blob(NAME) == tmp_path / "blobs" / "sha256" / NAME[:2] / NAME
    os.utime(folder.blob(NAME), (1000, 2000))
    assert list(folder.blobs()) == [Found(1000.0, NAME, 4, is_proven=False)]
    folder.proof(NAME).parent.mkdir()
    record = proof_of(b"blob").encode()
    folder.proof(NAME).write_bytes(record)
    assert list(folder.blobs()) == [Found(1000.0, NAME, 4, is_proven=True, is_synced=True)]
    folder.proof(NAME).write_bytes(record[:-1])
    assert list(folder.blobs()) == [Found(1000.0, NAME, 4, is_proven=False)]


def test_a_blob_that_was_cut_short_has_no_proof_though_its_record_would_be_as_long(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    published(folder)
    folder.proof(NAME).parent.mkdir()
    folder.proof(NAME).write_bytes(proof_of(b"blob").encode())
    os.truncate(folder.blob(NAME), 3)
    assert record_bytes(3) == record_bytes(4)
    assert [found.is_proven for found in folder.blobs()] == [False]


def test_what_is_no_blob_is_not_listed(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    (tmp_path / "blobs" / "sha256" / "00").mkdir()
    (tmp_path / "blobs" / "sha256" / "00" / ("0" * 64)).mkdir()
    (tmp_path / "blobs" / "sha256" / "00" / "junk").touch()
    assert list(folder.blobs()) == []


def test_what_is_left_counts_as_what_it_takes_on_the_disk(tmp_path: Path) -> None:
    folder, size = opened(tmp_path), 1 << 40
    folder.partial(NAME).touch()
    os.truncate(folder.partial(NAME), size)
    with folder.partial(NAME).open("r+b") as file:
        file.write(bytes(100_000))
    folder.journal(NAME).write_bytes(size.to_bytes(8, "big"))
    (left,) = folder.partials().values()
    assert left == Left(size, left.reserved)
    assert 100_000 <= left.reserved < 1_000_000


def test_a_discarded_file_frees_its_name_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        folder = opened(tmp_path)
        for content in (b"first", b"second"):
            folder.partial(NAME).write_bytes(content)
            folder.journal(NAME).write_bytes(b"")
            freed = folder.discard_partial(NAME)
            assert not folder.partial(NAME).exists()
            assert not folder.journal(NAME).exists()
            await freed
        await folder.discard_partial(NAME)  # there is none: nothing happens
        assert list((tmp_path / "spool").iterdir()) == []

    asyncio.run(check())


def test_a_blob_goes_with_its_proof_unless_a_new_one_has_its_name(tmp_path: Path) -> None:
    async def check() -> None:
        folder = opened(tmp_path)
        published(folder)
        folder.proof(NAME).parent.mkdir()
        folder.proof(NAME).touch()
        await folder.discard_blobs([NAME, "0" * 64])
        assert not folder.blob(NAME).exists()
        assert not folder.proof(NAME).exists()
        published(folder, b"old")
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiting = folder.in_turn(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result())
        gone = folder.discard_blobs([NAME])
        published(folder, b"new")  # before the thread came to delete the old one
        gate.set()
        await asyncio.gather(waiting, gone)
        assert folder.blob(NAME).read_bytes() == b"new"
        await folder.settled()
        assert list((tmp_path / "spool").iterdir()) == []

    asyncio.run(check())


def test_a_journal_that_cannot_be_deleted_keeps_nothing_from_its_end(tmp_path: Path) -> None:
    async def check() -> None:
        folder = opened(tmp_path)
        folder.journal(NAME).mkdir()  # no file, so it cannot be deleted like one
        folder.partial(NAME).write_bytes(b"blob")
        await folder.discard_partial(NAME)
        assert not folder.partial(NAME).exists()
        folder.partial(NAME).write_bytes(b"blob")
        folder.publish(NAME)
        assert folder.blob(NAME).read_bytes() == b"blob"

    asyncio.run(check())
