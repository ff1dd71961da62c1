"""The tags that the cluster's own people set: what is known of one, between members, and on the disk."""

import asyncio
import hashlib
import logging
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..errors import DigestInvalid, NameInvalid
from ..fileio import replace
from ..oci.digest import Digest
from ..oci.reference import Reference

log = logging.getLogger(__name__)

VERSION_MAX: Final = 1 << 53
"""Bounds a version: a member that says more is not believed, for nobody could set that tag any more."""
_FILE_MAX_BYTES: Final = 4096
"""Bounds the file of a tag, in bytes: a name has at most some 640."""
_thread = ThreadPoolExecutor(1, thread_name_prefix="own tags")
"""Writes one file after the other, so what was said last of a tag is what lies on disk."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A tag between members, and on disk.

    Args:
        reference: canonical.
        digest: what it means; empty if it was deleted.
        version: decides between two words about it.
        age_s: how long ago it was set, s; on disk the Unix time of that.
    """

    reference: str
    digest: str
    version: int
    age_s: float


class _Stored(msgspec.Struct, frozen=True):
    """A tag on disk: `set_here` says whether it was set on this node."""

    record: Record
    set_here: bool


_stored = msgspec.json.Decoder(_Stored)


@dataclass(frozen=True, slots=True)
class OwnTag:
    """A tag that the cluster's own people set.

    Args:
        reference: the tag.
        digest: what it means; None if it was deleted.
        version: decides between two words about it.
        set_unix_s: when it was set, Unix time.
        set_here: whether that was on this node.
    """

    reference: Reference
    digest: Digest | None
    version: int
    set_unix_s: float
    set_here: bool = False

    @property
    def order(self) -> tuple[int, str]:
        """The higher one counts."""
        return self.version, "" if self.digest is None else str(self.digest)

    def record(self, now_unix_s: float) -> Record:
        """What another member is told."""
        age_s = max(0.0, round(now_unix_s - self.set_unix_s, 1))
        return Record(str(self.reference), str(self.digest or ""), self.version, age_s)


def parsed(record: Record, set_unix_s: float, *, set_here: bool = False) -> OwnTag | None:
    """A record, if it is one that can be believed."""
    try:
        digest = Digest.parse(record.digest) if record.digest else None
        reference = Reference.parse(record.reference)
    except (DigestInvalid, NameInvalid) as error:
        log.debug("no record of a tag: %s", error)
        return None
    is_possible = 0 < record.version <= VERSION_MAX and math.isfinite(set_unix_s)
    if str(reference) != record.reference or not is_possible:
        return None
    return OwnTag(reference, digest, record.version, set_unix_s, set_here)


class OwnTagFiles:
    """Keeps tags on the disk, a file each.

    Args:
        folder: of the files; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._changes: dict[Reference, asyncio.Future[None]] = {}
        """That of each tag which was ordered last and is not done."""
        self._waiting: dict[Reference, bytes | None] = {}
        """What is to lie on the disk of each tag with which no thread has begun: the newest of all that was said."""
        self._lock = threading.Lock()
        """Guards `_waiting`."""

    def __len__(self) -> int:
        """How many tags are not on the disk as they are."""
        return len(self._changes)

    async def read(self) -> list[OwnTag]:
        """All that is there; raise OSError if the folder cannot be made or read."""
        return [] if self._folder is None else await asyncio.to_thread(_read, self._folder)

    async def close(self) -> None:
        """Wait until all is on the disk."""
        await asyncio.gather(*self._changes.values(), return_exceptions=True)

    def write(self, own: OwnTag) -> "asyncio.Future[None]":
        """Write what is known of a tag; the future is done when that, or what is known then, is on the disk."""
        stored = _Stored(Record(str(own.reference), str(own.digest or ""), own.version, own.set_unix_s), own.set_here)
        return self._change(own.reference, msgspec.json.encode(stored))

    def remove(self, reference: Reference) -> None:
        """Delete what is known of a tag."""
        self._change(reference, None)

    def _change(self, reference: Reference, content: bytes | None) -> "asyncio.Future[None]":
        with self._lock:
            is_waiting = reference in self._waiting
            self._waiting[reference] = content
        if is_waiting and (waiting := self._changes.get(reference)) is not None:
            return waiting
        future = asyncio.get_running_loop().run_in_executor(_thread, self._carry_out, reference)
        self._changes[reference] = future
        future.add_done_callback(lambda done: self._changed(reference, done))
        return future

    def _carry_out(self, reference: Reference) -> None:
        """In the thread."""
        with self._lock:
            content = self._waiting.pop(reference)
        if self._folder is None:
            return
        if content is None:
            _path(self._folder, reference).unlink(missing_ok=True)
        else:
            replace(_path(self._folder, reference), content, durably=True)

    def _changed(self, reference: Reference, future: "asyncio.Future[None]") -> None:
        if self._changes.get(reference) is future:
            del self._changes[reference]
        if not future.cancelled() and (error := future.exception()) is not None:
            log.warning("a pushed tag is not on the disk, and may be forgotten with the next start: %s", error)


def _path(folder: Path, reference: Reference) -> Path:
    return folder / hashlib.sha256(str(reference).encode()).hexdigest()


def _read(folder: Path) -> list[OwnTag]:
    """Read all files, and remove those that are none; blocks."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [own for path in folder.iterdir() for own in _read_one(path)]


def _read_one(path: Path) -> Iterator[OwnTag]:
    try:
        with path.open("rb") as file:
            stored = _stored.decode(file.read(_FILE_MAX_BYTES))
        own = parsed(stored.record, stored.record.age_s, set_here=stored.set_here)
    except ValueError:
        own = None
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return
    if own is None:
        if not path.suffix:  # else it was being written when the process was killed
            log.warning("%s is no record of a tag: removed", path)
        path.unlink(missing_ok=True)
    else:
        yield own
