"""Tags on disk: what upstream last said that each tag means, a bounded number of them."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import xxhash

from ...errors import DigestInvalid, NameInvalid
from ...fileio import replace, to_its_end
from ...oci.digest import Digest
from ...oci.reference import Reference
from .. import Listener, Tag

log = logging.getLogger(__name__)


_BATCH = 512
"""Tags that are reported in one turn of the event loop."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="tags")
"""Writes one file after the other, so what was said last of a tag is what lies on disk."""


class _TagFile(msgspec.Struct, frozen=True):
    """A tag on disk, with a checksum of what it says."""

    reference: str
    digest: str
    checked_unix_s: float
    xxh3: str

    @classmethod
    def of(cls, reference: str, tag: Tag) -> "_TagFile":
        said = f"{reference} {tag.digest} {tag.checked_unix_s!r}"
        return cls(reference, str(tag.digest), tag.checked_unix_s, xxhash.xxh3_64_hexdigest(said.encode()))


class TagFiles:
    """What tags mean, in memory and in files.

    Args:
        folder: of the files.
        tags_max: how many are remembered; the least recently checked is forgotten first.
    """

    def __init__(self, folder: Path, tags_max: int) -> None:
        self._folder = folder
        self._tags_max = tags_max
        self._tags: OrderedDict[Reference, Tag] = OrderedDict()  # least recently checked first

    def read(self) -> list[tuple[Reference, Tag]]:
        """Read all files, in a thread, and remove those that cannot be read; the result goes to `restore`."""
        found = []
        for entry in self._folder.iterdir():
            if entry.suffix:  # being written when the process was killed
                entry.unlink()
                continue
            try:
                stored = msgspec.json.decode(entry.read_bytes(), type=_TagFile)
                reference, digest = Reference.parse(stored.reference), Digest.parse(stored.digest)
                tag = Tag(digest, stored.checked_unix_s, "upstream")
                if _TagFile.of(stored.reference, tag) != stored:
                    raise DigestInvalid("what it says does not have its checksum")
                found.append((reference, tag))
            except (ValueError, NameInvalid, DigestInvalid) as error:  # bytes that are no UTF-8, too
                log.warning("%s is no tag record (%s): removed", entry, error)
                entry.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be read: %s", entry, error.strerror)
        return sorted(found, key=lambda row: row[1].checked_unix_s)

    async def restore(self, found: Iterable[tuple[Reference, Tag]], listener: Listener) -> None:
        """Remember what was read, and report it, some at a time."""
        self._tags.update(list(found)[-self._tags_max :])
        keys = [reference.key for reference in self._tags]
        for first in range(0, len(keys), _BATCH):
            listener.appeared(keys[first : first + _BATCH])
            await asyncio.sleep(0)

    def get(self, reference: Reference) -> Tag | None:
        """What a tag was last known to mean."""
        return self._tags.get(reference)

    def references(self) -> Collection[Reference]:
        """All tags that are remembered."""
        return self._tags.keys()

    async def put(self, reference: Reference, tag: Tag, listener: Listener) -> None:
        """Remember what a tag means, report it, and write it to disk."""
        known = reference in self._tags
        self._tags[reference] = tag
        self._tags.move_to_end(reference)
        forgotten = self._tags.popitem(last=False)[0] if len(self._tags) > self._tags_max else None
        if not known:
            listener.appeared([reference.key])
        if forgotten is not None:
            listener.vanished([forgotten.key])
        try:
            loop = asyncio.get_running_loop()
            await to_its_end(loop.run_in_executor(_thread, self._write, reference, tag, forgotten))
        except OSError as error:
            log.warning("cannot write down what %s means: %s", reference, error.strerror)

    async def forget(self, reference: Reference, listener: Listener) -> Tag | None:
        """Forget what a tag means, also on disk; return what that was."""
        tag = self._tags.pop(reference, None)
        if tag is not None:
            listener.vanished([reference.key])
            file, loop = self._file(reference), asyncio.get_running_loop()
            try:
                await to_its_end(loop.run_in_executor(_thread, lambda: file.unlink(missing_ok=True)))
            except OSError as error:
                log.warning("what %s meant may come back after a restart: %s", reference, error.strerror)
        return tag

    def _write(self, reference: Reference, tag: Tag, forgotten: Reference | None) -> None:
        replace(self._file(reference), msgspec.json.encode(_TagFile.of(str(reference), tag)))
        if forgotten is not None:
            self._file(forgotten).unlink(missing_ok=True)

    def _file(self, reference: Reference) -> Path:
        return self._folder / hashlib.sha256(str(reference).encode()).hexdigest()
