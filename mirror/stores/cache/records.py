"""Records: the proofs of the cache's blobs, a small file each.

A record is written when the blob is complete, under a name that has this boot of the machine in it: as long as that
lasts, what was written can be read, also after a crash of the agent. When the blob's bytes were forced to the disk, the
record gets its final name. So a power failure leaves blobs that no record speaks for, which are hashed before they are
offered, but no record of what is not there. What has just arrived waits a while before it is forced to the disk: by
then the kernel has written most of it by itself.

A record belongs to a digest, whichever file holds the content. It is written, and deleted with its blob, in turn: so
none is left of a blob that is gone.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...oci.digest import Digest
from ...settings import CacheSettings
from ..proofs import Proof
from .folder import Folder

log = logging.getLogger(__name__)

_sync_thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
"""Waits for the disk. Deleting, which makes room, never waits behind it."""


@dataclass(slots=True)
class _Unsynced:
    """A blob that may not be on the disk: when it will be forced there, or that it is being."""

    timer: asyncio.TimerHandle | None = None
    sync: asyncio.Future[None] | None = None


class ProofRecords:
    """The `checking.Records` of one cache. All but `load` is called on the event loop.

    Args:
        folder: where the files are.
        is_here: whether the cache has a blob, by the hex of its digest.
        settings: when bytes are forced to the disk.
    """

    def __init__(self, folder: Folder, is_here: Callable[[str], bool], settings: CacheSettings) -> None:
        self._folder = folder
        self._is_here = is_here
        self._settings = settings
        self._unsynced: dict[str, _Unsynced] = {}

    async def close(self) -> None:
        """Force to the disk what is not there yet, for a bounded time."""
        for name, it in list(self._unsynced.items()):
            if it.timer is not None:
                it.timer.cancel()
            if it.sync is None:
                self._sync(name, it)
        syncs = [it.sync for it in self._unsynced.values() if it.sync is not None]
        if syncs:
            _, late = await asyncio.wait(syncs, timeout=self._settings.sync_at_stop_s)
            for sync in late:
                sync.cancel()
        await self._folder.settled()

    def load(self, digest: Digest, size: int) -> Proof | None:
        """The proof of a blob; None if there is no record, or it is damaged. Blocks."""
        for path in (self._folder.proof(digest.hex), self._folder.proof_of_this_boot(digest.hex)):
            with contextlib.suppress(OSError):
                proof = Proof.read(path, size)
                if proof is not None:
                    return proof
                log.warning("%s is no proof of a blob of %d bytes: the blob is hashed once more", path, size)
        return None

    def save(self, digest: Digest, proof: Proof) -> None:
        """Keep the proof of a blob that is here, for it was hashed."""
        if self._is_here(digest.hex):
            self._folder.in_turn(lambda: self._write(digest.hex, proof))
            self.sync(digest)

    def save_later(self, digest: Digest, proof: Proof) -> None:
        """Keep the proof of a blob that has just arrived."""
        self._folder.in_turn(lambda: self._write(digest.hex, proof))
        it = self._unsynced[digest.hex] = _Unsynced()
        it.timer = asyncio.get_running_loop().call_later(self._settings.sync_after_s, self._sync, digest.hex, it)

    def sync(self, digest: Digest) -> None:
        """Have a blob forced to the disk, so that its record outlasts a power failure."""
        it = self._unsynced[digest.hex] = _Unsynced()
        self._sync(digest.hex, it)

    def forget(self, digest: Digest) -> None:
        """Keep no proof of what is there now, for nobody has hashed it."""
        it = self._unsynced.pop(digest.hex, None)
        if it is not None and it.timer is not None:
            it.timer.cancel()

    def _sync(self, name: str, it: _Unsynced) -> None:
        if self._unsynced.get(name) is it:
            path = self._folder.blob_path(name)
            it.sync = asyncio.get_running_loop().run_in_executor(_sync_thread, _sync_file, path)
            it.sync.add_done_callback(lambda sync: self._synced(name, it, sync))

    def _synced(self, name: str, it: _Unsynced, sync: "asyncio.Future[None]") -> None:
        error = None if sync.cancelled() else sync.exception()
        if self._unsynced.get(name) is not it:
            return
        del self._unsynced[name]
        if not self._is_here(name):
            return
        if error is not None:
            log.warning("cached blob %s may not be on the disk, and is hashed after a restart: %s", Digest(name), error)
        elif not sync.cancelled():
            self._folder.in_turn(lambda: self._confirm(name))

    def _write(self, name: str, proof: Proof) -> None:
        """Write a record by one rename; on a disk that does not take it, the next start hashes the blob once more."""
        path = self._folder.proof_of_this_boot(name)
        new = self._folder.proof(name).with_suffix(".new")
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(proof.encode())
            new.replace(path)

    def _confirm(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._folder.proof_of_this_boot(name).replace(self._folder.proof(name))


def _sync_file(path: str) -> None:
    """Force the bytes of a file to the disk; one that is gone needs none."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
