"""The spool: a blob that is still arriving, and everybody who reads it meanwhile.

Bytes are written where they belong, in any order. Readers follow the contiguous bytes from where they are, however many
they are and whenever they came. sha256 runs along the front, in a thread. A client gets the last piece only when the
digest is right: it sees a short read, never a complete corrupt blob. Other members get every byte as it comes, for they
check the whole themselves.

The file is the cache's, or, where that has no room, one in memory that holds a bounded part: what nobody needs any more
is let go, and brought again should somebody come back to it.

A spool is told (`begin`, `arrived`, `doubt`, `finish`, `fail`) by one fetch, and asked (`known_size`, `extents`) by
many readers, all on one event loop. Only `put` is called in threads.
"""

import asyncio
import hashlib
import mmap
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from ...cluster.homes import piece_size
from ...errors import MirrorError, NoRoom, Reason, SourceError
from ...fileio import in_thread, write_all
from ...oci.content import Content
from ...oci.ranges import RangeSet

_HASH_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_WINDOW_PIECES = 8
WINDOW_BYTES = 32 * 1024 * 1024
"""What a spool in memory holds, or eight pieces where that is more."""


@dataclass(slots=True, eq=False)
class Reader:
    """Somebody who follows a part of the blob.

    Args:
        position: what comes next.
        stop: end of what is wanted.
        relayed: whether it is another member, which asks this node as a home.
        waiting: whether it waits for what comes next.
        turn: set when that is there, or nothing will come.
        refusal: why what comes next will not come to it, but may to others.
        start: where it began.
        reached: end of what it was given last, and may be reading still.
        misled: whether something that it was given turned out wrong.
    """

    position: int
    stop: int
    relayed: bool
    waiting: bool = False
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: MirrorError | None = None
    start: int = field(init=False)
    reached: int = field(init=False)
    misled: bool = False

    def __post_init__(self) -> None:
        self.start = self.reached = self.position


class Spool:
    """One arriving blob.

    Args:
        content: what is arriving; its digest is what the bytes must hash to.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        self.size: int | None = None
        self.complete = False
        self.own, self.relayed = 0, 0
        """How many have joined: on this node, and on others."""
        self.wanted = False
        """Whether anybody on this node ever joined, so that all of it is to come."""
        self.hint = (0, 1)
        """What other members are going to ask for, while the size is not known."""
        self.idle = asyncio.Event()
        """Set while nobody reads."""
        self.idle.set()
        self.present = RangeSet()
        self._claimed = RangeSet()
        self._claiming = threading.Lock()
        self.trimmed = False
        """Whether something was let go, so that who begins anew cannot be told by this spool's hash what is right."""
        self._fd = -1
        self._failure: MirrorError | None = None
        self._refusal: MirrorError | None = None
        self._news = asyncio.Event()
        self._turn = asyncio.Event()
        self._readers: set[Reader] = set()
        self._hashed = 0
        self._hashing = RangeSet()
        self._hash_anew = False
        self._prefix: tuple[int, hashlib._Hash] | None = None
        self._memory: mmap.mmap | None = None
        self._moved = asyncio.Event()
        self._watcher: Callable[[], None] = lambda: None

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have the fetch called whenever readers come, go or move on."""
        self._watcher = on_change

    def begin(self, fd: int, size: int, *, bounded: bool = False) -> None:
        """Take the file that the bytes go to, open for reading and writing; the spool closes it.

        Args:
            fd: the file.
            size: of the blob, in bytes.
            bounded: whether it is one in memory of which only a part may be filled.
        """
        self._fd, self.size = fd, size
        if bounded and size:
            self._memory = mmap.mmap(fd, size)
        self._change()

    def put(self, offset: int, part: bytes) -> list[tuple[int, int]]:
        """Write what is not here, nor being written already, to its place. Blocks; in any thread.

        No byte is written twice, unless it has been taken back in between: what was hashed, or given to a reader, stays
        as it is, whoever else brings the same once more.

        Returns:
            The ranges that were written; `arrived` is to be told of them.

        Raises:
            NoRoom: the disk does not take it.
        """
        with self._claiming:
            fresh = list(RangeSet((offset, offset + len(part))) - self._claimed)
            self._claimed.add(offset, offset + len(part))
        view = memoryview(part)
        try:
            for start, stop in fresh:
                write_all(self._fd, view[start - offset : stop - offset], start)
        except OSError as error:
            raise NoRoom(f"the cache's disk failed: {error.strerror}") from error
        return fresh

    def arrived(self, start: int, stop: int) -> None:
        """Note that bytes are in the file: readers can have them."""
        self.present.add(start, stop)
        self._trim()
        for reader in self._readers:
            if start <= reader.position < stop:
                reader.turn.set()
        if start < self._hashed + _HASH_BYTES and self._hashed < stop:
            self._turn.set()

    async def room(self, position: int) -> None:
        """Wait, where only a part can be held, until what begins at `position` is part of what readers need next.

        Upstream may send more than was wanted of it. It is held up here, rather than asked for the same once more.
        """
        while self.bounded and not any(position < stop for _, stop in self.own_wants() | self.relayed_wants()):
            self._moved.clear()
            await self._moved.wait()

    async def resume(self, prefixes: Sequence[bytes]) -> int:
        """Take over what an earlier fetch left in the file, as far as it can be shown to be what that had written.

        Args:
            prefixes: for each piece, in order, the sha256 of everything up to its end.

        Returns:
            The end of what is good.
        """
        assert self.size is not None
        unit, sha256, good = piece_size(self.size), hashlib.sha256(), 0
        for number, expected in enumerate(prefixes):
            stop = min((number + 1) * unit, self.size)
            further = sha256.copy()
            await in_thread(_hash_range, further, self._fd, good, stop)
            if further.digest() != expected:
                break
            sha256, good = further, stop
        self._prefix = good, sha256
        if good:
            self._claimed.add(0, good)
            self.arrived(0, good)
        return good

    async def hash(self, passed: Callable[[bytes], None] | None = None) -> str:
        """Follow the front to the end; return the hexadecimal sha256 of the whole.

        Args:
            passed: is told the sha256 of everything up to the end of each piece, in order, those that `resume` took
                over left out.
        """
        size = await self.known_size()
        unit = piece_size(size)
        self._hashed, sha256 = self._prefix or (0, hashlib.sha256())
        self._prefix, self._hash_anew = None, False
        while self._hash_anew or self._hashed < size:
            if self._hash_anew:
                self._hash_anew, self._hashed, sha256 = False, 0, hashlib.sha256()
                self._on_change()
            stop = self._hash_stop()
            least = _BLOCK_BYTES if self.bounded else _HASH_BYTES  # a thread is worth no less; readers may have to wait
            if stop >= min(self._hashed + least, size):
                self._hashing = RangeSet((self._hashed, stop))
                prefixes = await in_thread(_hash_pieces, sha256, self._fd, self._hashed, stop, unit)
                self._hashed = stop
                if passed is not None and not self._hash_anew:
                    for prefix in prefixes:
                        passed(prefix)
                if self.bounded:
                    self._trim()
                    self._on_change()
                    for reader in self._readers:
                        reader.turn.set()
            else:
                self._turn.clear()
                await self._turn.wait()
        return sha256.hexdigest()

    async def hash_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The sha256 of each of some ranges, as they are in the file now."""

        def work() -> list[bytes]:
            digests = []
            for start, stop in ranges:
                sha256 = hashlib.sha256()
                _hash_range(sha256, self._fd, start, stop)
                digests.append(sha256.digest())
            return digests

        return await in_thread(work)

    def doubt(self, start: int, stop: int) -> None:
        """Take bytes back that may be wrong: they are to be written once more, and hashed again if they were."""
        self._release(start, stop)
        self._prefix = None
        if start < self._hashed or self._hashing & RangeSet((start, stop)):
            self._hash_anew = True
            self._turn.set()

    def replaced(self, start: int, stop: int) -> None:
        """Bytes turned out wrong and were replaced: whoever has already read them is let go with a short read."""
        for reader in self._readers:
            reader.misled |= start < reader.reached and reader.start < stop
        self._change()

    def finish(self) -> None:
        """The digest is right: the last piece may go too, and what came into doubt too late."""
        self.complete = True
        if self.size and not self.bounded:
            self.present.add(0, self.size)
        self._change()

    def turn_away(self, ranges: RangeSet, refusal: MirrorError) -> None:
        """Other members that wait for some bytes get a failure: they are to ask elsewhere, for they do not come here.

        Were they let wait while this node asks others for its own readers, those might be waiting for it in turn.
        """
        if self.size is None:
            self._refusal = refusal
        for reader in self._readers:
            if reader.relayed and ranges.covers(reader.position, reader.position + 1):
                reader.refusal = refusal
        self._change()

    def fail(self, failure: MirrorError) -> None:
        """It will not be complete: every reader gets the failure once it has read what it can."""
        self._failure = failure
        self._change()

    @property
    def over(self) -> bool:
        """Whether it is complete, or never will be."""
        return self.complete or self._failure is not None

    def close(self) -> None:
        """Give the file back, when the fetch has ended and nobody reads."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def join(self, *, relayed: bool = False) -> None:
        """Count a reader in, so that the fetch goes on and the file stays open."""
        if relayed:
            self.relayed += 1
        else:
            self.own += 1
            self.wanted = True
        self.idle.clear()
        self._on_change()

    def leave(self, *, relayed: bool = False) -> None:
        """Count a reader out."""
        if relayed:
            self.relayed -= 1
        else:
            self.own -= 1
        if not self.readers:
            self.idle.set()

    @property
    def readers(self) -> int:
        """How many have joined."""
        return self.own + self.relayed

    @property
    def bounded(self) -> bool:
        """Whether only a part of it is held, in memory."""
        return self._memory is not None

    @property
    def fd(self) -> int:
        """The file, for a reader that has joined."""
        return self._fd

    # What is to be brought.

    def own_wants(self) -> RangeSet:
        """What readers on this node need: all of it, or where little can be held, what is next."""
        if self.size is None:
            return RangeSet((0, 1)) if self.own else RangeSet()
        if not self.bounded:
            return RangeSet((0, self.size)) if self.wanted else RangeSet()
        own = [reader for reader in self._readers if not reader.relayed]
        needed = [(reader.position, reader.stop) for reader in own]
        if any(reader.stop > self._withheld() for reader in own):
            needed.append((self._hashed, self.size))
        unit, ahead = piece_size(self.size), self._ahead()
        return RangeSet(*((start, min(stop, (start + ahead) // unit * unit + unit)) for start, stop in needed))

    def relayed_wants(self) -> RangeSet:
        """What other members wait for."""
        if self.size is None:
            return RangeSet(self.hint) if self.relayed else RangeSet()
        unit = piece_size(self.size)
        ahead = self._ahead() // unit * unit + unit if self.bounded else self.size
        relayed = (reader for reader in self._readers if reader.relayed)
        return RangeSet(*((reader.position, min(reader.stop, reader.position + ahead)) for reader in relayed))

    def heads(self) -> list[int]:
        """Where readers of this node wait."""
        return sorted({reader.position for reader in self._readers if reader.waiting and not reader.relayed})

    # For readers.

    async def known_size(self, *, relayed: bool = False) -> int:
        """Wait until the size is known; raise the failure if it never will be, to other members also if it may yet."""
        while self.size is None:
            if self._failure is not None:
                raise self._failure
            if relayed and self._refusal is not None:
                raise self._refusal
            await self._news.wait()
        return self.size

    async def completed(self) -> None:
        """Wait for the whole, verified; raise the failure if it does not come."""
        while not self.complete:
            if self._failure is not None:
                raise self._failure
            await self._news.wait()

    async def extents(self, start: int, stop: int, *, relayed: bool = False) -> AsyncGenerator[tuple[int, int], None]:
        """Follow `[start, stop)` as it arrives.

        Yields:
            `(offset, count)`: ready bytes of the file, in order, without gaps.

        Raises:
            MirrorError: the rest will not come, or what this reader has got turned out wrong.
        """
        assert self.size is not None
        unit = piece_size(self.size)
        reader = Reader(start, stop, relayed, waiting=self.present.front(start) == start)
        self._readers.add(reader)
        self._on_change()
        try:
            while reader.position < stop:
                if reader.misled:
                    raise SourceError(Reason.CORRUPT, f"{self.content.digest}: bytes already sent were wrong")
                front = min(self.present.front(reader.position), stop)
                if not self.complete and not relayed:
                    front = min(front, self._withheld())
                if self.bounded:  # no further than what is surely kept until it has been read, and hashed
                    front = min(front, (reader.position // unit + 1) * unit)
                    if start == 0 and not relayed:
                        front = min(front, self._hashed + self._ahead())
                if front > reader.position:
                    reader.reached = front
                    yield reader.position, front - reader.position
                    reader.position = front
                    if self.bounded:
                        self._turn.set()
                        self._on_change()
                elif (failure := self._failure or reader.refusal) is not None:
                    raise failure
                elif self.complete:
                    raise SourceError(
                        Reason.BROKEN, f"{self.content.digest}: what comes next was let go, and all is over"
                    )
                else:
                    reader.waiting = True
                    reader.turn.clear()
                    await reader.turn.wait()
                    reader.waiting = False
        finally:
            self._readers.discard(reader)
            self._turn.set()
            self._on_change()

    def _withheld(self) -> int:
        """Where the last piece begins."""
        assert self.size is not None
        return (max(self.size - 1, 0) // (unit := piece_size(self.size))) * unit

    # The bound of what is in memory. What is hashed and what readers get has to be the same: so neither is further
    # ahead of the other than what is kept for it.

    def _hash_stop(self) -> int:
        """How far the hash can go now."""
        stop = min(self.present.front(self._hashed), self._hashed + 2 * _HASH_BYTES)
        if not self.bounded:
            return stop
        return min([stop, *(reader.position + self._ahead() for reader in self._readers if not reader.relayed)])

    def _ahead(self) -> int:
        """How much is kept before each reader of this node, and before the hash."""
        assert self.size is not None
        own = sum(not reader.relayed for reader in self._readers)
        return max(piece_size(self.size), self._window() // (2 * (own + 1)))

    def _window(self) -> int:
        assert self.size is not None
        return max(WINDOW_BYTES, _WINDOW_PIECES * piece_size(self.size))

    def _trim(self) -> None:
        """Let go of what nobody needs, lowest first, until the bound holds; what is needed is bounded by itself."""
        if self._memory is None or self.size is None:
            return
        excess = len(self.present) - self._window()
        if excess <= 0:
            return
        needed = self.own_wants() | self.relayed_wants() | self._hashing
        unit = piece_size(self.size)
        for start, stop in list(self.present - needed):
            first, last = -(-start // unit) * unit, stop if stop == self.size else stop // unit * unit
            last = min(last, first + -(-excess // unit) * unit)
            if first < last and excess > 0:
                self._memory.madvise(mmap.MADV_REMOVE, first, last - first)
                self._release(first, last)
                self.trimmed = True
                excess -= last - first

    def _release(self, start: int, stop: int) -> None:
        """Let bytes go: they can be written once more."""
        self.present.remove(start, stop)
        with self._claiming:
            self._claimed.remove(start, stop)

    def _on_change(self) -> None:
        """Tell the fetch, and who waits for room, that readers or the hash have moved on."""
        self._moved.set()
        self._watcher()

    def _change(self) -> None:
        """Wake everybody who waits for something to be different."""
        self._news.set()
        self._news = asyncio.Event()
        self._turn.set()
        for reader in self._readers:
            reader.turn.set()


def _hash_pieces(sha256: "hashlib._Hash", fd: int, start: int, stop: int, unit: int) -> list[bytes]:
    """Hash a range; return the sha256 of everything so far at each end of a piece in it."""
    prefixes = []
    while start < stop:
        end = min((start // unit + 1) * unit, stop)
        _hash_range(sha256, fd, start, end)
        if end % unit == 0:
            prefixes.append(sha256.digest())
        start = end
    return prefixes


def _hash_range(sha256: "hashlib._Hash", fd: int, start: int, stop: int) -> None:
    block = bytearray(min(_BLOCK_BYTES, stop - start))
    view = memoryview(block)
    while start < stop:
        count = os.preadv(fd, [view[: stop - start]], start)
        if not count:
            raise OSError(f"the spool file ends at {start}, before {stop}")
        sha256.update(view[:count])
        start += count
