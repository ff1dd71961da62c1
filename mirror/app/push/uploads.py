"""Uploads: blobs that clients push, in one part or several, with breaks between them.

The loop takes what comes, and a thread writes and hashes it, once. An upload that breaks off stays, for its client to
go on from the last byte that was written; one that nobody goes on with is given up after a time.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.types import Receive

from ...errors import (
    DigestInvalid,
    NoSpace,
    SizeInvalid,
    StorageError,
    StorageFull,
    TooManyUploads,
    UploadInvalid,
    UploadOutOfOrder,
    UploadUnknown,
)
from ...fileio import hash_range, in_thread, to_its_end, write_all
from ...oci.digest import Algorithm, Digest
from ...oci.reference import Repository
from ...settings import PushSettings
from ...stores import BlobUpload, BlobUploads
from ...stores.proofs import StreamHasher
from .body import parts, whole

log = logging.getLogger(__name__)

_THREADS: Final = 4
"""Bounds the parts that are written and hashed at once: as many as cores that would do it, on a small machine."""
_writers = ThreadPoolExecutor(_THREADS, thread_name_prefix="uploads")
_HASH_BUFFER_BYTES: Final = 1024 * 1024
"""What is read at once where an upload is hashed once more, in bytes."""


class Upload:
    """One blob that arrives.

    Args:
        repository: to which it is pushed.
        origin: whose it is: an address, or empty for this machine.
        file: where it is written.
        now: monotonic seconds.
    """

    def __init__(self, repository: Repository, origin: str, file: BlobUpload, now: float) -> None:
        self.id = secrets.token_hex(16)
        self.repository = repository
        self.origin = origin
        self.file = file
        self.began_at = now
        self.touched_at = now
        """When something last came."""
        self.hasher = StreamHasher()
        self.turn = asyncio.Lock()
        """Held by the request that writes."""
        self.requests = 0
        """How many wrote, or waited to."""
        self.writing: asyncio.Task[None] | None = None
        """Takes the body of the request that writes."""

    @property
    def position(self) -> int:
        """Bytes that have come and are written."""
        return self.hasher.position

    def write(self, batch: Sequence[bytes]) -> None:
        """Write and hash the next bytes; in a thread.

        Raises:
            StorageError: they cannot be kept.
            OSError: the disk failed.
        """
        self.file.reserve(self.position + sum(map(len, batch)))
        for part in batch:
            write_all(self.file.fd, part, self.position)
            self.hasher.update(memoryview(part))


class Uploads:
    """All uploads that are not complete.

    Args:
        files: where they are written.
        settings: bounds.
        now: monotonic seconds.
    """

    def __init__(
        self, files: BlobUploads, settings: PushSettings | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._settings = settings = settings or PushSettings()
        self._now = now
        self._uploads: dict[str, Upload] = {}
        self._arriving = asyncio.Semaphore(settings.arriving_max)
        self._look: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Give all of them up."""
        if self._look is not None:
            self._look.cancel()
        for upload in list(self._uploads.values()):
            self.discard(upload)

    def __len__(self) -> int:
        return len(self._uploads)

    async def begin(self, repository: Repository, origin: str, size: int = 0) -> Upload:
        """Begin one, of at least `size` bytes.

        Raises:
            TooManyUploads: no other one is begun now.
            NoSpace: it does not fit.
        """
        self._give_up_old()
        own = sum(upload.origin == origin for upload in self._uploads.values())
        if len(self._uploads) >= self._settings.uploads_max:
            raise TooManyUploads("too many uploads are not complete", self._settings.look_s)
        if origin and own >= self._settings.uploads_from_one_max:
            raise TooManyUploads(f"too many uploads from {origin} are not complete", self._settings.look_s)
        with storage_errors():
            file = await self._files.begin(size)
        upload = Upload(repository, origin, file, self._now())
        self._uploads[upload.id] = upload
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(self._settings.look_s, self._look_again)
        return upload

    def get(self, name: str, repository: Repository) -> Upload:
        """An upload by its id; raise UploadUnknown if there is none to that repository."""
        upload = self._uploads.get(name)
        if upload is None or upload.repository != repository:
            raise UploadUnknown("there is no such upload: it has ended, or nothing came for too long; begin again")
        return upload

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place among the requests whose bodies are read; raise TooManyUploads if there is none for too long."""
        try:
            async with asyncio.timeout(self._settings.turn_s):
                await self._arriving.acquire()
        except TimeoutError:
            raise TooManyUploads("too many uploads are under way", self._settings.look_s) from None
        try:
            yield
        finally:
            self._arriving.release()

    async def document(self, receive: Receive, max_bytes: int, length: int | None) -> bytes:
        """The whole of a body that is held in memory; see `body.whole`. Raises UploadInvalid if it takes too long."""
        async with self.turn():
            try:
                async with asyncio.timeout(self._settings.document_s):
                    return await whole(receive, max_bytes, length)
            except TimeoutError:
                raise UploadInvalid(f"it did not come within {self._settings.document_s:g} s") from None

    async def take(
        self, upload: Upload, receive: Receive, length: int | None, part: tuple[int, int] | None, location: str
    ) -> None:
        """Take the body of a request as the next part of an upload.

        A request for the same upload that is under way is ended: its client has come back by another connection.

        Args:
            upload: which.
            receive: gives the body.
            length: of the body, as the client says.
            part: which bytes of the blob it is, `[first, last)`, as the client says.
            location: of the upload, for a client that is out of order.

        Raises:
            UploadOutOfOrder: it does not go on where the last one ended.
            UploadInvalid: another request took this one's place.
            SizeInvalid: it does not have the length that the client says.
            NoSpace: it does not fit, or the disk failed; what came before stays.
            ClientDisconnect: the client left; what came stays.
        """
        upload.requests = number = upload.requests + 1
        if upload.writing is not None:
            upload.writing.cancel()
        async with upload.turn:
            if part is not None and part[0] != upload.position:
                raise UploadOutOfOrder(upload.position, location)
            if part is not None and length is not None and part[1] - part[0] != length:
                raise SizeInvalid(f"Content-Range names {part[1] - part[0]} bytes, and Content-Length {length}")
            if not upload.file.is_open:
                raise UploadUnknown("the upload has ended")
            if length == 0:
                return
            async with self.turn():
                with storage_errors():
                    if length is not None:
                        await upload.file.expect(upload.position + length)
                    upload.writing = self._begin_writing(upload, receive, number)
                    try:
                        await upload.writing
                    except asyncio.CancelledError:
                        if (task := asyncio.current_task()) is not None and task.cancelling():
                            await _ended(upload.writing)
                            raise
                        raise UploadInvalid("another request goes on with this upload") from None
                    finally:
                        upload.writing = None
            if part is not None and upload.position != part[1]:
                raise SizeInvalid(f"Content-Range ends after byte {part[1] - 1}, and the body does not")

    def _begin_writing(self, upload: Upload, receive: Receive, number: int) -> "asyncio.Task[None]":
        """Begin to take the body of a request, if no other one came while this one could not be ended yet."""
        if upload.requests != number:
            raise UploadInvalid("another request goes on with this upload")
        return asyncio.create_task(self._write(upload, receive))

    async def finish(self, upload: Upload, digest: Digest) -> int:
        """Let an upload that is whole become a blob; return its size, in bytes. It ends, whatever happens.

        Raises:
            DigestInvalid: it is something else.
            NoSpace: the disk failed.
        """
        async with upload.turn:
            if not upload.file.is_open:
                raise UploadUnknown("the upload has ended")
            try:
                if not await self._is(upload, digest):
                    raise DigestInvalid(f"what came is not {digest}, but sha256:{upload.hasher.sha256.hex()}")
                with storage_errors():
                    upload.file.commit(digest, upload.position, upload.hasher.proof())
            finally:
                self.discard(upload)
            return upload.position

    def discard(self, upload: Upload) -> None:
        """Forget an upload, and delete what came, unless it is a blob by now."""
        self._uploads.pop(upload.id, None)
        if upload.writing is not None:
            upload.writing.cancel()
            upload.writing.add_done_callback(lambda _: upload.file.discard())
        else:
            upload.file.discard()

    async def write(self, upload: Upload, content: bytes) -> None:
        """Write content that is in memory as the next part of an upload; raise StorageError or OSError."""
        await to_its_end(asyncio.get_running_loop().run_in_executor(_writers, upload.write, [content]))

    async def _write(self, upload: Upload, receive: Receive) -> None:
        """Write what comes: while a thread does so, the next bytes come."""
        loop, under_way = asyncio.get_running_loop(), None
        try:
            async with contextlib.aclosing(parts(receive, self._settings.part_bytes)) as batches:
                async for batch in batches:
                    if under_way is not None:
                        await to_its_end(under_way)
                    upload.touched_at = self._now()
                    under_way = loop.run_in_executor(_writers, upload.write, batch)
        finally:
            if under_way is not None:
                await to_its_end(under_way)
            upload.touched_at = self._now()

    async def _is(self, upload: Upload, digest: Digest) -> bool:
        """Whether all that came has a digest; by another algorithm it is hashed once more."""
        if digest.algorithm is Algorithm.SHA256:
            return upload.hasher.sha256 == bytes.fromhex(digest.hex)
        hashed = digest.algorithm.begin()
        await in_thread(hash_range, hashed.update, upload.file.fd, 0, upload.position, _HASH_BUFFER_BYTES)
        return hashed.hexdigest() == digest.hex

    def _give_up_old(self) -> None:
        now = self._now()
        for upload in list(self._uploads.values()):
            is_idle = now - upload.touched_at >= self._settings.idle_s and not upload.turn.locked()
            if is_idle or now - upload.began_at >= self._settings.life_s:
                log.info("an upload is given up repository=%s bytes=%d", upload.repository, upload.position)
                self.discard(upload)

    def _look_again(self) -> None:
        self._give_up_old()
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self._settings.look_s, self._look_again) if self._uploads else None


async def _ended(task: "asyncio.Task[None]") -> None:
    """End a task, and wait for it: it may be in the middle of a file."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """What a client is told where something cannot be kept."""
    try:
        yield
    except StorageError as error:
        remedy = "; make room on its disk, raise --cache-size, or unpin something"
        raise NoSpace(f"it cannot be kept: {error}{remedy if isinstance(error, StorageFull) else ''}") from error
    except OSError as error:
        raise NoSpace(f"it cannot be kept: {error.strerror}") from error
