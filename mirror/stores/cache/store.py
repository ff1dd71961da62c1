"""The `cache` store: content-addressed files on our own disk, bounded, least recently used first out.

A file becomes a blob by one rename, after its sha256 was found right, so a process killed at any moment leaves nothing
wrong behind. A machine that loses power can: a file's name may reach the disk before its bytes. So when the folder was
last open in another boot, every blob is read and verified once more before it is served, and partial ones are dropped.

`folder` says which files there are, `partials` which blobs are not complete, `writer` how a blob becomes complete,
`tags` what tags mean. This module knows what is complete, and makes space.
"""

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path

from ...errors import ConfigError, Corrupt, StorageFailed, StorageFull
from ...oci.digest import Digest
from ...oci.reference import Reference
from ...settings import CacheSettings
from .. import Held, Listener, Proof, Tag
from ..checking import Checker, FileChecks, Findings, Identity
from .folder import Folder
from .partials import Partials
from .records import ProofRecords
from .tags import TagFiles
from .writer import CacheWriter

log = logging.getLogger(__name__)


class _Nobody:
    """The listener of a store that has not started."""

    def appeared(self, keys: Collection[bytes]) -> None:
        """Do nothing."""

    def vanished(self, keys: Collection[bytes]) -> None:
        """Do nothing."""


class CacheStore:
    """Our own copies.

    Args:
        path: of the folder; made where missing; must be writable and on one file system.
        capacity_bytes: the bound on complete and partial blobs together; 0 keeps nothing, and writes nothing but tags.
        settings: bounds and intervals.
    """

    name = "cache"

    def __init__(self, path: Path, capacity_bytes: int, settings: CacheSettings | None = None) -> None:
        settings = settings or CacheSettings()
        self.verification: asyncio.Task[None] | None = None
        """Reads every blob once more, after the machine went down without a clean stop."""
        self._folder = Folder(path)
        self._capacity_bytes = capacity_bytes
        self._touch_interval_s = settings.touch_interval_s
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of complete blobs, least recently used first
        self._complete_bytes = 0
        self._touched_at: dict[str, float] = {}
        self._partials = Partials(self._folder)
        self._records = ProofRecords(self._folder)
        self._checker = Checker(Findings(self._found_corrupt, _note_failure), self._records, settings.checks)
        self._tags = TagFiles(self._folder.tags, settings.tags_max)
        self._listener: Listener = _Nobody()
        self._has_started = False

    @property
    def used_bytes(self) -> int:
        """Bytes of complete and partial blobs."""
        return self._complete_bytes + self._partials.bytes

    async def start(self, listener: Listener) -> None:
        """Read what is in the folder, drop what cannot be used, and serve.

        Raises:
            ConfigError: the folder cannot be made or written to.
        """
        folder = self._folder
        try:
            trusted = await asyncio.to_thread(folder.open)
            partials = await asyncio.to_thread(folder.partials) if trusted and self._capacity_bytes else {}
            await asyncio.to_thread(folder.remove_leftovers, partials)
            found = await asyncio.to_thread(lambda: sorted(folder.blobs()))
            tags = await asyncio.to_thread(self._tags.read)
        except OSError as error:
            raise ConfigError(
                f"data-dir: cannot use {error.filename or folder.path}: {error.strerror}; name a folder to write to"
            ) from error
        self._listener, self._has_started = listener, True
        self._partials.restore(partials)
        self._tags.restore(tags, listener)
        blobs = [(name, size) for _, name, size in found]
        if trusted:
            self._admit(blobs)
        else:
            log.info("the machine went down without a clean stop: verifying %d cached blobs", len(blobs))
            self.verification = asyncio.create_task(self._verify(blobs), name="verify the cache")

    async def close(self) -> None:
        """Write everything to disk, and mark the folder as cleanly closed. Does nothing where `start` failed."""
        if not self._has_started:
            return
        if self.verification is not None:
            self.verification.cancel()
            await asyncio.gather(self.verification, return_exceptions=True)
        if self.verification is None or not self.verification.cancelled():
            await asyncio.to_thread(self._folder.close)

    def open(self, digest: Digest) -> Held | None:
        """Open a complete blob and count it as used."""
        size = self._sizes.get(digest.hex)
        if size is None:
            return None
        try:
            fd = os.open(self._folder.blob(digest.hex), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.warning("cached blob %s is gone from disk: %s", digest, error.strerror)
            self._drop(digest.hex)
            return None
        self._touch(digest, fd)
        return Held(fd, size, self.name, FileChecks(self._checker, digest, size))

    async def verify(self, digest: Digest) -> bool:
        """Hash a complete blob at once, and drop it if it is wrong; return whether it is here, and right."""
        held = self.open(digest)
        if held is None:
            return False
        with held:
            try:
                await self._checker.verify(digest, held.fd, held.size)
            except Corrupt:
                return False
        return True

    def tag(self, reference: Reference) -> Tag | None:
        """What upstream last said of a tag, as far as this node heard."""
        return self._tags.get(reference)

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Remember what a tag means; if there are too many, the least recently checked is forgotten."""
        await self._tags.put(reference, tag, self._listener)

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Let copies go first, because another store of this node has the content too."""
        for name in map(bytes.hex, keys):
            if name in self._sizes:
                self._sizes.move_to_end(name, last=False)

    def has_partial(self, digest: Digest) -> bool:
        """Whether an earlier fetch left something of a blob."""
        return self._partials.was_left(digest.hex)

    async def begin(self, digest: Digest, size: int) -> CacheWriter:
        """Begin to write a blob: make space, reserve its bytes on disk, and find what an earlier fetch left of it.

        Args:
            digest: of the blob; nobody else may be writing it.
            size: of the blob, in bytes.

        Raises:
            StorageFull: it does not fit, however much were evicted.
            StorageFailed: the disk failed.
        """
        continued = self._partials.begin(digest.hex, size)
        try:
            if self._partials.written_bytes > self._capacity_bytes:
                raise StorageFull(
                    f"{size} bytes more, with what is arriving, would exceed cache-size {self._capacity_bytes}"
                )
            await asyncio.gather(*self._make_space())
            return await self._open_writer(digest, size, continued=continued)
        except BaseException:
            self._partials.discard(digest.hex)
            raise

    async def _open_writer(self, digest: Digest, size: int, *, continued: bool) -> CacheWriter:
        """Open the files; as long as the disk is full, evict one blob after the other."""
        while True:
            try:
                return await CacheWriter.open(
                    digest,
                    size,
                    self._folder,
                    self._partials,
                    lambda proof: self._committed(digest, size, proof),
                    continued=continued,
                )
            except OSError as error:
                failure = f"cannot write to {self._folder.path}: {error.strerror}"
                if error.errno != errno.ENOSPC:
                    raise StorageFailed(failure) from error
                if not (self._sizes or self._partials.any_left):
                    raise StorageFull(failure) from error
                await self._evict_one()

    def _committed(self, digest: Digest, size: int, proof: Proof | None) -> None:
        """Serve a blob that is complete, and keep its proof."""
        if proof is not None:
            self._checker.know(digest, Identity.of(self._folder.blob(digest.hex)), proof)
            asyncio.get_running_loop().run_in_executor(None, self._records.save, digest, proof)
        self._admit([(digest.hex, size)])

    def _found_corrupt(self, digest: Digest, identity: Identity, what: str) -> None:
        """Drop a blob whose file is not what it was, unless another file has taken its place meanwhile."""
        with contextlib.suppress(OSError):
            if digest.hex in self._sizes and Identity.of(self._folder.blob(digest.hex)) == identity:
                log.warning("cached blob %s was damaged: its file %s; it is dropped", digest, what)
                self._drop(digest.hex)

    async def _verify(self, found: Sequence[tuple[str, int]]) -> None:
        """Read every blob once more; serve what is right, remove what is not."""
        for name, size in found:
            try:
                is_right = await asyncio.to_thread(self._folder.sha256, name) == name
            except OSError as error:
                log.warning("cached blob sha256:%s cannot be read: %s", name, error.strerror)
                continue
            if name in self._sizes:  # fetched again meanwhile
                continue
            if is_right:
                self._admit([(name, size)])
            else:
                log.warning("cached blob sha256:%s was damaged when the machine went down: removed", name)
                self._folder.blob(name).unlink(missing_ok=True)
        log.info("cached blobs verified")

    def _admit(self, blobs: Sequence[tuple[str, int]]) -> None:
        """Serve complete blobs, `(name, size)` each, as far as the bound allows."""
        new = [(name, size) for name, size in blobs if name not in self._sizes]
        self._sizes.update(new)
        self._complete_bytes += sum(size for _, size in new)
        self._make_space()
        self._listener.appeared([bytes.fromhex(name) for name, _ in new if name in self._sizes])

    def _make_space(self) -> list[asyncio.Future[None]]:
        """Drop blobs until the bound holds; the futures are done when their bytes are free."""
        freed = []
        while (self._sizes or self._partials.any_left) and self.used_bytes > self._capacity_bytes:
            freed.append(self._evict_one())
        return freed

    def _evict_one(self) -> asyncio.Future[None]:
        """Drop a partial blob or, if there is none, the least recently used; done when its bytes are free."""
        if self._partials.any_left:
            return self._partials.evict()
        name = next(iter(self._sizes))
        log.debug("evicting sha256:%s", name)
        return self._drop(name)

    def _drop(self, name: str) -> asyncio.Future[None]:
        self._complete_bytes -= self._sizes.pop(name)
        self._touched_at.pop(name, None)
        self._listener.vanished([bytes.fromhex(name)])
        return self._folder.discard_blob(name)

    def _touch(self, digest: Digest, fd: int) -> None:
        """Count a use; on disk once in a while, for the order after a restart."""
        self._sizes.move_to_end(digest.hex)
        now = time.monotonic()
        if now - self._touched_at.get(digest.hex, -self._touch_interval_s) >= self._touch_interval_s:
            self._touched_at[digest.hex] = now
            before = Identity.of(fd)
            with contextlib.suppress(OSError):
                os.utime(fd)
            self._checker.touched(digest, before, Identity.of(fd))


def _note_failure(digest: Digest, identity: Identity, error: OSError) -> None:
    log.warning("cached blob %s cannot be read: %s", digest, error.strerror)
