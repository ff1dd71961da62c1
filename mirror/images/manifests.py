"""Manifests in memory: they are small, every client asks for them, and their bytes say their media type."""

import contextlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import WRONG_COPIES_MAX, Corrupt, ManifestUnknown, StorageFailed, WrongCopy
from ..fetch import Audience, Fetches, Reader
from ..oci.content import Content
from ..oci.descriptors import Named
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, outline_of
from ..settings import ImageSettings
from .holdings import Holdings
from .referrer_index import ReferrerIndex

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index, with the media type that its bytes name."""

    digest: Digest
    media_type: str
    body: bytes


class Manifests:
    """Gives manifests by digest; a bounded number of bytes stays in memory, and the least recently used goes first.

    Args:
        holdings: what this node's stores hold.
        fetches: fetches what they do not.
        note_named: takes note of what a verified manifest names.
        settings: bounds.
        index: takes note of what refers to others.
    """

    def __init__(
        self,
        holdings: Holdings,
        fetches: Fetches,
        note_named: Callable[[Sequence[Named]], None],
        settings: ImageSettings | None = None,
        index: ReferrerIndex | None = None,
    ) -> None:
        self._holdings = holdings
        self._fetches = fetches
        self._note_named = note_named
        self._index = index
        self._memory: OrderedDict[str, Manifest] = OrderedDict()
        self._memory_bytes = 0
        self._memory_max_bytes = (settings or ImageSettings()).manifest_memory_bytes

    async def held(self, digest: Digest, audience: Audience = Audience.MEMBER) -> Manifest | None:
        """A manifest that this node holds, or None. What a store gives is hashed, and dropped there if it is wrong.

        Args:
            digest: of the manifest.
            audience: for whom: what a client of this node asks for is kept longer than what members ask for.

        Raises:
            ManifestUnknown: it holds content of that digest, but that is no manifest.
            StorageFailed: it is here, but cannot be read now.
        """
        manifest = self._memory.get(digest.hex)
        if manifest is not None:
            self._memory.move_to_end(digest.hex)
            return manifest
        held = self._holdings.open(digest)
        if held is None:
            return None
        with held:
            if held.size > MANIFEST_MAX_BYTES:
                raise ManifestUnknown(f"{digest} has {held.size} bytes: it is no manifest")
            if audience is not Audience.MEMBER:
                held.note_use()
            try:
                body = await held.read()
            except Corrupt:
                return None
        if not digest.matches(body):  # not what was checked a moment ago
            await self._holdings.verify(digest)
            return None
        return await self._remember(digest, body)

    async def get(self, content: Content, audience: Audience = Audience.LOCAL) -> tuple[Manifest, bool]:
        """A manifest from this node or from elsewhere, and whether this node held it already.

        Args:
            content: the manifest, and the repository by which it is asked for.
            audience: for whom: a client of this node, or another member, which takes this node for its home.

        Raises:
            MirrorError: nobody has it, or what has that digest is no manifest.
        """
        try:
            manifest = await self.held(content.digest, audience)
        except StorageFailed as error:
            log.warning("%s is here, but is fetched from elsewhere: %s", content.digest, error)
            manifest = None
        if manifest is not None:
            return manifest, True
        wrong = 0
        while True:
            try:
                return await self._remember(content.digest, await self._fetch(content, audience)), False
            except WrongCopy as error:
                wrong += 1
                if wrong == WRONG_COPIES_MAX:
                    raise
                log.debug("%s is fetched again: %s", content.digest, error)

    def forget(self, digest: Digest) -> None:
        """Have it in memory no more."""
        if (manifest := self._memory.pop(digest.hex, None)) is not None:
            self._memory_bytes -= len(manifest.body)

    async def _fetch(self, content: Content, audience: Audience) -> bytes:
        if audience is Audience.MEMBER:
            with self._fetches.relay(content) as relay:
                return await _whole(relay.reader)
        with self._fetches.read(content) as reader:
            return await _whole(reader)

    async def _remember(self, digest: Digest, body: bytes) -> Manifest:
        outline = await outline_of(body)
        if outline is None:
            raise ManifestUnknown(f"{digest} is no manifest of a known type")
        if (known := self._memory.get(digest.hex)) is not None:  # somebody else asked for it at the same time
            return known
        self._note_named(outline.named)
        if self._index is not None:
            self._index.note(digest, len(body), outline)
        manifest = self._memory[digest.hex] = Manifest(digest, outline.media_type, body)
        self._memory_bytes += len(body)
        while self._memory_bytes > self._memory_max_bytes:
            self._memory_bytes -= len(self._memory.popitem(last=False)[1].body)
        return manifest


async def _whole(reader: Reader) -> bytes:
    """Read all of a manifest, once it is complete and right."""
    size = await reader.size()
    async with contextlib.aclosing(reader.extents(0, size)) as extents:
        async for _ in extents:
            pass
    await reader.completed()
    return os.pread(reader.fd, size, 0)
