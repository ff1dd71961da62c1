"""Readers: who reads an arriving blob, where each of them is, and who waits.

Everybody who joins is counted, so that the fetch goes on and the file stays open. Whoever follows the bytes has a
cursor besides. Of the blob itself this module knows nothing.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...errors import MirrorError
from ...oci.ranges import RangeSet, Span
from ..demand import Audience


@dataclass(slots=True, eq=False)
class Cursor:
    """One reader that follows a range of the blob.

    Args:
        audience: for whom it reads.
        position: the next byte that it needs.
        stop: end of the range.
        is_waiting: whether it waits for the byte at `position`.
        wake: set when that byte is present, or something else is different for this reader.
        refusal: why the rest will not come to this reader, though it may come to others.
        start: where the range begins.
        given_stop: end of what it was given last, and may be reading still.
        was_misled: whether bytes that it was given turned out wrong.
    """

    audience: Audience
    position: int
    stop: int
    is_waiting: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: MirrorError | None = None
    start: int = field(init=False)
    given_stop: int = field(init=False)
    was_misled: bool = False

    def __post_init__(self) -> None:
        self.start = self.given_stop = self.position

    def mislead(self) -> None:
        """Let it fail: bytes that it was given were wrong."""
        self.was_misled = True
        self.wake.set()


class Readers:
    """Everybody who reads one blob; the length is how many have joined.

    Args:
        on_change: called when a reader joins, starts, moves on or stops, where that may change what has to be fetched.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.idle = asyncio.Event()
        """Set while nobody has joined."""
        self.idle.set()
        self.idle_at = time.monotonic()
        """Since when it is set, monotonic seconds."""
        self._on_change = on_change
        self._joined: Counter[Audience] = Counter()
        self._awaiting: Counter[Audience] = Counter()
        self._cursors: dict[Cursor, None] = {}
        """In the order in which they started."""
        self._coming: list[deque[Span]] = []
        """What lazy readers will follow next."""
        self._moved = asyncio.Event()

    def __len__(self) -> int:
        return self._joined.total()

    def joined(self, audience: Audience) -> int:
        """How many have joined for an audience."""
        return self._joined[audience]

    def join(self, audience: Audience) -> None:
        """Count a reader in."""
        self._joined[audience] += 1
        self.idle.clear()
        self.note_move()

    def leave(self, audience: Audience) -> None:
        """Count a reader out."""
        self._joined[audience] -= 1
        if not len(self):
            self.idle.set()
            self.idle_at = time.monotonic()
            self.note_move()

    @contextlib.contextmanager
    def awaiting(self, audience: Audience) -> Iterator[None]:
        """Count a reader, while the context lasts, that waits for the whole, verified."""
        self._awaiting[audience] += 1
        self.note_move()
        try:
            yield
        finally:
            self._awaiting[audience] -= 1
            self.note_move()

    def is_whole_awaited(self, audience: Audience) -> bool:
        """Whether a reader of an audience waits for the whole."""
        return self._awaiting[audience] > 0

    def start(self, cursor: Cursor) -> None:
        """Let a reader follow its range."""
        self._cursors[cursor] = None
        self.note_move()

    def stop(self, cursor: Cursor) -> None:
        """Forget a reader's range."""
        self._cursors.pop(cursor, None)
        self.note_move()

    def expect(self, spans: deque[Span]) -> None:
        """Have ranges fetched that a lazy reader will follow; it takes out of `spans` what it has begun to follow."""
        self._coming = [*filter(None, self._coming), spans]
        self.note_move()

    def note_move(self) -> None:
        """Report that a reader, or the hash beside them, has moved on."""
        self._moved.set()
        self._on_change()

    def look_again(self) -> None:
        """Have everybody who waits look again, whoever fetches included; called now and then, as long as one fetches.

        What a reader may have follows from several things: what has come, who vouches for it, how far the hash is, and
        where others read. Each change of one wakes whom it concerns; one that did not would hold them up for a moment.
        """
        self.wake_all()
        self.note_move()

    async def moved(self) -> None:
        """Wait for the next move."""
        self._moved.clear()
        await self._moved.wait()

    def spans(self, audience: Audience) -> list[tuple[int, int]]:
        """`(position, stop)` of each reader of an audience that follows a range."""
        return [(cursor.position, cursor.stop) for cursor in self._cursors if cursor.audience is audience]

    def lazy_spans(self) -> list[Span]:
        """What lazy readers need: first `(position, stop)` of each range that is followed, then what comes next."""
        return [*self.spans(Audience.LAZY), *(span for spans in self._coming for span in spans)]

    def waiting(self) -> list[Cursor]:
        """The readers on this node that wait."""
        return [cursor for cursor in self._cursors if cursor.audience is not Audience.MEMBER and cursor.is_waiting]

    def wake_at(self, start: int, stop: int) -> None:
        """Wake those whose next byte is in a range."""
        for cursor in self._cursors:
            if start <= cursor.position < stop:
                cursor.wake.set()

    def wake_all(self) -> None:
        """Wake everybody: something is different that any of them may wait for."""
        for cursor in self._cursors:
            cursor.wake.set()

    def refuse_members(self, ranges: RangeSet, error: MirrorError) -> None:
        """Let other members that wait for bytes in some ranges fail with an error."""
        for cursor in self._cursors:
            if cursor.audience is Audience.MEMBER and ranges.covers(cursor.position, cursor.position + 1):
                cursor.refusal = error
                cursor.wake.set()

    def given(self, start: int, stop: int) -> list[tuple[Cursor, int, int]]:
        """The readers that have been given bytes of a range, each with `(start, stop)` of these."""
        both = ((cursor, max(start, cursor.start), min(stop, cursor.given_stop)) for cursor in self._cursors)
        return [(cursor, first, end) for cursor, first, end in both if first < end]
