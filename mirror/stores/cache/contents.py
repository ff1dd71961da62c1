"""Contents: what the operator sees of the cache, and deletes by hand. Looking changes nothing about what goes first."""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence

from ...oci.digest import Digest
from ...oci.reference import Reference
from .. import Held, Kept, Tag
from .blobs import Blobs
from .folder import Folder
from .served import Served
from .space import BATCH
from .tags import TagFiles


class Contents:
    """The complete blobs and the tags of one cache: the `CacheContents` of an operator.

    Args:
        folder: where the files are.
        blobs: which there are.
        served: opens and deletes them.
        tags: what tags mean.
    """

    def __init__(self, folder: Folder, blobs: Blobs, served: Served, tags: TagFiles) -> None:
        self._folder = folder
        self._blobs = blobs
        self._served = served
        self._tags = tags

    async def kept(self) -> list[Kept]:
        """Every complete blob, those that would be evicted first first."""
        names = list(self._blobs)
        came = await asyncio.to_thread(_came_unix_s, self._folder, names)
        rows: list[Kept] = []
        for number, name in enumerate(names, 1):
            size = self._blobs.size_on_disk(name)
            if size is not None:
                used_unix_s = self._blobs.used_unix_s(name) or came.get(name, 0.0)
                rows.append(Kept(Digest(name), size, used_unix_s, self._served.is_read(name)))
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return rows

    def peek(self, digest: Digest) -> Held | None:
        """Open a blob without counting that as a use of it; raise StorageFailed as `Store.open` does."""
        return self._served.open(digest, is_use=False)

    async def delete(self, digests: Iterable[Digest]) -> list[Digest]:
        """Delete blobs, some in each turn of the event loop; return those that were here, when their bytes are free."""
        here = [digest for digest in digests if digest.hex in self._blobs]
        for first in range(0, len(here), BATCH):
            names = [digest.hex for digest in here[first : first + BATCH]]
            await asyncio.shield(self._served.drop([name for name in names if name in self._blobs]))
        return here

    async def forget(self, reference: Reference) -> Tag | None:
        """Forget what a tag means; return what that was."""
        return await self._tags.forget(reference, self._served.listener)


def _came_unix_s(folder: Folder, names: Sequence[str]) -> Mapping[str, float]:
    """When the files of blobs were written, Unix time, in a thread."""
    came = {}
    for name in names:
        with contextlib.suppress(OSError):
            came[name] = os.stat(folder.blob_path(name)).st_mtime
    return came
