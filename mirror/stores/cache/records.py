"""Records: the proofs of the cache's blobs, a small file each.

A record on the disk means that the blob's bytes are there, too: it is written after they were forced to the disk. So a
power failure leaves blobs without a record, which are hashed before they are offered, but no record of what is not
there. What has just arrived waits a while for that: by then the kernel has written most of it by itself.

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
from ..proofs import Proof, record_bytes
from .folder import Folder

log = logging.getLogger(__name__)

_sync_thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
"""Waits for the disk. Deleting, which makes room, never waits behind it."""


@dataclass(slots=True)
class _Unwritten:
    """A proof that has no record yet; what its blob waits for."""

    proof: Proof
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
        self._unwritten: dict[str, _Unwritten] = {}

    async def close(self) -> None:
        """Force to the disk what is not there yet, for a bounded time, and write the records."""
        for name, it in list(self._unwritten.items()):
            if it.timer is not None:
                it.timer.cancel()
            if it.sync is None:
                self._sync(name, it)
        syncs = [it.sync for it in self._unwritten.values() if it.sync is not None]
        if syncs:
            _, late = await asyncio.wait(syncs, timeout=self._settings.sync_at_stop_s)
            for sync in late:
                sync.cancel()
        await self._folder.settled()

    def load(self, digest: Digest, size: int) -> Proof | None:
        """The proof of a blob; None if there is no record, or it is damaged. Blocks."""
        unwritten = self._unwritten.get(digest.hex)
        if unwritten is not None:
            return unwritten.proof
        path = self._folder.proof(digest.hex)
        try:
            with path.open("rb") as file:
                record = file.read(record_bytes(size) + 1)
        except OSError:
            return None
        proof = Proof.decode(record, size)
        if proof is None:
            log.warning("%s is no proof of a blob of %d bytes: the blob is hashed once more", path, size)
        return proof

    def save(self, digest: Digest, proof: Proof) -> None:
        """Keep the proof of a blob that is here, for it was hashed."""
        if self._is_here(digest.hex):
            it = self._unwritten[digest.hex] = _Unwritten(proof)
            self._sync(digest.hex, it)

    def save_later(self, digest: Digest, proof: Proof) -> None:
        """Keep the proof of a blob that has just arrived."""
        it = self._unwritten[digest.hex] = _Unwritten(proof)
        it.timer = asyncio.get_running_loop().call_later(self._settings.sync_after_s, self._sync, digest.hex, it)

    def forget(self, digest: Digest) -> None:
        """Keep no proof of what is there now, for nobody has hashed it."""
        it = self._unwritten.pop(digest.hex, None)
        if it is not None and it.timer is not None:
            it.timer.cancel()

    def _sync(self, name: str, it: _Unwritten) -> None:
        if self._unwritten.get(name) is it:
            path = self._folder.blob_path(name)
            it.sync = asyncio.get_running_loop().run_in_executor(_sync_thread, _sync_file, path)
            it.sync.add_done_callback(lambda sync: self._synced(name, it, sync))

    def _synced(self, name: str, it: _Unwritten, sync: "asyncio.Future[None]") -> None:
        error = None if sync.cancelled() else sync.exception()
        if self._unwritten.get(name) is not it:
            return
        del self._unwritten[name]
        if not self._is_here(name):
            return
        if error is not None:
            log.warning("cached blob sha256:%s may not be on the disk, and is hashed after a restart: %s", name, error)
        elif not sync.cancelled():
            self._folder.in_turn(lambda: self._write(name, it.proof))

    def _write(self, name: str, proof: Proof) -> None:
        """Write a record by one rename; on a disk that does not take it, the next start hashes the blob once more."""
        path = self._folder.proof(name)
        new = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(proof.encode())
            new.replace(path)


def _sync_file(path: str) -> None:
    """Force the bytes of a file to the disk; one that is gone needs none."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
