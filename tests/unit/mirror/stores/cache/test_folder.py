"""The cache's folder: where files are, which blobs there are, and whether a start can trust them."""

import asyncio
import hashlib
import os
from pathlib import Path

from mirror.stores.cache.folder import Folder

NAME = hashlib.sha256(b"blob").hexdigest()


def opened(path: Path) -> Folder:
    folder = Folder(path)
    assert folder.open()
    return folder


def test_files_are_trusted_unless_the_machine_went_down(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.open(), "a new folder"
    assert folder.open(), "only the process died"
    (tmp_path / "running").write_text("another boot")
    assert not folder.open()
    folder.close()
    assert not (tmp_path / "running").exists()
    assert folder.open(), "a clean stop"


def test_a_published_blob_is_listed_with_the_time_of_its_last_use(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.partial(NAME).write_bytes(b"blob")
    folder.journal(NAME).write_bytes(b"")
    folder.publish(NAME)
    assert not folder.journal(NAME).exists()
    assert not folder.partial(NAME).exists()
    assert folder.blob(NAME) == tmp_path / "blobs" / "sha256" / NAME[:2] / NAME
    assert folder.sha256(NAME) == NAME
    os.utime(folder.blob(NAME), (1000, 1000))
    assert list(folder.blobs()) == [(1000.0, NAME, 4)]


def test_what_is_no_blob_is_not_listed(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    (tmp_path / "blobs" / "sha256" / "00").mkdir()
    (tmp_path / "blobs" / "sha256" / "00" / ("0" * 64)).mkdir()
    (tmp_path / "blobs" / "sha256" / "00" / "junk").touch()
    assert list(folder.blobs()) == []


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
