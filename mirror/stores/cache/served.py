"""Served: the complete blobs of the cache, as they are opened, used, looked at, and dropped when they are damaged.

Only proven damage deletes a file. One that the disk does not give is withheld, and looked at again by `upkeep`.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial

from ...errors import StorageFailed
from ...fileio import tells_of_file
from ...oci.digest import Digest
from ...settings import CacheSettings
from .. import Held, Listener, Proof
from ..checking import Checker, FileChecks, Findings, Identity
from .blobs import Blobs, Withheld
from .folder import Folder, Found, open_quietly
from .records import ProofRecords
from .upkeep import Upkeep

log = logging.getLogger(__name__)


class _Nobody:
    """The listener of a store that has not started."""

    def appeared(self, keys: Collection[bytes]) -> None:
        """Do nothing."""

    def vanished(self, keys: Collection[bytes]) -> None:
        """Do nothing."""


class Served:
    """Serves complete blobs.

    Args:
        store: the store's name.
        folder: where the files are.
        blobs: which there are.
        settings: of the cache.
        on_damaged: called when a blob was dropped because its file was damaged.
    """

    def __init__(
        self, store: str, folder: Folder, blobs: Blobs, settings: CacheSettings, on_damaged: Callable[[], object]
    ) -> None:
        self.listener: Listener = _Nobody()
        self._store = store
        self._folder = folder
        self._blobs = blobs
        self._settings = settings
        self._on_damaged = on_damaged
        self._records = ProofRecords(folder, blobs.__contains__, settings)
        findings = Findings(self._found_corrupt, lambda digest, error: self._withhold(digest.hex, error))
        self._checker = Checker(findings, self._records, settings.checks)
        self._touched_at: dict[str, float] = {}
        self._reading: Counter[str] = Counter()
        """How many read each blob now."""
        self.upkeep = Upkeep(self._checker, self._open_file, self._found_right, settings.upkeep)

    async def restore(self, found: Sequence[Found]) -> None:
        """Serve what a start found, some in each turn of the event loop; what has no proof is withheld for now."""
        for first in range(0, len(found), self._settings.start_batch):
            batch = found[first : first + self._settings.start_batch]
            for blob in batch:
                withheld = None if blob.is_proven else Withheld.UNPROVEN
                self._blobs.add(blob.name, blob.size, blob.used_unix_s or None, withheld)
                if blob.is_proven and not blob.is_synced:
                    self._records.sync(Digest(blob.name))
            self.listener.appeared([Digest(blob.name).key for blob in batch if blob.is_proven])
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Write down what is still to be written."""
        await self._checker.close()
        await self._records.close()

    def add(self, digest: Digest, size: int, proof: Proof | None, *, is_ours: bool) -> None:
        """Take a blob that has become complete, and keep its proof; the caller reports it."""
        self._blobs.add(digest.hex, size, time.time() if is_ours else None)
        path = self._folder.blob(digest.hex)
        with contextlib.suppress(OSError):
            if not is_ours:
                os.utime(path, ns=(0, path.stat().st_mtime_ns))
            if proof is not None:
                self._checker.know(digest, Identity.of(path), proof)
        if proof is not None:
            self._records.save_later(digest, proof)
        else:
            self._records.forget(digest)

    def open(self, digest: Digest, *, is_use: bool = True) -> Held | None:
        """Open a complete blob and count it as used, unless told not to; return None if it is not here any more.

        Raises:
            StorageFailed: it is here, but cannot be opened now.
        """
        size = self._blobs.size(digest.hex)
        if size is None:
            return None
        try:
            fd = open_quietly(self._folder.blob_path(digest.hex), os.O_RDONLY)
        except FileNotFoundError:
            log.warning("cached blob %s is gone from disk", digest)
            self._drop(digest.hex)
            return None
        except OSError as error:
            if tells_of_file(error):
                self._withhold(digest.hex, error)
            raise StorageFailed(f"cached blob {digest} cannot be opened: {error.strerror}") from error
        found = Identity.of(fd)
        if found.size != size:
            self._found_corrupt(digest, found, f"has {found.size} bytes, not {size}")
            os.close(fd)
            return None
        if is_use:
            self._blobs.use(digest.hex)
        self._reading[digest.hex] += 1
        checks = FileChecks(self._checker, digest, size, self._note_use)
        return Held(fd, size, self._store, checks, partial(self._has_read, digest.hex))

    def is_read(self, name: str) -> bool:
        """Whether somebody reads a blob now."""
        return name in self._reading

    def _has_read(self, name: str) -> None:
        self._reading[name] -= 1
        if not self._reading[name]:
            del self._reading[name]

    def _open_file(self, name: str) -> tuple[int, int] | None:
        """A blob's file and its size, for a look in the background; also if it may not be served."""
        size = self._blobs.size_on_disk(name)
        if size is None:
            return None
        try:
            return open_quietly(self._folder.blob_path(name), os.O_RDONLY), size
        except FileNotFoundError:
            self._drop(name)
        except OSError as error:
            if tells_of_file(error):
                self._withhold(name, error)
            else:
                log.debug("cached blob %s is not looked at: %s", Digest(name), error.strerror)
        return None

    def _found_right(self, name: str) -> None:
        """Serve a blob that was withheld, for all of it was found right."""
        if self._blobs.why_withheld(name) is not None:
            self._blobs.release(name)
            self.listener.appeared([Digest(name).key])

    def _found_corrupt(self, digest: Digest, identity: Identity, what: str) -> None:
        """Drop a blob whose file is not what it was, unless another file has taken its place meanwhile."""
        with contextlib.suppress(OSError):
            if digest.hex in self._blobs and Identity.of(self._folder.blob(digest.hex)).is_same_file(identity):
                log.warning("cached blob %s was damaged: its file %s; it is dropped", digest, what)
                self._drop(digest.hex)
                self._on_damaged()

    def _withhold(self, name: str, error: OSError) -> None:
        """Serve a blob no more that the disk does not give; its file stays, and is looked at again by `upkeep`."""
        was_served = self._blobs.size(name) is not None
        if name not in self._blobs or self._blobs.why_withheld(name) is Withheld.UNREADABLE:
            return
        log.warning("cached blob %s cannot be read, and is not served: %s", Digest(name), error.strerror)
        self._blobs.withhold(name, Withheld.UNREADABLE)
        if was_served:
            self.listener.vanished([Digest(name).key])

    def _drop(self, name: str) -> None:
        if name in self._blobs:
            self.drop([name])

    def drop(self, names: Sequence[str]) -> "asyncio.Future[None]":
        """Delete blobs that are here, whether they may be served or not; the future is done when their bytes are free.

        Who reads one reads it to its end.
        """
        served = [name for name in names if self._blobs.size(name) is not None]
        for name in names:
            self._blobs.remove(name)
        self.gone(served)
        return self._folder.discard_blobs(names)

    async def look_for(self, names: Sequence[str]) -> None:
        """Drop those of these blobs whose files are gone, some in each turn of the event loop."""
        for first in range(0, len(names), self._settings.start_batch):
            for name in self._folder.missing(names[first : first + self._settings.start_batch]):
                self._drop(name)
            await asyncio.sleep(0)

    def gone(self, names: Sequence[str]) -> None:
        """Take note that blobs are no longer here."""
        for name in names:
            self._touched_at.pop(name, None)
            self._checker.forget(Digest(name))
        if names:
            self.listener.vanished([Digest(name).key for name in names])

    def _note_use(self, digest: Digest, fd: int) -> None:
        """Note a use by a client of this node; on disk once in a while, for the order after a restart."""
        if digest.hex not in self._blobs:
            return
        self._blobs.use_here(digest.hex)
        now, never = time.monotonic(), -self._settings.touch_interval_s
        if now - self._touched_at.get(digest.hex, never) >= self._settings.touch_interval_s:
            self._touched_at[digest.hex] = now
            with contextlib.suppress(OSError):
                before = Identity.of(fd)
                os.utime(fd, ns=(time.time_ns(), os.fstat(fd).st_mtime_ns))
                self._checker.touched(digest, before, Identity.of(fd))
