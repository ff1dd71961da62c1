"""The `cache` store: content-addressed files on our own disk, bounded, least recently used first out.

A file becomes a blob by one rename, after its sha256 was found right, and a proof of that is kept beside it. A process
killed at any moment leaves nothing wrong behind. A machine that loses power can, and so can a disk: so nothing rests on
what a file was; its bytes are checked against the proof before they leave. A blob without a proof is hashed first.

`folder` says which files there are, `records` keeps proofs, `blobs` knows what is complete and what goes first,
`partials` which blobs are not complete, `space` makes room, `writer` is how a blob becomes complete, `upkeep` looks at
files in the background, `tags` knows what tags mean.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ...errors import ConfigError, StorageFailed
from ...oci.digest import Digest
from ...oci.reference import Reference
from ...settings import CacheSettings
from .. import Held, Listener, Proof, Tag
from .blobs import Blobs
from .folder import Folder, Found, Left
from .partials import Partials, Writing
from .served import Served
from .space import BATCH, Space
from .tags import TagFiles
from .writer import CacheWriter, Place

log = logging.getLogger(__name__)


class CacheStore:
    """Our own copies.

    Args:
        path: of the folder; made where missing; must be writable and on one file system.
        capacity_bytes: the bound on complete and partial blobs together; 0 keeps nothing, and writes nothing but tags.
        settings: bounds and intervals.
        on_damaged: called when a blob was dropped because its file was damaged.
        on_evicted: called with the number of complete blobs that left to make room.
    """

    name = "cache"

    def __init__(
        self,
        path: Path,
        capacity_bytes: int,
        settings: CacheSettings | None = None,
        on_damaged: Callable[[], object] = lambda: None,
        on_evicted: Callable[[int], object] = lambda count: None,
    ) -> None:
        settings = settings or CacheSettings()
        self._folder = folder = Folder(path)
        self._capacity_bytes = capacity_bytes
        self._blobs = Blobs(settings.lately_s)
        self._partials = Partials(folder)
        self._served = Served(self.name, folder, self._blobs, settings, on_damaged)
        others_bytes = int(capacity_bytes * settings.others_part)
        self._space = Space(capacity_bytes, others_bytes, folder, self._blobs, self._partials, self._evicted)
        self._on_evicted = on_evicted
        self._place = Place(folder, self._partials, self._space, settings.room_s)
        self.upkeep = self._served.upkeep
        """Looks at the files in the background, once the store has started."""
        self._upkeep: asyncio.Task[None] | None = None
        self._tags = TagFiles(folder.tags, settings.tags_max)

    @property
    def used_bytes(self) -> int:
        """Bytes of complete and partial blobs."""
        return self._space.used_bytes

    async def start(self, listener: Listener) -> None:
        """Read what is in the folder, drop what cannot be used, and serve. What has no proof is served later.

        Raises:
            ConfigError: the folder cannot be made or written to.
        """
        folder = self._folder
        try:
            partials, excess, found = await asyncio.to_thread(self._read_folder)
            tags = await asyncio.to_thread(self._tags.read)
        except OSError as error:
            raise ConfigError(
                f"data-dir: cannot use {error.filename or folder.path}: {error.strerror}; name a folder to write to"
            ) from error
        self._served.listener = listener
        self._partials.restore(partials)
        await self._tags.restore(tags, listener)
        await self._served.restore(found)
        unproven = [blob.name for blob in reversed(found) if not blob.is_proven]
        self._upkeep = asyncio.create_task(self._look_after(excess, unproven), name="cache upkeep")

    async def close(self) -> None:
        """Stop looking at files, and write down what is still to be written."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._served.close()

    def open(self, digest: Digest) -> Held | None:
        """Open a complete blob and count it as used; return None if it is not here any more.

        Raises:
            StorageFailed: it is here, but cannot be opened now.
        """
        return self._served.open(digest)

    def tag(self, reference: Reference) -> Tag | None:
        """What upstream last said of a tag, as far as this node heard."""
        return self._tags.get(reference)

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Remember what a tag means; if there are too many, the least recently checked is forgotten."""
        await self._tags.put(reference, tag, self._served.listener)

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Let copies go first, because another store of this node has the content too."""
        for key in keys:
            self._blobs.spare(key.hex())

    def has_partial(self, digest: Digest) -> bool:
        """Whether an earlier fetch left something of a blob."""
        return self._partials.was_left(digest.hex)

    async def begin(self, digest: Digest, size: int, wanted_here: Callable[[], bool] = lambda: True) -> CacheWriter:
        """Begin to write a blob, and find what an earlier fetch left of it. Nothing goes for its size alone.

        Args:
            digest: of the blob; nobody else may be writing it.
            size: of the blob, in bytes, as somebody says.
            wanted_here: whether a client of this node asked for it by now; else only other members did.

        Raises:
            StorageFull: it does not fit, however much were evicted.
            StorageFailed: the disk failed.
        """
        writing = self._partials.begin(digest.hex, size, wanted_here)
        try:
            self._space.admit(writing, await asyncio.to_thread(self._folder.free_bytes))
            while True:
                try:
                    return await CacheWriter.open(writing, self._place, self._committed)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise StorageFailed(f"cannot write to {self._folder.path}: {error.strerror}") from error
                    await self._space.reserve_despite(writing)
        except BaseException:
            self._partials.discard(digest.hex)
            raise

    async def _look_after(self, excess: Sequence[str], unproven: Sequence[str]) -> None:
        """Delete what a start found too much, a few at a time; then look at the files for as long as the store runs."""
        try:
            for first in range(0, len(excess), BATCH):
                names = [name for name in excess[first : first + BATCH] if name not in self._blobs]
                await self._folder.discard_blobs(names)
            await self.upkeep.run(unproven, lambda: list(self._blobs))
        except Exception:  # the root of a task: a bug here must not go unseen
            log.exception("the cache's files are not looked at any more")

    def _read_folder(self) -> tuple[dict[str, Left], list[str], list[Found]]:
        """What there is, in a thread: partial blobs, blobs that are too much, and the others, the last used last."""
        self._folder.open()
        partials = self._folder.partials() if self._capacity_bytes else {}
        found = sorted(self._folder.blobs(), key=lambda blob: (blob.used_unix_s, blob.name))
        left_bytes = self._capacity_bytes - sum(blob.size for blob in found)
        while partials and left_bytes < sum(left.reserved for left in partials.values()):
            partials.popitem()
        self._folder.remove_leftovers(partials, {blob.name for blob in found})
        too_many = 0
        while left_bytes < 0 and too_many < len(found):
            left_bytes += found[too_many].size
            too_many += 1
        return partials, [blob.name for blob in found[:too_many]], found[too_many:]

    def _evicted(self, names: Sequence[str]) -> None:
        """Take note of blobs that left to make room."""
        self._on_evicted(len(names))
        self._served.gone(names)

    def _committed(self, writing: Writing, proof: Proof | None) -> None:
        """Serve a blob that is complete."""
        digest = Digest(writing.name)
        was_served = self._blobs.size(digest.hex) is not None
        self._served.add(digest, writing.size, proof, is_ours=writing.wanted_here())
        if not was_served:
            self._served.listener.appeared([digest.key])
        self._space.hold_bound()  # it may be the one that goes
