"""The inventory: which images this node holds, and what of each. It reads manifests, and changes nothing.

An image is what a tag means, or a manifest that neither a tag means nor an index names: one that was pulled by digest.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..errors import Corrupt, StorageFailed
from ..oci.descriptors import Named
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, outline_of
from ..settings import ImageSettings
from ..stores import CacheContents, Held, Kept, Store
from .holdings import Holdings

log = logging.getLogger(__name__)

T = TypeVar("T")

_TURN: Final = 32
"""Blobs, or images, that are looked at in one turn of the event loop: within some milliseconds."""

_EMPTY_MAX_BYTES: Final = 2
"""Content of this size is the `{}` that artifacts name as their configuration: many have it, so it tells nothing of
when one of them was used."""


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image, as far as this node holds it.

    Args:
        reference: the tag; empty for an image that has none here.
        digest: of its manifest or index.
        bytes: of what this node holds of it; what several images share counts for each.
        held: of the blobs of one platform, how many are here.
        named: how many there are.
        used_unix_s: when a client of this node last asked for it, or else when it came, Unix time; 0 if only a runtime
            has it, whose uses nobody sees.
        stores: that have its manifest: the cache, and runtimes that have the tag.
        contents: all that is here of it, its manifests included.
    """

    reference: str
    digest: Digest
    bytes: int
    held: int
    named: int
    used_unix_s: float
    stores: tuple[str, ...]
    contents: frozenset[Digest]

    @property
    def is_whole(self) -> bool:
        """Whether nothing lacks."""
        return self.held >= self.named


@dataclass(frozen=True, slots=True)
class Survey:
    """What was here at one moment.

    Args:
        images: with a tag each, then those without.
        kept: the blobs of the cache, those that would be evicted first first.
    """

    images: Sequence[HeldImage]
    kept: Sequence[Kept]


class Inventory:
    """Surveys what this node holds.

    Args:
        stores: that know tags.
        contents: the cache's blobs.
        holdings: opens what the stores hold.
        settings: bounds.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        contents: CacheContents,
        holdings: Holdings,
        settings: ImageSettings | None = None,
    ) -> None:
        self._stores = stores
        self._contents = contents
        self._holdings = holdings
        self._settings = settings or ImageSettings()
        self._trees: OrderedDict[Digest, tuple[Named, ...] | None] = OrderedDict()
        """What manifests name; None for content that is none. A digest never means something else."""
        self._turn = asyncio.Lock()
        self._last: tuple[float, Survey] | None = None

    async def survey(self, *, now: bool = False) -> Survey:
        """Look through all that is here; one look serves all who ask within a moment, unless it has to be of now."""
        async with self._turn:
            if not now and self._last is not None and time.monotonic() - self._last[0] < self._settings.survey_s:
                return self._last[1]
            survey = await self._survey()
            self._last = time.monotonic(), survey
            return survey

    def changed(self) -> None:
        """Look anew when somebody asks the next time: something was deleted."""
        self._last = None

    async def _survey(self) -> Survey:
        kept = await self._contents.kept()
        by_digest = {it.digest: it for it in kept}
        tagged: dict[tuple[str, Digest], list[str]] = {}
        for store in self._stores:
            for reference in list(store.references()):
                if (tag := store.tag(reference)) is not None and self._holdings.has(tag.digest):
                    names = tagged.setdefault((str(reference), tag.digest), [])
                    names += [store.name] if tag.authority == "runtime" else []
        manifests = {}
        async for it in _in_turns(kept):
            if (tree := await self._tree(it.digest, it.size)) is not None:
                manifests[it.digest] = tree
        spoken_for = {digest for _, digest in tagged} | {child.digest for tree in manifests.values() for child in tree}
        roots: dict[tuple[str, Digest], list[str]] = dict(sorted(tagged.items(), key=lambda item: item[0][0]))
        roots.update({("", digest): [] for digest in manifests if digest not in spoken_for})
        images = []
        async for (name, digest), stores in _in_turns(roots.items()):
            where = (*(["cache"] if digest in by_digest else []), *stores)
            images.append(await self._image(name, digest, where, by_digest))
        return Survey(images, kept)

    async def _image(
        self, reference: str, digest: Digest, stores: tuple[str, ...], kept: Mapping[Digest, Kept]
    ) -> HeldImage:
        """One image. Of an index those manifests count that are here, as for a node one platform is enough."""
        sizes, used = {digest: _size_of(digest, kept)}, [digest]
        children = await self._tree(digest) or ()
        parts = self._holdings.parts_of(children)
        largest = -1
        for manifest in (it for it in children if it.is_manifest and self._holdings.has(it.digest)):
            blobs = await self._tree(manifest.digest, manifest.size) or ()
            sizes |= {it.digest: it.size for it in (manifest, *blobs)}
            used += [manifest.digest, *_telling(blobs)]
            if (bytes_named := sum(it.size for it in blobs)) > largest:
                largest = bytes_named
                parts = self._holdings.parts_of(blobs)
        sizes |= {it.digest: it.size for it in children if not it.is_manifest}
        used += _telling(children)
        contents = frozenset(it for it in sizes if self._holdings.has(it))
        used_unix_s = max((kept[it].used_unix_s for it in used if it in kept), default=0.0)
        count = sum(sizes[it] for it in contents)
        return HeldImage(reference, digest, count, parts.held, parts.named, used_unix_s, stores, contents)

    async def _tree(self, digest: Digest, size: int = 0) -> tuple[Named, ...] | None:
        """What a manifest that is here names; None if it is none, or cannot be read. Reading it counts as no use."""
        if digest in self._trees:
            self._trees.move_to_end(digest)
            return self._trees[digest]
        if size > MANIFEST_MAX_BYTES:
            return None
        try:
            held = self._contents.peek(digest) or self._holdings.open(digest)
            if held is None:
                return None
            with held:
                tree = await _read(held)
        except (StorageFailed, Corrupt) as error:
            log.debug("%s is not looked at: %s", digest, error)
            return None
        self._trees[digest] = tree
        while len(self._trees) > self._settings.trees_max:
            self._trees.popitem(last=False)
        return tree


async def _in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """All items, some in each turn of the event loop."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _TURN == 0:
            await asyncio.sleep(0)


async def _read(held: Held) -> tuple[Named, ...] | None:
    """What a manifest names; None if it is none. Most content shows that by its first byte."""
    if not 0 < held.size <= MANIFEST_MAX_BYTES or os.pread(held.fd, 1, 0) not in (b"{", b" ", b"\n", b"\t", b"\r"):
        return None
    outline = await outline_of(await held.read())
    return None if outline is None else outline.named


def _telling(named: Iterable[Named]) -> list[Digest]:
    """The configurations, which clients ask for with each pull, and which no two images share."""
    return [it.digest for it in named if it.place == "config" and it.size > _EMPTY_MAX_BYTES]


def _size_of(digest: Digest, kept: Mapping[Digest, Kept]) -> int:
    """The size of a blob in the cache, in bytes; 0 for a manifest that only a runtime has: they are small."""
    return kept[digest].size if digest in kept else 0
