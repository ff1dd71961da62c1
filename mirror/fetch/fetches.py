"""All fetches of a node: one for each blob, whoever asks for it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..cluster.homes import MEBIBYTE
from ..malloc import give_back
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.ranges import Span
from .demand import Audience
from .environment import Environment
from .fetch import Fetch
from .record import Phase
from .spool import Reader

if TYPE_CHECKING:
    from .record import Progress, Record


class Relay:
    """What a home gives to the member that asked it: a reader, and the origin of the bytes.

    Args:
        reader: follows the bytes as they arrive.
        fetch: where they come from.
    """

    def __init__(self, reader: Reader, fetch: Fetch) -> None:
        self.reader = reader
        self._fetch = fetch

    @property
    def is_elsewhere(self) -> bool:
        """Whether another member is the home of the whole, since upstream serves no ranges."""
        return self._fetch.whole_is_elsewhere

    def origin(self, start: int, stop: int) -> tuple[str | None, int]:
        """The origin of the bytes from `start` on, and how far it goes; see `Provenance.origin`."""
        return self._fetch.origin(start, stop)

    async def distrust(self, names: Iterable[str], start: int, stop: int) -> None:
        """Have what came from some members fetched once more, and everything of a range from others."""
        await self._fetch.distrust(names, start, stop)


class Fetches:
    """Fetches what this node does not hold.

    Args:
        env: the node's parts.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._current: dict[str, Fetch] = {}
        """By hexadecimal digest: the fetch that the next reader joins."""
        self._running: set[Fetch] = set()
        """All that have not ended, those included that nobody joins any more."""
        self.records: deque[Record] = deque(maxlen=env.settings.fetch.records_max)

    @property
    def for_this_node(self) -> int:
        """How many have not ended that somebody on this node asked for, and not only other members."""
        return sum(fetch.spool.interest.was_read_locally for fetch in self._running)

    def progress(self) -> "list[Progress]":
        """How far all remembered fetches are, the oldest first: those that have ended, too."""
        running = {id(fetch.record): fetch for fetch in self._running}
        rows = []
        for record in self.records:
            fetch = running.get(id(record))
            is_read = fetch is not None and not fetch.is_idle
            for_clients = record.outcome is not Phase.RELAYED if fetch is None else fetch.was_read_locally
            rows.append(record.progress(is_read=is_read, for_clients=for_clients))
        return rows

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [fetch.task for fetch in self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def read(
        self, content: Content, *, from_start: bool = True, is_kept: bool = True, part: Span | None = None
    ) -> Iterator[Reader]:
        """Read some content for a client of this node, fetching it if nobody does yet.

        Args:
            content: what is wanted.
            is_kept: whether a new fetch may keep it in the cache; else it passes through memory.
            from_start: whether it is read from byte 0. A window in memory that has moved on cannot verify for such a
                reader, so it gets a new fetch.
            part: the range that a client reads by itself first, or a guess that tells the size; None for a client that
                wants the whole.

        Raises:
            BlobUnknown, ManifestUnknown: a moment ago nobody had it.
        """
        who = Audience.LOCAL if part is None else Audience.LAZY
        with self._joined(content, who, from_start=from_start, is_kept=is_kept, hint=part) as (reader, _):
            yield reader

    @contextlib.contextmanager
    def relay(self, content: Content, hint: tuple[int, int] = (0, MEBIBYTE)) -> Iterator[Relay]:
        """Read some content for another member, which takes this node for a home of it.

        Args:
            content: which.
            hint: the bytes that the member wants: while the size is unknown, asking for these tells it.

        Raises:
            BlobUnknown, ManifestUnknown: a moment ago nobody had it.
        """
        with self._joined(content, Audience.MEMBER, from_start=False, hint=hint) as (reader, fetch):
            interest = fetch.spool.interest
            if not interest.is_whole_wanted and self._is_about_to_be_read(content) and self._may_read_ahead(fetch):
                interest.read_ahead()
            yield Relay(reader, fetch)

    def _may_read_ahead(self, fetch: Fetch) -> bool:
        """Whether there are requests left for one more layer that no client has asked for yet."""
        taken = sum(it.requests_max for it in self._running if it.spool.interest.is_read_ahead)
        return taken + fetch.requests_max <= self._env.settings.fetch.ahead_requests_max

    def _is_about_to_be_read(self, content: Content) -> bool:
        """Whether some content is a layer of an image that a client of this node is pulling."""
        others = (self._current.get(name) for name in self._env.layers.beside(content.digest))
        return any(it is not None and it.spool.readers.joined(Audience.LOCAL) for it in others)

    def current(self, content: Content) -> Fetch | None:
        """The fetch of some content that the next reader joins, if there is one."""
        return self._current.get(content.digest.hex)

    def record(self, digest: Digest) -> "Record | None":
        """What is remembered of the last fetch of some content."""
        text = str(digest)
        return next((record for record in reversed(self.records) if record.digest == text), None)

    def size(self, content: Content, audience: Audience = Audience.LOCAL) -> int | None:
        """The size of a blob that is being fetched, in bytes, if an audience may know it by now."""
        fetch = self.current(content)
        return None if fetch is None else fetch.spool.told_size(audience)

    def has(self, content: Content, start: int, stop: int) -> bool:
        """Whether some bytes of a blob that is being fetched are here."""
        fetch = self.current(content)
        return fetch is not None and fetch.spool.size is not None and fetch.spool.present.covers(start, stop)

    @contextlib.contextmanager
    def _joined(
        self,
        content: Content,
        audience: Audience,
        *,
        from_start: bool,
        is_kept: bool = True,
        hint: tuple[int, int] | None = None,
    ) -> Iterator[tuple[Reader, Fetch]]:
        fetch = self.current(content)
        if fetch is None or (from_start and fetch.spool.is_trimmed):
            if not self._env.cluster.holders(content.digest.key):
                self._env.absences.check(content)
            if audience is Audience.LAZY and self._env.cache.has_partial(content.digest):
                hint = (0, 1)  # what an earlier fetch left may have more of it
            fetch = Fetch(content, self._env, self._detach, self._ended, self._are_several, is_kept=is_kept)
            self._current[content.digest.hex] = fetch
            self._running.add(fetch)
            self.records.append(fetch.record)
        fetch.add_name(content)
        try:
            with fetch.spool.join(audience, hint) as reader:
                yield reader, fetch
        finally:
            self._close_if_unused(fetch)

    def _are_several(self) -> bool:
        """Whether more than one blob is being fetched as a whole for clients of this node."""
        spools = (fetch.spool for fetch in self._running)
        return sum(spool.interest.is_whole_wanted and not spool.is_complete for spool in spools) > 1

    def _detach(self, fetch: Fetch) -> None:
        """Give a new fetch to whoever asks for the content from now on."""
        if self.current(fetch.content) is fetch:
            del self._current[fetch.content.digest.hex]

    def _ended(self, fetch: Fetch) -> None:
        """Forget a fetch: whoever asks for its content from now on finds it in the cache, or begins a new one."""
        self._running.discard(fetch)
        if not self._running:
            give_back()
        self._detach(fetch)
        self._close_if_unused(fetch)

    def _close_if_unused(self, fetch: Fetch) -> None:
        if fetch.is_idle and fetch not in self._running:
            fetch.spool.close()
