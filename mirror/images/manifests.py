"""Manifests in memory: they are small, asked for by everybody, and their media type has to be read from their bytes."""

import contextlib
import os
from collections import OrderedDict
from dataclasses import dataclass

from ..errors import ManifestUnknown
from ..fetch import Fetcher
from ..fetch.spool.spool import Spool
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, media_type
from .holdings import Holdings

_MEMORY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index, with the media type that its bytes show."""

    digest: Digest
    media_type: str
    body: bytes


class Manifests:
    """Gives manifests by digest; a bounded number stays in memory, least recently used first out.

    Args:
        holdings: what this node's stores hold.
        fetcher: brings what they do not.
    """

    def __init__(self, holdings: Holdings, fetcher: Fetcher) -> None:
        self._holdings = holdings
        self._fetcher = fetcher
        self._memory: OrderedDict[str, Manifest] = OrderedDict()
        self._memory_bytes = 0

    def held(self, digest: Digest) -> Manifest | None:
        """A manifest that this node holds, or None.

        Raises:
            ManifestUnknown: it holds content of that digest, but it is no manifest.
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
            return self._remember(digest, os.pread(held.fd, held.size, 0))

    async def get(self, content: Content, *, relayed: bool = False) -> tuple[Manifest, bool]:
        """A manifest from wherever it is, and whether this node held it.

        Args:
            content: which.
            relayed: whether another member asks, as of its home.

        Raises:
            MirrorError: nobody has it, or what has that digest is no manifest.
        """
        manifest = self.held(content.digest)
        if manifest is not None:
            return manifest, True
        if relayed:
            with self._fetcher.relaying(content) as fetch:
                body = await self._whole(fetch.spool, relayed=True)
        else:
            with self._fetcher.reading(content) as spool:
                body = await self._whole(spool)
        return self._remember(content.digest, body), False

    @staticmethod
    async def _whole(spool: Spool, *, relayed: bool = False) -> bytes:
        """Read all of it once it is complete and right."""
        size = await spool.known_size(relayed=relayed)
        reading = spool.extents(0, size, relayed=relayed)
        async with contextlib.aclosing(reading):
            async for _ in reading:
                pass
        await spool.completed()
        return os.pread(spool.fd, size, 0)

    def _remember(self, digest: Digest, body: bytes) -> Manifest:
        if (known := self._memory.get(digest.hex)) is not None:  # others asked for it at the same time
            return known
        kind = media_type(body)
        if kind is None:
            raise ManifestUnknown(f"{digest} is no manifest of a known type")
        manifest = self._memory[digest.hex] = Manifest(digest, kind, body)
        self._memory_bytes += len(body)
        while self._memory_bytes > _MEMORY_BYTES:
            self._memory_bytes -= len(self._memory.popitem(last=False)[1].body)
        return manifest
