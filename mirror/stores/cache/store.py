"""The `cache` store: content-addressed files on our own disk, bounded, least recently used first out.

A file becomes a blob by one rename, after its digest was found right, and a proof of that is kept beside it. A process
killed at any moment leaves nothing wrong behind. A machine that loses power can, and so can a disk: so nothing rests on
what a file was; its bytes are checked against the proof before they leave. A blob without a proof is hashed first.

`folder` says which files there are, `records` keeps proofs, `blobs` knows what is complete and what goes first,
`partials` which blobs are not complete, `space` makes room, `writer` is how a blob becomes complete, `uploads` how one
does whose digest is known at its end, `upkeep` looks at files in the background, `tags` knows what tags mean, and
`contents` is what the operator sees and deletes.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import Path

from ...errors import StartFailed, StorageFailed, StorageFull
from ...events import Tell, nobody
from ...oci.digest import Digest
from ...oci.reference import Reference
from ...settings import CacheSettings
from .. import Held, Listener, Proof, Tag
from ..marks import Marks
from .blobs import Blobs
from .contents import Contents
from .evictions import Evictions
from .folder import Folder, Found, Left
from .keeping import Keeping
from .marks import MarkFiles
from .partials import Partials, Writing
from .protection import Protection
from .reservation import IS_FULL, Place
from .served import Served
from .space import BATCH, Bounds, Space
from .tags import TagFiles
from .uploads import CacheUploads
from .writer import CacheWriter

log = logging.getLogger(__name__)

_ENTRY_BYTES = 4096
"""What a file takes of a disk before it has any bytes, in bytes."""


class CacheStore:
    """Our own copies.

    Args:
        path: of the folder; made where missing; must be writable and on one file system.
        capacity_bytes: the bound on complete and partial blobs together; 0 keeps nothing, and writes nothing but tags.
        settings: bounds and intervals.
        on_damaged: called when a blob was dropped because its file was damaged.
        on_evicted: called with the number of complete blobs that left to make room.
        protected: hexadecimal digests of what never leaves to make room, until `protection` is told otherwise.
        marks: of what needed credentials; those of the blobs are kept beside them.
        on_event: told when it stops to keep what arrives, when it does so again, and when blobs leave to make room.
    """

    name = "cache"

    def __init__(  # noqa: PLR0913, PLR0917 - all that a cache has to do with
        self,
        path: Path,
        capacity_bytes: int,
        settings: CacheSettings | None = None,
        on_damaged: Callable[[], object] = lambda: None,
        on_evicted: Callable[[int], object] = lambda count: None,
        protected: Set[str] = frozenset(),
        marks: Marks | None = None,
        on_event: Tell = nobody,
    ) -> None:
        settings = settings or CacheSettings()
        self._settings = settings
        marks = marks or Marks()
        self._folder = folder = Folder(path, marks.release)
        self._marks = MarkFiles(folder, marks)
        self._capacity_bytes = capacity_bytes
        self._blobs = Blobs(settings.lately_s)
        self.protection = Protection(self._blobs, capacity_bytes, protected)
        """What never leaves to make room."""
        self._partials = Partials(folder)
        self._served = Served(self.name, folder, self._blobs, settings, on_damaged)
        bounds = Bounds(capacity_bytes, int(capacity_bytes * settings.others_part))
        self._keeping = Keeping(settings.settle_s, on_event=on_event)
        self._evictions = Evictions(on_event, settings.evicted_s)
        self._looking = asyncio.Lock()
        """Looks come one after the other: two at once would find what the other leaves behind for a moment."""
        self._space = Space(bounds, folder, self._blobs, self._partials, self._keeping, self._evicted)
        self._on_evicted = on_evicted
        self._place = Place(folder, self._marks, self._partials, self._space, self._keeping, settings.room_s)
        self.uploads = CacheUploads(self._place, self._committed)
        """What arrives under no name yet."""
        self.upkeep = self._served.upkeep
        """Looks at the files in the background, once the store has started."""
        self._tasks: list[asyncio.Task[None]] = []
        self._tags = TagFiles(folder.tags, settings.tags_max)
        self.contents = Contents(folder, self._blobs, self._served, self._tags)
        """What is here, for the operator."""

    @property
    def used_bytes(self) -> int:
        """Bytes of complete and partial blobs."""
        return self._space.used_bytes

    @property
    def keeps_nothing(self) -> str | None:
        """Why nothing is kept now, in a few words; None if what arrives is kept."""
        return self._keeping.why_not if self._capacity_bytes else "cache-size is 0"

    @property
    def withheld(self) -> Mapping[str, int]:
        """How many blobs are here and not served, by reason."""
        return self._blobs.withheld

    async def start(self, listener: Listener) -> None:
        """Read what is in the folder, drop what cannot be used, and serve. What has no proof is served later.

        Raises:
            StartFailed: the folder cannot be made or written to.
        """
        folder = self._folder
        try:
            partials, excess, found = await asyncio.to_thread(
                _read, self._folder, self._capacity_bytes, self._blobs.protected, self._marks
            )
            tags = await asyncio.to_thread(self._tags.read)
        except OSError as error:
            raise StartFailed(
                f"data-dir: cannot use {error.filename or folder.path}: {error.strerror}; name a folder to write to"
            ) from error
        self._served.listener = listener
        self._marks.follow(lambda digest: digest.hex in self._blobs)
        self._partials.restore(partials)
        await self._tags.restore(tags, listener)
        await self._served.restore(found)
        unproven = [blob.name for blob in reversed(found) if not blob.is_proven]
        self._tasks = [
            asyncio.create_task(self._look_after(excess, unproven), name="cache upkeep"),
            asyncio.create_task(self._keep_looking(), name="cache folder"),
        ]

    async def close(self) -> None:
        """Stop looking at files, and write down what is still to be written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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

    def references(self) -> Collection[Reference]:
        """The tags that it remembers."""
        return self._tags.references()

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Remember what a tag means; if there are too many, the least recently checked is forgotten."""
        await self._tags.put(reference, tag, self._served.listener)

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Let copies go first, because another store of this node has the content too."""
        for name in self._blobs.named(keys):
            self._blobs.spare(name)

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
        self._marks.admit(digest)
        writing = self._partials.begin(digest.hex, size, wanted_here)
        try:
            try:
                return await self._open_writer(writing)
            except FileNotFoundError:  # somebody removed the folder
                await self.look()
                return await self._open_writer(writing)
        except BaseException as error:
            if writing.continued and isinstance(error, StorageFull | asyncio.CancelledError):
                self._partials.leave(digest.hex)  # there is nothing wrong with it
            else:
                self._partials.discard(digest.hex)
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    async def _open_writer(self, writing: Writing) -> CacheWriter:
        gone = 0
        while True:
            free_bytes = await asyncio.to_thread(self._folder.ground.free_bytes)
            self._space.admit(writing, free_bytes)
            try:
                return await CacheWriter.open(writing, self._place, self._committed)
            except OSError as error:
                if error.errno not in IS_FULL:
                    raise
                gone = await self._space.make_way(writing, _ENTRY_BYTES, free_bytes, gone)

    def _failed(self, error: OSError) -> StorageFailed:
        why = f"cannot write to {self._folder.path}: {error.strerror}"
        self._keeping.failed(why)
        return StorageFailed(why)

    async def look(self) -> None:
        """See whether the folder is there and takes files. If it was removed, make it anew, and forget what it had."""
        folder = self._folder
        async with self._looking:
            try:
                if not await asyncio.to_thread(folder.ground.is_whole):
                    log.warning("%s was removed, or replaced by another folder: it is made anew", folder.path)
                    await asyncio.to_thread(folder.ground.make)
                    self._partials.forget_missing()
                    gone = await asyncio.to_thread(folder.missing, list(self._blobs))
                    await self._served.look_for(gone)
                await asyncio.to_thread(folder.ground.probe)
                if self._space.look(await asyncio.to_thread(folder.ground.free_bytes)):
                    self._keeping.works()
            except OSError as error:
                self._failed(error)

    async def _keep_looking(self) -> None:
        """Look now and then, for as long as the store runs."""
        while True:
            await asyncio.sleep(self._settings.look_s)
            try:
                await self.look()
            except Exception:  # one look in a task that must go on: a bug here must not go unseen
                log.exception("the cache's folder was not looked at")

    async def _look_after(self, excess: Sequence[str], unproven: Sequence[str]) -> None:
        """Delete what a start found too much, a few at a time; then look at the files for as long as the store runs."""
        try:
            for first in range(0, len(excess), BATCH):
                names = [name for name in excess[first : first + BATCH] if name not in self._blobs]
                await self._folder.discard_blobs(names)
            await self.upkeep.run(unproven, lambda: list(self._blobs))
        except Exception:  # the root of a task: a bug here must not go unseen
            log.exception("the cache's files are not looked at any more")

    def _evicted(self, names: Sequence[str]) -> None:
        """Take note of blobs that left to make room."""
        self._on_evicted(len(names))
        self._evictions.note(len(names))
        self._served.gone(names)

    def _committed(self, writing: Writing, proof: Proof | None) -> None:
        """Serve a blob that is complete."""
        digest = Digest(writing.name)
        was_served = self._blobs.size(digest.hex) is not None
        self._served.add(digest, writing.size, proof, is_ours=writing.wanted_here())
        if not was_served:
            self._served.listener.appeared([digest.key])
        self._space.hold_bound()  # it may be the one that goes
        self._keeping.works()


def _read(
    folder: Folder, capacity_bytes: int, protected: Set[str], marks: MarkFiles
) -> tuple[dict[str, Left], list[str], list[Found]]:
    """What there is, in a thread: partial blobs, blobs that are too much, and the others, the protected ones last."""
    folder.ground.make()
    damaged = frozenset(marks.start())
    partials = folder.partials() if capacity_bytes else {}
    partials = {name: left for name, left in partials.items() if name not in damaged}
    order = dict.fromkeys(damaged, -1)
    found = sorted(
        folder.blobs(), key=lambda blob: (order.get(blob.name, blob.name in protected), blob.used_unix_s, blob.name)
    )
    left_bytes = capacity_bytes - sum(blob.size for blob in found)
    while partials and left_bytes < sum(left.reserved for left in partials.values()):
        partials.popitem()
    folder.remove_leftovers(partials, {blob.name for blob in found})
    too_many = 0
    while too_many < len(found) and (left_bytes < 0 or found[too_many].name in damaged):
        left_bytes += found[too_many].size
        too_many += 1
    return partials, [blob.name for blob in found[:too_many]], found[too_many:]
