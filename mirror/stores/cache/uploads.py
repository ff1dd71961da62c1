"""Uploads: blobs that arrive from their beginning to their end under no name, for the digest is known at the end."""

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from typing import Final

from ...errors import StorageFailed, StorageFull
from ...fileio import in_thread
from ...oci.digest import Digest
from ..proofs import Proof
from .folder import open_quietly
from .partials import Writing
from .reservation import IS_FULL, Place, Reservation

_STEP_BYTES: Final = 32 * 1024 * 1024
"""What is reserved of the disk at once, in bytes, if so much is to come: each step is a trip to the event loop."""

Committed = Callable[[Writing, Proof | None], None]
"""Serves a blob that is complete."""


class CacheUpload:
    """Writes one blob whose digest is known at its end; exactly one of `commit` and `discard` ends it.

    Args:
        writing: the blob, under a name of its own.
        fd: the file.
        place: where it is.
        committed: is told of the blob.
    """

    def __init__(self, writing: Writing, fd: int, place: Place, committed: Committed) -> None:
        self.fd = fd
        """The file, open for reading and writing as long as the upload is. Space is taken by `reserve`."""
        self._writing = writing
        self._place = place
        self._committed = committed
        self._reservation = Reservation(writing, fd, place)
        self._reserved = 0

    @property
    def is_open(self) -> bool:
        """Whether it was neither committed nor discarded yet."""
        return not self._reservation.has_ended

    async def expect(self, size: int) -> None:
        """Take note of how long the blob will be at least, in bytes.

        Raises:
            StorageFull: so much does not fit, whatever went.
            StorageFailed: the disk gives no answer.
        """
        before = self._writing.size
        self._writing.size = max(before, size)
        try:
            self._place.space.admit(self._writing, await asyncio.to_thread(self._place.folder.ground.free_bytes))
        except StorageFull:
            self._writing.size = before
            raise
        except OSError as error:
            raise StorageFailed(f"the cache's disk failed: {error.strerror}") from error

    def reserve(self, stop: int) -> None:
        """Take space for the bytes up to `stop` before they are written. Blocks; in any thread but the event loop's.

        Raises:
            StorageFull: there is no space that could be taken.
            StorageFailed: the disk failed.
        """
        if stop <= self._reserved:
            return
        self._writing.size = max(self._writing.size, stop)
        ahead = max(stop, min(self._reserved + _STEP_BYTES, self._writing.size))
        self._reservation.reserve(self._reserved, ahead)
        self._reserved = ahead

    def commit(self, digest: Digest, size: int, proof: Proof | None) -> None:
        """Let the file, complete and found right, become a blob; it is offered at once. It closes the file.

        Args:
            digest: of the content.
            size: in bytes.
            proof: of the file, by whoever hashed it.

        Raises:
            StorageFailed: the disk failed; nothing is left.
        """
        try:
            os.ftruncate(self.fd, size)
            self._place.folder.publish(digest.hex, arrived_as=self._writing.name)
        except OSError as error:
            why = f"the cache's disk failed: {error.strerror}"
            self._place.keeping.failed(why)
            self.discard()
            raise StorageFailed(why) from error
        self._end()
        self._place.partials.finish(self._writing.name)
        self._committed(Writing(digest.hex, size, lambda: True), proof)

    def discard(self) -> None:
        """Forget what has come, and delete it; nothing happens if it has ended already."""
        if self.is_open:
            self._end()
            self._place.partials.discard(self._writing.name)

    def _end(self) -> None:
        self._reservation.end()
        os.close(self.fd)


class CacheUploads:
    """Begins uploads.

    Args:
        place: where they are.
        committed: is told of blobs that are complete.
    """

    def __init__(self, place: Place, committed: Committed) -> None:
        self._place = place
        self._committed = committed

    async def begin(self, size: int = 0) -> CacheUpload:
        """Begin one.

        Args:
            size: how long the blob will be at least, in bytes.

        Raises:
            StorageFull: it does not fit.
            StorageFailed: the disk failed.
        """
        name = f"upload-{secrets.token_hex(16)}"
        folder, partials = self._place.folder, self._place.partials
        try:
            fd = await in_thread(open_quietly, folder.partial(name), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            if error.errno in IS_FULL:
                raise StorageFull(os.strerror(errno.ENOSPC)) from error
            why = f"cannot write to {folder.path}: {error.strerror}"
            self._place.keeping.failed(why)
            raise StorageFailed(why) from error
        upload = CacheUpload(partials.begin(name, 0), fd, self._place, self._committed)
        try:
            await upload.expect(size)
        except BaseException:
            upload.discard()
            raise
        return upload
