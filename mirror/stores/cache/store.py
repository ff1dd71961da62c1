"""The `cache` store: content-addressed files on our own disk, bounded, least recently used first out.

    <folder>/blobs/sha256/ab/abcdef…   complete and verified; the modification time is when it was last used
    <folder>/spool/abcdef…             arriving, or left half by a fetch that ended
    <folder>/spool/abcdef….pieces      its journal: the size, then the sha256 of everything up to the end of each piece
    <folder>/tags/<hex>                what a tag was last known to mean, one JSON object a file
    <folder>/running                   the boot in which an agent last had the folder open; gone after a clean stop

A file enters `blobs` by one rename, after its sha256 was found right, so a process killed at any moment leaves nothing
wrong behind. A machine that loses power can: a file's name may reach the disk before its bytes. So when `running` is
found with another boot's id in it, every blob is read and verified once more before it is served, and what is half is
dropped.

What a fetch leaves half is taken over by the next one for the same blob, as far as hashing it anew gives what the
journal says; it is the first to go when room is needed.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...errors import ConfigError, DigestInvalid, NameInvalid, NoRoom
from ...fileio import in_thread
from ...oci.digest import Digest
from ...oci.reference import Reference
from .. import Held, Listener, Tag

log = logging.getLogger(__name__)

TAGS_MAX = 10_000
_TOUCH_INTERVAL_S = 60.0
_HEADER_BYTES, _PREFIX_BYTES = 8, 32
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _TagFile(msgspec.Struct, frozen=True):
    """A tag on disk."""

    reference: str
    digest: str
    checked_at: float


@dataclass(slots=True)
class Room:
    """A file for a blob that is to arrive.

    Args:
        fd: open for reading and writing; whoever got it closes it.
        prefixes: the journal of an earlier fetch: of each piece, in order, the sha256 of everything up to its end.
        journal: open for appending.
    """

    fd: int
    prefixes: list[bytes]
    journal: int

    def passed(self, prefix: bytes) -> None:
        """Note that the next piece is in the file, and the sha256 of everything up to its end."""
        if self.journal >= 0:
            with contextlib.suppress(OSError):  # a disk that is full: then this piece will be brought once more
                os.write(self.journal, prefix)

    def keep(self, count: int) -> None:
        """Strike all but the first entries from the journal: the rest is not so."""
        if self.journal >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self.journal, _HEADER_BYTES + count * _PREFIX_BYTES)

    def close(self) -> None:
        """Close the journal, of which nothing can be noted any more; the file is the spool's."""
        journal, self.journal = self.journal, -1
        os.close(journal)


class CacheStore:
    """Our own copies.

    Args:
        folder: made where missing; must be writable and on one file system.
        capacity_bytes: the bound on complete and arriving blobs together; 0 keeps nothing, and writes nothing but tags.
    """

    name = "cache"

    def __init__(self, folder: Path, capacity_bytes: int) -> None:
        self._folder = folder
        self._capacity_bytes = capacity_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._touched: dict[str, float] = {}
        self._arriving: dict[str, int] = {}
        self._half: OrderedDict[str, int] = OrderedDict()  # left first, first
        self._discarded = 0
        self._complete_bytes = 0
        self._tags: OrderedDict[str, Tag] = OrderedDict()  # least recently checked first
        self._listener: Listener | None = None
        self._verification: asyncio.Task[None] | None = None
        self._opened = False

    @property
    def used_bytes(self) -> int:
        """Bytes of complete, arriving and half blobs."""
        return self._complete_bytes + sum(self._arriving.values()) + sum(self._half.values())

    async def start(self, listener: Listener) -> None:
        """Take stock of the folder, drop what is half-written, and serve.

        Raises:
            ConfigError: the folder cannot be made or written to.
        """
        self._listener = listener
        try:
            trusted = await asyncio.to_thread(self._open_folder)
            found = await asyncio.to_thread(lambda: sorted(self._scan()))
            await asyncio.to_thread(self._load_tags)
        except OSError as error:
            raise ConfigError(
                f"data-dir: cannot use {error.filename or self._folder}: {error.strerror}; name a folder to write to"
            ) from error
        self._opened = True
        listener.appeared([Reference.parse(reference).key for reference in self._tags])
        if trusted:
            self._admit([(name, size) for _, name, size in found])
        else:
            log.info("the machine went down without a clean stop: verifying %d cached blobs", len(found))
            blobs = [(name, size) for _, name, size in found]
            self._verification = asyncio.create_task(self._verify(blobs), name="verify the cache")

    async def close(self) -> None:
        """Leave the folder in order: everything on disk, and marked so. Does nothing where `start` failed."""
        if not self._opened:
            return
        if self._verification is not None:
            self._verification.cancel()
            await asyncio.gather(self._verification, return_exceptions=True)
        await asyncio.to_thread(self._close_folder, self._verification is None or not self._verification.cancelled())

    def open(self, digest: Digest) -> Held | None:
        """Open a complete blob and count it as used."""
        size = self._sizes.get(digest.hex)
        if size is None:
            return None
        path = self._blob(digest.hex)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.warning("cached blob %s is gone from disk: %s", digest, error.strerror)
            self._drop(digest.hex)
            return None
        self._touch(digest.hex)
        return Held(fd, size, self.name)

    def tag(self, reference: Reference) -> Tag | None:
        """What upstream last said of a tag, as far as this node heard."""
        return self._tags.get(str(reference))

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Remember what a tag means; the least recently checked of too many is forgotten."""
        text = str(reference)
        known = text in self._tags
        self._tags[text] = tag
        self._tags.move_to_end(text)
        forgotten = self._tags.popitem(last=False)[0] if len(self._tags) > TAGS_MAX else None
        assert self._listener is not None
        if not known:
            self._listener.appeared([reference.key])
        if forgotten is not None:
            self._listener.vanished([Reference.parse(forgotten).key])
        try:
            await asyncio.to_thread(self._write_tag, text, tag, forgotten)
        except OSError as error:
            log.warning("cannot write down what %s means: %s", text, error.strerror)

    # A blob on its way in: `begin`, then writes to the file by a spool, then `commit`, `leave` or `abandon`.

    async def begin(self, digest: Digest, size: int) -> Room:
        """Make room for a blob, reserve its bytes on disk, and find what an earlier fetch left of it.

        Raises:
            NoRoom: it cannot be kept, however much were evicted.
        """
        found = self._half.pop(digest.hex, None) == size
        self._arriving[digest.hex] = size
        try:
            if sum(self._arriving.values()) > self._capacity_bytes:
                raise NoRoom(
                    f"{size} bytes more, with what is arriving, would exceed cache-size {self._capacity_bytes}"
                )
            await asyncio.gather(*self._make_room())
            while True:
                try:
                    return await self._allocated(digest.hex, size, found)
                except OSError as error:
                    if error.errno != errno.ENOSPC or not (self._sizes or self._half):
                        raise NoRoom(f"cannot write to {self._folder}: {error.strerror}") from error
                    await self._evict_one()
        except BaseException:
            self.abandon(digest)
            raise

    def has_half(self, digest: Digest) -> bool:
        """Whether an earlier fetch left something of a blob."""
        return digest.hex in self._half

    def commit(self, digest: Digest) -> None:
        """Let a spool file, complete and found right, become a blob; it is advertised at once."""
        path = self._blob(digest.hex)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._spool(digest.hex), path)
        self._journal(digest.hex).unlink(missing_ok=True)
        self._admit([(digest.hex, self._arriving.pop(digest.hex))])

    def leave(self, digest: Digest) -> None:
        """Leave a blob half, for the next fetch to go on with."""
        size = self._arriving.pop(digest.hex, None)
        if size is None:
            return
        self._half[digest.hex] = size
        try:
            begun = self._journal(digest.hex).stat().st_size >= _HEADER_BYTES + _PREFIX_BYTES
        except OSError:
            begun = False
        if not begun:
            self._drop_half(digest.hex)

    def abandon(self, digest: Digest) -> None:
        """Forget a blob that will not be complete, and what is here of it."""
        if self._arriving.pop(digest.hex, None) is not None:
            self._journal(digest.hex).unlink(missing_ok=True)
            self._discard(self._spool(digest.hex))

    def spare(self, keys: Collection[bytes]) -> None:
        """Let copies go first, because another store of this node has the content too."""
        for name in map(bytes.hex, keys):
            if name in self._sizes:
                self._sizes.move_to_end(name, last=False)

    # Names of files. Each is made from a parsed digest or from a hash, never from a client's text.

    def _blob(self, name: str) -> Path:
        return self._folder / "blobs" / "sha256" / name[:2] / name

    def _spool(self, name: str) -> Path:
        return self._folder / "spool" / name

    def _journal(self, name: str) -> Path:
        return self._folder / "spool" / f"{name}.pieces"

    def _tag_file(self, reference: str) -> Path:
        return self._folder / "tags" / hashlib.sha256(reference.encode()).hexdigest()

    # Work on the disk; all but unlinking and renaming runs in a thread.

    def _open_folder(self) -> bool:
        """Make the folder's parts; tell whether its blobs can be trusted as they are."""
        for part in (self._folder / "blobs" / "sha256", self._folder / "spool", self._folder / "tags"):
            part.mkdir(parents=True, exist_ok=True)
        marker = self._folder / "running"
        boot = _BOOT_ID.read_text() if _BOOT_ID.exists() else "unknown"
        trusted = not marker.exists() or marker.read_text() == boot
        marker.write_text(boot)
        half = self._read_journals() if trusted else {}
        for leftover in (self._folder / "spool").iterdir():
            if leftover.name.removesuffix(".pieces") not in half:
                leftover.unlink()
        self._half.update(half)
        return trusted

    def _read_journals(self) -> dict[str, int]:
        """The half blobs that can be gone on with, with their sizes."""
        half = {}
        for journal in sorted((self._folder / "spool").glob("*.pieces")):
            name = journal.name.removesuffix(".pieces")
            size = int.from_bytes(journal.read_bytes()[:_HEADER_BYTES], "big")
            file = self._spool(name)
            if self._capacity_bytes and file.is_file() and file.stat().st_size == size:
                half[name] = size
        return half

    def _close_folder(self, verified: bool) -> None:
        if verified:
            os.sync()
            (self._folder / "running").unlink(missing_ok=True)

    def _scan(self) -> Iterator[tuple[float, str, int]]:
        """Every blob file as (last used, hex, size)."""
        for entry in (self._folder / "blobs" / "sha256").glob("??/*"):
            try:
                Digest.parse(f"sha256:{entry.name}")
                status = entry.stat()
                regular = stat.S_ISREG(status.st_mode)
            except (DigestInvalid, OSError):
                regular = False
            if not regular:
                log.warning("%s is no cached blob: ignored", entry)
                continue
            yield status.st_mtime, entry.name, status.st_size

    async def _allocated(self, name: str, size: int, found: bool) -> Room:
        """Open a file in a thread; whoever is cancelled meanwhile leaves none open."""
        rooms: list[Room] = []
        try:
            await in_thread(lambda: rooms.append(self._allocate(name, size, found)))
        except asyncio.CancelledError:
            for room in rooms:
                os.close(room.fd)
                room.close()
            raise
        return rooms[0]

    def _allocate(self, name: str, size: int, found: bool) -> Room:
        """Open the file and its journal, new ones unless an earlier fetch left them."""
        anew = 0 if found else os.O_TRUNC
        fd = os.open(self._spool(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | anew, 0o640)
        try:
            if size:
                self._reserve(fd, size)
            journal = os.open(self._journal(name), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | anew, 0o640)
        except OSError:
            os.close(fd)
            raise
        try:
            prefixes = self._open_journal(journal, size)
        except OSError:
            os.close(fd)
            os.close(journal)
            raise
        return Room(fd, prefixes, journal)

    @staticmethod
    def _reserve(fd: int, size: int) -> None:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # those: no such call on this file system
                raise

    @staticmethod
    def _open_journal(journal: int, size: int) -> list[bytes]:
        """Read what a journal says, and leave it without a last record that is not whole."""
        text = os.pread(journal, os.fstat(journal).st_size, 0)
        if text[:_HEADER_BYTES] != size.to_bytes(_HEADER_BYTES, "big"):
            os.ftruncate(journal, 0)
            os.write(journal, size.to_bytes(_HEADER_BYTES, "big"))
            return []
        count = (len(text) - _HEADER_BYTES) // _PREFIX_BYTES
        os.ftruncate(journal, _HEADER_BYTES + count * _PREFIX_BYTES)
        records = text[_HEADER_BYTES:]
        return [records[i * _PREFIX_BYTES : (i + 1) * _PREFIX_BYTES] for i in range(count)]

    def _load_tags(self) -> None:
        loaded = []
        for entry in (self._folder / "tags").iterdir():
            if entry.suffix:  # being written when the process was killed
                entry.unlink()
                continue
            try:
                stored = msgspec.json.decode(entry.read_bytes(), type=_TagFile)
                reference = Reference.parse(stored.reference)
                loaded.append((stored.checked_at, str(reference), Digest.parse(stored.digest)))
            except (msgspec.MsgspecError, NameInvalid, DigestInvalid) as error:
                log.warning("%s is no tag record (%s): removed", entry, error)
                entry.unlink(missing_ok=True)
        for checked_at, reference_text, digest in sorted(loaded, key=lambda row: row[0])[-TAGS_MAX:]:
            self._tags[reference_text] = Tag(digest, checked_at, "upstream")

    def _write_tag(self, reference: str, tag: Tag, forgotten: str | None) -> None:
        path = self._tag_file(reference)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(_TagFile(reference, str(tag.digest), tag.checked_at)))
        new.replace(path)
        if forgotten is not None:
            self._tag_file(forgotten).unlink(missing_ok=True)

    async def _verify(self, found: list[tuple[str, int]]) -> None:
        """Read every blob once more; serve what is right, remove what is not."""
        for name, size in found:
            try:
                right = await asyncio.to_thread(_sha256_of, self._blob(name)) == name
            except OSError as error:
                log.warning("cached blob sha256:%s cannot be read: %s", name, error.strerror)
                continue
            if name in self._sizes:  # fetched anew meanwhile
                continue
            if right:
                self._admit([(name, size)])
            else:
                log.warning("cached blob sha256:%s was damaged when the machine went down: removed", name)
                self._blob(name).unlink(missing_ok=True)
        log.info("cached blobs verified")

    # What is kept, and for how long.

    def _admit(self, blobs: list[tuple[str, int]]) -> None:
        blobs = [(name, size) for name, size in blobs if name not in self._sizes]
        self._sizes.update(blobs)
        self._complete_bytes += sum(size for _, size in blobs)
        self._make_room()
        assert self._listener is not None
        self._listener.appeared([bytes.fromhex(name) for name, _ in blobs if name in self._sizes])

    def _make_room(self) -> list[asyncio.Future[None]]:
        """Drop blobs until the bound holds; the futures are done when their bytes are free."""
        freed = []
        while (self._sizes or self._half) and self.used_bytes > self._capacity_bytes:
            freed.append(self._evict_one())
        return freed

    def _evict_one(self) -> asyncio.Future[None]:
        """Drop a half blob or, without one, the least recently used; the future is done when its bytes are free."""
        if self._half:
            return self._drop_half(next(iter(self._half)))
        name = next(iter(self._sizes))
        log.debug("evicting sha256:%s", name)
        return self._drop(name)

    def _drop(self, name: str) -> asyncio.Future[None]:
        self._complete_bytes -= self._sizes.pop(name)
        self._touched.pop(name, None)
        assert self._listener is not None
        self._listener.vanished([bytes.fromhex(name)])
        return self._discard(self._blob(name))

    def _drop_half(self, name: str) -> asyncio.Future[None]:
        del self._half[name]
        self._journal(name).unlink(missing_ok=True)
        return self._discard(self._spool(name))

    def _discard(self, path: Path) -> asyncio.Future[None]:
        """Delete a file: its name at once, so that it can be used anew, its bytes, which may take long, in a thread."""
        self._discarded += 1
        trash = self._folder / "spool" / f"discarded-{self._discarded}"
        with contextlib.suppress(OSError):
            path.replace(trash)
        return asyncio.get_running_loop().run_in_executor(None, _unlink, trash)

    def _touch(self, name: str) -> None:
        """Count a use; on disk at most once a minute, for the order after a restart."""
        self._sizes.move_to_end(name)
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH_INTERVAL_S) >= _TOUCH_INTERVAL_S:
            self._touched[name] = now
            with contextlib.suppress(OSError):
                os.utime(self._blob(name))


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _sha256_of(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
