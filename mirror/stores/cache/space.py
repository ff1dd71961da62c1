"""Space: the bound of the cache. Blobs go to make room for bytes that arrive, a few in each turn of the event loop.

Nothing goes for a size that somebody states: room is made one step ahead of the bytes. What only other members ask of
this node takes what is free and what is spare. Of what no client of this node used lately it takes the place up to a
bound, and of nothing else.

A disk may be full before the bound is reached. Then blobs go as well, but not for one that will not fit whatever goes,
and not if their going makes no room: a snapshot holds their bytes, or others fill the disk as fast.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import StorageFull
from .blobs import Blobs
from .folder import Folder
from .keeping import Keeping
from .partials import Partials, Writing

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Blobs that go in one turn of the event loop, and that are deleted in one turn of a thread."""


_ENOUGH: Final = 4
"""If so many times the bytes that were missing have gone and the disk is still full, more would be of no use."""

_LITTLE_BYTES: Final = 64 * 1024 * 1024
"""With less on the disk than this for all its blobs, in bytes, a cache keeps hardly a layer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a cache may hold.

    Args:
        capacity_bytes: the bound on complete and partial blobs together.
        others_bytes: up to so many bytes of what only other members asked for, blobs that are ours give way to it.
    """

    capacity_bytes: int
    others_bytes: int


class Space:
    """Makes room.

    Args:
        bounds: what the cache may hold.
        folder: where the files are.
        blobs: the complete blobs.
        partials: the partial ones.
        keeping: is told when the disk is full.
        on_evicted: called with the names of complete blobs that were served, and are gone.
    """

    def __init__(
        self,
        bounds: Bounds,
        folder: Folder,
        blobs: Blobs,
        partials: Partials,
        keeping: Keeping,
        on_evicted: Callable[[Sequence[str]], None],
    ) -> None:
        self._bounds = bounds
        self._folder = folder
        self._blobs = blobs
        self._partials = partials
        self._keeping = keeping
        self._on_evicted = on_evicted

    @property
    def used_bytes(self) -> int:
        """Bytes of complete and partial blobs."""
        return self._blobs.bytes + self._partials.bytes

    def admit(self, writing: Writing, free_bytes: int) -> None:
        """Refuse a blob that could not be held whatever went. Nothing goes for it yet.

        Args:
            writing: the blob, counted among the partial ones already.
            free_bytes: free on the disk.

        Raises:
            StorageFull: it does not fit.
        """
        partials, size = self._partials, writing.size
        if not writing.wanted_here():
            free = self._bounds.capacity_bytes - partials.claimed_bytes - self._blobs.bytes + self._blobs.spare_bytes
            if size > max(free, self._bounds.others_bytes):
                raise StorageFull(
                    f"{size:,} bytes for other members would exceed their part, {self._bounds.others_bytes:,}"
                )
            return
        protected = self._blobs.protected_bytes
        if partials.claimed_bytes + partials.bytes_for_others + protected > self._bounds.capacity_bytes:
            pinned = f" and {protected:,} that are pinned" if protected else ""
            raise StorageFull(
                f"{size:,} bytes more, with what is arriving{pinned}, would exceed cache-size "
                f"{self._bounds.capacity_bytes:,}"
            )
        if partials.bytes_to_come > free_bytes + self._blobs.bytes - protected + partials.left_bytes:
            self.look(free_bytes)
            raise StorageFull(f"{size:,} bytes more, with what is arriving: {os.strerror(errno.ENOSPC)}")

    async def reserve(self, writing: Writing, count: int) -> None:
        """Count some bytes of a blob in, and let others go for them; return when these are gone from the disk.

        Raises:
            StorageFull: nothing more may go.
        """
        count = max(0, min(count, writing.size - writing.reserved))
        writing.reserved += count
        freed: list[asyncio.Future[None]] = []
        try:
            self._expect_room_beside_ours(writing)
            while self._is_over():
                freed.append(self._evict(for_others=not writing.wanted_here()))
                await asyncio.sleep(0)
        except BaseException:
            writing.reserved -= count
            raise
        await asyncio.gather(*map(asyncio.shield, freed))  # who waits may go; what goes from the disk must not stay

    async def make_way(self, writing: Writing, missing: int, free_bytes: int, gone: int) -> int:
        """Let something go although the bound holds, because the disk is full; return when it is gone from the disk.

        Args:
            writing: the blob that the disk does not take.
            missing: bytes of it that the disk does not take now, counted in already.
            free_bytes: free on the disk, at most.
            gone: bytes that have gone for these so far.

        Returns:
            The bytes that have gone for these by now.

        Raises:
            StorageFull: nothing more may go, or it would be of no use.
        """
        blobs, is_ours = self._blobs, writing.wanted_here()
        may_go = blobs.bytes if is_ours else min(blobs.bytes, blobs.spare_bytes + self._bounds.others_bytes)
        may_go += self._partials.left_bytes
        to_come = writing.size - writing.reserved + missing
        if gone >= _ENOUGH * missing:
            self._keeping.failed("the disk is full, and what goes from the cache makes no room")
            raise StorageFull("no space is left, and what went made no room")
        if to_come > may_go + free_bytes:
            self.look(free_bytes)
            raise StorageFull(f"no space is left, and {to_come:,} bytes more would not fit whatever went")
        before = self.used_bytes
        try:
            freed = self._evict(for_others=not is_ours, at_least=missing)
        except StorageFull:
            if is_ours:
                self._keeping.failed("the disk is full, and nothing in the cache may go")
            raise
        gone += before - self.used_bytes
        await asyncio.shield(freed)
        return gone

    def look(self, free_bytes: int) -> bool:
        """Tell `keeping` if the disk has next to nothing for the cache; return whether it has more.

        Args:
            free_bytes: free on the disk.
        """
        there = free_bytes + self._blobs.bytes + self._partials.bytes
        if there < min(_LITTLE_BYTES, self._bounds.capacity_bytes // 4):
            self._keeping.failed(f"the disk is full: {there >> 20} MiB are left for the cache")
            return False
        return True

    def hold_bound(self) -> None:
        """Let blobs go until the bound holds, after one has become complete; few, for its bytes were reserved."""
        with contextlib.suppress(StorageFull):
            while self._is_over():
                self._evict(for_others=False)

    def _expect_room_beside_ours(self, writing: Writing) -> None:
        """Refuse what other members alone ask for, where what clients of this node wait for needs the space."""
        others, ours = self._partials.bytes_for_others, self._partials.claimed_bytes
        if not writing.wanted_here() and others + ours > self._bounds.capacity_bytes:
            raise StorageFull("what other members ask for leaves no space for what this node needs")

    def _evict(self, *, for_others: bool, at_least: int = 0) -> asyncio.Future[None]:
        """Drop what goes first, some at once, until the bound holds and at least so many bytes have gone.

        Returns:
            Is done when they are gone from the disk.

        Raises:
            StorageFull: nothing may go.
        """
        if self._partials.any_left:
            return self._partials.evict()
        names: list[str] = []
        served: list[str] = []
        enough = self.used_bytes - at_least
        while len(names) < BATCH and (self.used_bytes > enough or self._is_over()):
            others = self._partials.bytes_for_others + self._blobs.spare_bytes
            name = self._blobs.first_to_go(
                for_others=for_others, spare_only=for_others and others > self._bounds.others_bytes
            )
            if name is None:
                break
            if self._blobs.why_withheld(name) is None:
                served.append(name)
            self._blobs.remove(name)
            names.append(name)
        if not names:
            raise StorageFull(f"no space is left, and nothing more may go: cache-size is {self._bounds.capacity_bytes}")
        log.debug("evicting %d blobs", len(names))
        self._on_evicted(served)
        return self._folder.discard_blobs(names)

    def _is_over(self) -> bool:
        return self.used_bytes > self._bounds.capacity_bytes
