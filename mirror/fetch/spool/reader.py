"""Reader: the handle of one request that reads a blob while it arrives."""

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from ...errors import Reason, SourceError
from ...oci.content import Content
from ...oci.ranges import Span
from ..demand import Audience
from ..vouching import Vouching
from .arrival import Arrival, Arriving
from .backing import Backing
from .hasher import Hasher
from .readers import Cursor, Readers


class Reader:
    """One reader of a spool, from `Spool.join` to `close`; while it is open the fetch goes on and the file stays open.

    Args:
        content: what is read.
        audience: for whom.
        arrival: how far the blob has come.
        readers: where this reader is counted.
        hasher: of the blob; it waits for readers where only a part of the blob is held, and they wait for it.
        vouching: says what clients of this node may have before the digest is right.
    """

    def __init__(
        self,
        content: Content,
        audience: Audience,
        arrival: Arrival,
        readers: Readers,
        hasher: Hasher,
        vouching: Vouching,
    ) -> None:
        self.audience = audience
        self._content = content
        self._arrival = arrival
        self._readers = readers
        self._hasher = hasher
        self._vouching = vouching
        self._is_open = True
        self._coming: deque[Span] = deque()
        readers.join(audience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave; a second call does nothing."""
        if self._is_open:
            self._is_open = False
            self._coming.clear()
            self._readers.leave(self.audience)

    @property
    def fd(self) -> int:
        """The file that `extents` speaks of; -1 before the size is known, and when the spool is closed."""
        return -1 if self._arrival.backing is None else self._arrival.backing.fd

    @property
    def is_in_memory(self) -> bool:
        """Whether the blob passes through memory, without being kept."""
        return self._arrival.backing is not None and self._arrival.backing.is_in_memory

    async def size(self) -> int:
        """Wait until the size is known, in bytes; a client, where only one member says it, until the digest is right.

        Raises:
            MirrorError: it never will be; or, for another member, it cannot be found out for members now.
        """
        backing = await self._arrival.opened(self.audience)
        if self.audience is not Audience.MEMBER and not self._arrival.is_size_confirmed:
            await self.completed()
        return backing.size

    async def completed(self) -> None:
        """Wait for the whole blob, verified; all of it is fetched meanwhile, and once more where it may be wrong.

        Raises:
            MirrorError: it does not come.
        """
        with self._readers.awaiting(self.audience):
            await self._arrival.completed()

    def expect(self, spans: Sequence[Span]) -> None:
        """Say which ranges this lazy reader will follow, one after the other: they are fetched meanwhile."""
        self._coming.extend(spans)
        self._readers.expect(self._coming)

    async def extents(self, start: int, stop: int) -> AsyncGenerator[tuple[int, int], None]:
        """Follow `[start, stop)` as it arrives.

        Yields:
            `(offset, count)`: bytes of the file that are ready, in order, without gaps.

        Raises:
            MirrorError: the rest will not come, or bytes that this reader was given turned out wrong.
        """
        backing, present = await self._arrival.opened(self.audience), self._arrival.present
        cursor = Cursor(self.audience, start, stop, is_waiting=present.front(start) == start)
        while self._coming and self._coming.popleft() != (start, stop):
            pass
        self._readers.start(cursor)
        try:
            while cursor.position < stop:
                if cursor.was_misled:
                    raise SourceError(Reason.CORRUPT, f"{self._content.digest}: bytes already sent were wrong")
                front = self._front(backing, cursor)
                if front > cursor.position:
                    cursor.given_stop = front
                    yield cursor.position, front - cursor.position
                    cursor.position = front
                    if backing.is_in_memory:  # the hash may go on, other bytes may be dropped, and more be fetched
                        self._readers.note_move()
                else:
                    self._raise_if_over(cursor)
                    cursor.is_waiting = True
                    if present.front(cursor.position) > cursor.position:  # somebody has to vouch for what is here
                        self._readers.note_move()
                    cursor.wake.clear()
                    await cursor.wake.wait()
                    cursor.is_waiting = False
        finally:
            self._readers.stop(cursor)

    def _front(self, backing: Backing, cursor: Cursor) -> int:
        """The end of what the reader may have now."""
        front = min(self._arrival.present.front(cursor.position), cursor.stop)
        front = min(front, backing.read_limit(cursor.position))
        if self.audience is Audience.MEMBER:
            return front
        front = min(front, self._vouching.free.front(cursor.position))
        if self.audience is Audience.LAZY:
            return front
        if not self._arrival.is_complete:
            front = min(front, backing.last_piece)
        if backing.is_in_memory and cursor.start == 0:  # who reads the whole gets what is hashed, not what comes later
            front = min(front, self._hasher.position + backing.lookahead(len(self._readers.spans(Audience.LOCAL))))
        return front

    def _raise_if_over(self, cursor: Cursor) -> None:
        """Raise the reason why the next byte will not come, if there is one."""
        state = self._arrival.state
        failure = cursor.refusal if isinstance(state, Arriving) else state.error or cursor.refusal
        if failure is not None:
            raise failure
