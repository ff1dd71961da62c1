"""The spool: a blob that is still arriving, and everybody who reads it meanwhile.

Bytes are written where they belong, in any order. Readers follow the contiguous bytes from where they are, whenever
they join. The hash runs along the front, in a thread. A client gets the last piece only when the digest is right: it
sees a short read, never a complete corrupt blob. Other members get every byte as it comes, for they check the whole
themselves.

One fetch tells a spool what happens (`open`, `arrived`, `retract`, `finish`, `fail`); many readers follow it, each with
a handle from `join`. All of it runs on one event loop, but for `put`, which threads call.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...errors import MirrorError
from ...oci.content import Content
from ...oci.digest import Digest
from ...oci.ranges import RangeSet
from ...settings import SpoolSettings
from ..demand import Audience, Demand
from ..vouching import Senders, Vouching
from .arrival import Arrival, Arriving, Complete, Failed
from .backing import Backing
from .hasher import Hasher
from .interest import Interest
from .reader import Reader
from .readers import Readers

if TYPE_CHECKING:
    import asyncio


class Spool:
    """One arriving blob.

    Args:
        content: what is arriving; its digest is what the bytes must hash to.
        settings: bounds and steps.
        on_change: called whenever readers, or the hash, have moved on so that other bytes may be needed.
        senders: says who had a part in which bytes.
    """

    def __init__(
        self, content: Content, settings: SpoolSettings, on_change: Callable[[], None], senders: Senders
    ) -> None:
        self.content = content
        self.size: int | None = None
        """In bytes; None until `open`."""
        self.hasher = hasher = Hasher(settings, content.digest.algorithm)
        """Hashes what has arrived; it has the proof when all of it was hashed."""

        def moved() -> None:
            hasher.wake()  # in memory it waits for readers, as they wait for it
            on_change()

        self.readers = Readers(moved)
        """Everybody who has joined."""
        self.idle: asyncio.Event = self.readers.idle
        """Set while nobody reads."""
        self.interest = Interest(self.readers.note_move)
        """What anybody has wanted of it so far."""
        self.is_trimmed = False
        """Whether bytes were dropped: whoever starts at byte 0 now may get others than those that were hashed."""
        self._hashed = RangeSet()
        """Bytes that are as they were hashed; those that were dropped since, and came once more, are not among them."""
        self._arrival = Arrival()
        self.present: RangeSet = self._arrival.present
        """Bytes that are in the file."""
        self.vouching = Vouching(senders, self.readers.wake_at)
        """Says which bytes clients of this node may have by now."""

    # What readers see.

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come, and their digest is right."""
        return self._arrival.is_complete

    @property
    def is_over(self) -> bool:
        """Whether no more bytes come: it is complete and nobody needs dropped ones any more, or it never will be."""
        match self._arrival.state:
            case Arriving():
                return False
            case Complete(error=error):
                return error is not None or not self.is_trimmed
            case Failed():
                return True

    def told_size(self, audience: Audience) -> int | None:
        """The size in bytes, if an audience may know it: a client, only if more than one member's word says so."""
        is_told = audience is Audience.MEMBER or self._arrival.is_size_confirmed or self.is_complete
        return self.size if is_told else None

    @property
    def backing(self) -> Backing | None:
        """Where the bytes go; None until the size is known."""
        return self._arrival.backing

    def join(self, audience: Audience, hint: tuple[int, int] | None = None) -> Reader:
        """Let somebody read; the caller closes the handle.

        Args:
            audience: for whom.
            hint: the range that another member, or a lazy reader, wants first; while the size is not known, that of the
                first of each counts.
        """
        self.interest.note(audience, None if self.readers.joined(audience) else hint)
        return Reader(self.content, audience, self._arrival, self.readers, self.hasher, self.vouching)

    def demand(self) -> Demand:
        """What readers need, what of it is present, and where readers on this node wait."""
        backing = self._arrival.backing
        local, members = (self.readers.spans(audience) for audience in (Audience.LOCAL, Audience.MEMBER))
        if backing is None:
            return self.interest.first_demand(self.readers.joined)
        lazy = self.readers.lazy_spans()
        if self.interest.do_ranges_need_whole or (self.interest.is_whole_wanted and backing.holds_all):
            local += lazy
        waiting = [cursor for cursor in self.readers.waiting() if cursor.audience is Audience.LOCAL]
        waits_for_hash = any(cursor.start == 0 for cursor in waiting)  # in memory: see `Reader`
        is_awaited = self.readers.is_whole_awaited(Audience.LOCAL) or self.readers.is_whole_awaited(Audience.LAZY)
        if is_awaited or waits_for_hash:
            local.append((self.hasher.next, backing.size))
        if self.readers.is_whole_awaited(Audience.MEMBER):
            members.append((self.hasher.next, backing.size))
        return Demand(
            backing.local_demand(local, self.hasher.position, is_whole_wanted=self.interest.is_whole_wanted),
            backing.member_demand(members, len(local)),
            self.present,
            sorted({cursor.position for cursor in waiting}),
            backing.lazy_demand(lazy),
        )

    # What the fetch tells.

    def open(self, backing: Backing, *, is_size_confirmed: bool = True) -> None:
        """Take the file that the bytes go to, and with it the size; the spool closes it.

        If an earlier fetch left bytes in the file, call `resume` at once, before anything is awaited.

        Args:
            backing: the file.
            is_size_confirmed: whether clients of this node may know the size before the digest is right.
        """
        self.size = backing.size
        self.vouching.sized(backing.size)
        self._arrival.open(backing, is_size_confirmed=is_size_confirmed)

    def put(self, offset: int, part: bytes | memoryview) -> list[tuple[int, int]]:
        """Write those bytes that are not here yet; the result goes to `arrived`. See `Backing.put`."""
        return self._arrival.file.put(offset, part)

    def arrived(self, start: int, stop: int) -> None:
        """Note that bytes are in the file: readers can have them."""
        self.present.add(start, stop)
        self._trim()
        self.readers.wake_at(start, stop)
        self.hasher.arrived(start, stop)

    async def wait_for_space(self, position: int) -> None:
        """Wait, where only a part can be held, until bytes at or after `position` are what readers need next.

        A source may send more than is needed now. It is held up here, rather than asked for the same bytes twice.
        """
        while self._arrival.file.is_in_memory:
            demand = self.demand()
            if any(position < stop for _, stop in demand.needed):
                return
            await self.readers.moved()

    def retract(self, start: int, stop: int) -> None:
        """Take bytes back that may be wrong: they have to be written again, and hashed again if they were hashed."""
        self.present.remove(start, stop)
        self._arrival.file.release(start, stop)
        self.vouching.retracted(start, stop)
        self.hasher.retract(start, stop)

    def refuse_members(self, ranges: RangeSet, error: MirrorError | None) -> None:
        """Let other members that wait for some bytes fail: they are to ask elsewhere, for the bytes do not come here.

        If they waited on while this node asks others for its own readers, those others might wait for it in turn.

        Args:
            ranges: which bytes.
            error: what they are told; None if they may wait.
        """
        if self.size is None:
            self._arrival.refuse_members(error)
        if error is not None:
            self.readers.refuse_members(ranges, error)

    def finish(self) -> None:
        """The digest is right: readers may have all that was hashed, and what was retracted too late."""
        for start, stop in self._arrival.file.verified():
            self.present.add(start, stop)
        for start, stop in self._hashed if self.is_trimmed else RangeSet((0, self._arrival.file.size)):
            self.vouching.release(start, stop)
        self._arrival.become(Complete())
        self.readers.wake_all()

    def fail(self, error: MirrorError) -> None:
        """No more bytes come: every reader gets the error once it has read what is present."""
        self._arrival.become(Complete(error) if self.is_complete else Failed(error))
        self.readers.wake_all()

    def close(self) -> None:
        """Close the file, when the fetch has ended and nobody reads."""
        if self._arrival.backing is not None:
            self._arrival.backing.close()

    # Hashing.

    async def resume(self, prefixes: Sequence[bytes]) -> int:
        """Take over what an earlier fetch left in the file, as far as hashing proves it; see `Hasher.resume`.

        Returns:
            The end of what is right.
        """
        backing = self._arrival.file
        good = await self.hasher.resume(backing, prefixes)
        if good:
            backing.claim(0, good)
            self.arrived(0, good)
            for number in range(good // backing.piece_bytes):
                self.vouching.hashed((number + 1) * backing.piece_bytes, prefixes[number])
        return good

    async def hash(self, on_prefix: Callable[[bytes], None] | None = None) -> Digest:
        """Follow the front to the end, once the size is known; return the digest of the whole.

        Args:
            on_prefix: called with the sha256 of everything up to the end of each piece, in order, without the pieces
                that `resume` took over.
        """
        backing = await self._arrival.opened(Audience.LOCAL)

        def limit(position: int) -> int:
            spans = self.readers.spans(Audience.LOCAL)
            ahead = backing.lookahead(len(spans))
            return min([self.present.front(position), *(reader + ahead for reader, _ in spans)])

        async with contextlib.aclosing(self.hasher.run(backing, limit)) as steps:
            async for prefixes in steps:
                self._hashed |= self.hasher.reading
                first = self.hasher.position // backing.piece_bytes - len(prefixes)
                for number, prefix in enumerate(prefixes, first):
                    self.vouching.hashed((number + 1) * backing.piece_bytes, prefix)
                    if on_prefix is not None:
                        on_prefix(prefix)
                if backing.is_in_memory:  # readers may go further now, other bytes be dropped, and more be fetched
                    self._trim()
                    self.readers.note_move()
                    self.readers.wake_all()
        return self.hasher.digest

    async def hash_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The sha256 of each of some ranges, as they are in the file now."""
        return await self.hasher.hash_ranges(self._arrival.file, ranges)

    def _trim(self) -> None:
        """Keep the bound of what is held."""

        def needed() -> RangeSet:
            return self.demand().needed | self.hasher.reading

        for start, stop in self._arrival.file.trim(self.present, needed):
            self.present.remove(start, stop)
            self._hashed.remove(start, stop)
            self.vouching.forget(start, stop)
            self.is_trimmed = True
