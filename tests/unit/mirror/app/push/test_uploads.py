"""Uploads: how many there may be, for how long, and what becomes of what came when one ends otherwise."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from mirror.app.push.uploads import Upload, Uploads, storage_errors
from mirror.errors import (
    DigestInvalid,
    NoSpace,
    SizeInvalid,
    StorageFailed,
    StorageFull,
    TooManyUploads,
    UploadInvalid,
    UploadOutOfOrder,
    UploadUnknown,
)
from mirror.oci.digest import Algorithm, Digest
from mirror.oci.reference import Repository
from mirror.settings import PushSettings
from mirror.stores import Proof

APP = Repository("docker.io", "lab/app")
BLOB = bytes(range(256)) * 40


class File:
    """A file of the cache, with a bound."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self.is_open = True
        self.committed: tuple[Digest, int, Proof | None] | None = None
        self._max_bytes = max_bytes

    async def expect(self, size: int) -> None:
        self.reserve(size)

    def reserve(self, stop: int) -> None:
        if stop > self._max_bytes:
            raise StorageFull(f"{stop} bytes do not fit")

    def commit(self, digest: Digest, size: int, proof: Proof | None) -> None:
        self.committed = (digest, size, proof)
        self.discard()

    def discard(self) -> None:
        if self.is_open:
            self.is_open = False
            os.close(self.fd)


class Files:
    def __init__(self, folder: Path, max_bytes: int = 1 << 20) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self.all: list[File] = []

    async def begin(self, size: int = 0) -> File:
        file = File(self._folder / str(len(self.all)), self._max_bytes)
        self.all.append(file)
        await file.expect(size)
        return file


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def body(parts: Iterable[bytes], *, breaks: bool = False, waits: asyncio.Event | None = None) -> Any:
    """What a server gives an application of a request's body."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not breaks and messages:
        messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if waits is not None:
            await waits.wait()
        return {"type": "http.disconnect"}

    return receive


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(), debug=True)


def file_of(upload: Upload) -> File:
    assert isinstance(upload.file, File)
    return upload.file


def test_what_came_before_a_break_stays_and_the_rest_goes_behind_it(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path), PushSettings(part_bytes=1000))
        upload = await uploads.begin(APP, "")
        with pytest.raises(ClientDisconnect):
            await uploads.take(upload, body([BLOB[:700], BLOB[700:2500]], breaks=True), len(BLOB), None, "")
        assert upload.position == 2500
        with pytest.raises(UploadOutOfOrder) as error:
            await uploads.take(upload, body([BLOB]), len(BLOB), (0, len(BLOB)), "/v2/there")
        assert (error.value.position, error.value.location) == (2500, "/v2/there")
        await uploads.take(upload, body([BLOB[2500:]]), None, (2500, len(BLOB)), "")
        assert await uploads.finish(upload, Digest.of(BLOB)) == len(BLOB)
        committed = file_of(upload).committed
        assert committed is not None
        assert committed[:2] == (Digest.of(BLOB), len(BLOB))
        assert committed[2] is not None
        assert len(uploads) == 0
        with pytest.raises(UploadUnknown):
            uploads.get(upload.id, APP)

    run(story)


def test_what_is_not_the_digest_leaves_nothing_and_another_algorithm_is_hashed_again(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path))
        for wrong in (Digest.of(b"x"), Digest.of(b"x", Algorithm.SHA512)):
            upload = await uploads.begin(APP, "")
            await uploads.take(upload, body([BLOB]), len(BLOB), None, "")
            with pytest.raises(DigestInvalid):
                await uploads.finish(upload, wrong)
            assert (file_of(upload).is_open, file_of(upload).committed, len(uploads)) == (False, None, 0)
        upload = await uploads.begin(APP, "")
        await uploads.take(upload, body([BLOB]), len(BLOB), None, "")
        assert await uploads.finish(upload, Digest.of(BLOB, Algorithm.SHA512)) == len(BLOB)

    run(story)


def test_a_client_that_comes_back_ends_its_request_that_hangs(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path), PushSettings(part_bytes=1000))
        upload = await uploads.begin(APP, "")
        hangs = body([BLOB[:1200]], breaks=True, waits=asyncio.Event())
        hanging = asyncio.create_task(uploads.take(upload, hangs, len(BLOB), None, ""))
        while not upload.position:
            await asyncio.sleep(0)
        await uploads.take(upload, body([BLOB[1200:]]), len(BLOB) - 1200, (1200, len(BLOB)), "")
        with pytest.raises(UploadInvalid, match="another request"):
            await hanging
        assert await uploads.finish(upload, Digest.of(BLOB)) == len(BLOB)

    run(story)


def test_so_it_does_when_that_one_has_only_begun(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path))
        upload = await uploads.begin(APP, "")
        is_asked, may_go_on, asked = asyncio.Event(), asyncio.Event(), 0
        reserve = file_of(upload).expect

        async def expect(size: int) -> None:
            nonlocal asked
            asked += 1
            is_asked.set()
            if asked == 1:
                await may_go_on.wait()
            await reserve(size)

        file_of(upload).expect = expect  # type: ignore[method-assign]
        hangs = asyncio.create_task(uploads.take(upload, body([], waits=asyncio.Event()), len(BLOB), None, "there"))
        await is_asked.wait()
        other = asyncio.create_task(uploads.take(upload, body([BLOB]), len(BLOB), None, "there"))
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(UploadInvalid, match="another request"):
            await hangs
        await other
        assert upload.position == len(BLOB)

    run(story)


def test_an_upload_that_is_given_up_in_the_middle_ends_its_request(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path), PushSettings(part_bytes=1000))
        upload = await uploads.begin(APP, "")
        hangs = body([BLOB[:1200]], breaks=True, waits=asyncio.Event())
        hanging = asyncio.create_task(uploads.take(upload, hangs, None, None, ""))
        while not upload.position:
            await asyncio.sleep(0)
        uploads.close()
        with pytest.raises(UploadInvalid):
            await hanging
        assert not file_of(upload).is_open

    run(story)


def test_what_does_not_fit_is_refused_before_it_comes_and_as_it_comes(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path, max_bytes=2000), PushSettings(part_bytes=500))
        with pytest.raises(NoSpace):
            await uploads.begin(APP, "", 2001)
        upload = await uploads.begin(APP, "")
        with pytest.raises(NoSpace):
            await uploads.take(upload, body([BLOB]), len(BLOB), None, "")
        assert upload.position == 0
        with pytest.raises(NoSpace):
            await uploads.take(upload, body([BLOB[:800], BLOB[800:]]), None, None, "")
        assert upload.position == 800, "what fitted stays"
        with pytest.raises(SizeInvalid):
            await uploads.take(upload, body([b"x"]), 1, (800, 900), "")

    run(story)


def test_uploads_are_bounded_in_all_and_from_one_address_and_those_nobody_goes_on_with_give_way(tmp_path: Path) -> None:
    async def story() -> None:
        clock, files = Clock(), Files(tmp_path)
        settings = PushSettings(uploads_max=3, uploads_from_one_max=1, idle_s=100, life_s=250)
        uploads = Uploads(files, settings, clock)
        first = await uploads.begin(APP, "10.0.0.1")
        with pytest.raises(TooManyUploads, match=r"10\.0\.0\.1"):
            await uploads.begin(APP, "10.0.0.1")
        await uploads.begin(APP, "")
        await uploads.begin(APP, "")
        with pytest.raises(TooManyUploads):
            await uploads.begin(APP, "")
        clock.now += 99
        await uploads.take(first, body([b"x"]), 1, None, "")
        clock.now += 1
        await uploads.begin(APP, "")
        assert [file.is_open for file in files.all] == [True, False, False, True]
        clock.now += 99
        await uploads.take(first, body([b"x"]), 1, None, "")
        clock.now += 51
        await uploads.begin(APP, "10.0.0.1")
        assert not files.all[0].is_open, "it has had its time"
        uploads.close()
        assert not any(file.is_open for file in files.all)

    run(story)


def test_bodies_wait_for_a_turn_no_longer_than_they_may(tmp_path: Path) -> None:
    async def story() -> None:
        uploads = Uploads(Files(tmp_path), PushSettings(arriving_max=1, turn_s=0.01))
        async with uploads.turn():
            with pytest.raises(TooManyUploads):
                async with uploads.turn():
                    raise AssertionError
        async with uploads.turn():
            pass

    run(story)


def test_a_manifest_that_never_ends_gives_its_place_back(tmp_path: Path) -> None:
    async def dripping() -> Any:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def ending() -> Any:
        return {"type": "http.request", "body": b"{}"}

    async def story() -> None:
        uploads = Uploads(Files(tmp_path), PushSettings(arriving_max=1, document_s=0.01))
        with pytest.raises(UploadInvalid, match=r"within 0\.01 s"):
            await uploads.document(dripping, 1 << 40, None)
        assert await uploads.document(ending, 10, 2) == b"{}"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            StorageFull("5 bytes more would exceed cache-size 4"),
            "cache-size 4; make room on its disk, raise --cache-size",
        ),
        (StorageFailed("the disk is broken"), "it cannot be kept: the disk is broken$"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(error: Exception, said: str) -> None:
    with pytest.raises(NoSpace, match=said), storage_errors():
        raise error
