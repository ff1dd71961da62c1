"""Evidence: gets the word of others about what members sent, so that clients of this node need not wait for the whole.

1. At the start, and as soon as holders turn up, a few of them are asked for their prefixes (see `vouching`).
2. A client that reads ranges by themselves does not wait for the front: a holder that had no part in these bytes is
   asked for their sha256, and upstream for the bytes themselves if no holder vouches.
3. A client that has waited for long on bytes that nobody vouches for gets a few of them checked by upstream: a runtime
   gives up a download that makes no progress.
4. Where memory holds only a part of the blob, the digest of the whole comes too late for anybody. Then this node's own
   bytes come from upstream, unless two holders vouch.
"""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from ..errors import Reason, SourceError, StorageError, Unavailable
from ..oci.content import Content
from ..sources import UPSTREAM, RangeReply, RangeRequest, Role
from .demand import Audience
from .environment import Environment
from .plan import EARLIER, Plan
from .record import Record
from .spool import Backing, Spool

log = logging.getLogger(__name__)

_WITNESS = "witness"
"""As what a holder is asked to vouch for what others sent, in the record for people."""

OnWrong = Callable[[Iterable[str], int, int], Awaitable[bool]]
"""Has what came from some names in a range fetched once more, from others; says whether there was any."""


class Evidence:
    """Gets evidence about the bytes of one blob. All of it is asked for beside the download, and none holds it up.

    Args:
        spool: says where clients wait, and is told what they may have.
        plan: knows who sent what.
        env: the node's parts.
        on_wrong: is called when others contradict what some members sent.
        record: for people.
    """

    def __init__(self, spool: Spool, plan: Plan, env: Environment, on_wrong: OnWrong, record: Record) -> None:
        self._record = record
        self._spool = spool
        self._vouching = spool.vouching
        self._plan = plan
        self._env = env
        self._settings = env.settings.evidence
        self._on_wrong = on_wrong
        self._tasks: dict[object, asyncio.Task[None]] = {}
        """What is being asked, each by what it is about: one question about one thing at a time."""
        self._asked: Counter[str] = Counter()
        """How often holders were asked for their prefixes; as often as is allowed once they have said them."""
        self._waits: dict[int, float] = {}
        """Where clients wait for bytes that are here, and since when, monotonic seconds."""
        self._lost: set[tuple[int, int]] = set()
        """Ranges that two holders contradict, and that cannot be fetched once more."""
        self._upstream_bytes = 0
        self._upstream_rests_until = 0.0
        self._failures = 0
        """How often nobody could vouch, or bytes could not be read, or not be fetched once more, since a client that
        waits has got on."""

    async def close(self) -> None:
        """Ask nobody any more, and wait for threads that read the file: it may be closed next."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def look(self, content: Content, now: float) -> None:
        """Ask for what is needed now.

        Args:
            content: what is fetched, under the name by which upstream is asked.
            now: monotonic seconds.
        """
        backing = self._spool.backing
        if backing is None or not self._spool.interest.was_read_locally or self._spool.is_over:
            return
        passes = not backing.holds_all
        self._plan.chooser.is_upstream_alone = passes and not self._vouching.is_agreed
        self._ask_for_prefixes(content)
        wrong = self._vouching.contradicted()
        if wrong is not None and wrong not in self._lost and wrong not in self._tasks:
            self._begin(wrong, self._take_back(*wrong))
        self._check_where_clients_wait(content, backing, now)

    def hopeless(self) -> Unavailable | None:
        """The error for clients that wait for bytes for which nobody will vouch, if that is so."""
        backing = self._spool.backing
        if backing is None or backing.holds_all or not self._waits:
            return None
        upstream = self._plan.candidates.upstream
        may_come = self._tasks or self._vouching.is_agreed or upstream.may_be_asked or self._unlisted()
        if may_come and self._failures < self._settings.tries:
            return None
        return Unavailable(
            f"{self._spool.content.digest} passes through memory, and nobody but the member that sent it vouches for it"
        )

    @property
    def is_awaited(self) -> bool:
        """Whether this node takes nothing of members until two of them vouch, and they may still do so."""
        is_asked = any(isinstance(about, str) for about in self._tasks)
        return self._plan.chooser.is_upstream_alone and (is_asked or bool(self._unlisted()))

    def _begin(self, about: object, question: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[about] = asyncio.create_task(self._asked_about(question), name=f"evidence {about}")
        task.add_done_callback(lambda done: self._ended(about, done))

    async def _asked_about(self, question: Coroutine[Any, Any, None]) -> None:
        """Await a question; if the disk does not give what it is about, the next look is not at once."""
        try:
            await question
        except OSError as error:
            log.debug("%s: what came cannot be read: %s", self._spool.content.digest, error)
            await self._rest_after_failure()

    def _ended(self, about: object, task: asyncio.Task[None]) -> None:
        self._tasks.pop(about, None)
        if not task.cancelled() and (error := task.exception()) is not None:  # the root of a task
            log.error("asking about %s failed in a way that it should not", about, exc_info=error)

    # Prefixes.

    def _ask_for_prefixes(self, content: Content) -> None:
        missing = self._settings.holders_max - self._vouching.list_count
        for name in self._unlisted():
            if sum(isinstance(about, str) for about in self._tasks) >= missing:
                break
            self._asked[name] += 1
            self._begin(name, self._ask_for_list(name, content))

    def _unlisted(self) -> list[str]:
        """Holders that may still say what the prefixes are; those among them that are silent may only be busy."""
        lists, spool = self._vouching, self._spool
        is_wanted = lists.prefix_count and spool.interest.is_whole_wanted
        if not is_wanted or lists.list_count >= self._settings.holders_max:
            return []
        members, up = self._plan.candidates.members, self._env.cluster.up()
        return [
            name
            for name in self._plan.candidates.holders
            if self._asked[name] < self._settings.asked_max
            and name not in self._tasks
            and (name in up or members.is_silent(name))
        ]

    async def _ask_for_list(self, name: str, content: Content) -> None:
        witness = self._env.witness(name)
        if witness is None:
            return
        asked_at = time.monotonic()
        try:
            prefixes = await witness.prefixes(content, self._vouching.prefix_count)
        except SourceError as error:
            log.debug("%s does not vouch: %s", name, error)
            self._record.landed(name, _WITNESS, 0, time.monotonic() - asked_at, error)
        else:
            self._record.landed(name, _WITNESS, 0, time.monotonic() - asked_at, None)
            self._asked[name] = self._settings.asked_max
            self._vouching.listed(name, prefixes)

    async def _take_back(self, start: int, stop: int) -> None:
        """Have bytes fetched once more that two holders contradict, and all that came from the same senders."""
        senders = self._senders(start, stop) - {UPSTREAM}
        if senders:
            log.info("%s: holders contradict %s", self._spool.content.digest, ", ".join(sorted(senders)))
        backing = self._spool.backing
        if backing is not None and backing.holds_all and not self._may_come_from_others(senders, start):
            self._lost.add((start, stop))  # holders contradict each other: the digest of the whole will tell
        elif not await self._on_wrong(senders, 0, self._spool.size or 0):
            self._lost.add((start, stop))
            self._note_failure()

    def _may_come_from_others(self, senders: set[str], start: int) -> bool:
        candidates = self._plan.candidates
        others = {*candidates.holders, *candidates.ring.members} - senders - {self._env.cluster.me}
        return candidates.can_ask_upstream(start) or bool(candidates.members.able(others, start))

    # Single ranges.

    def _check_where_clients_wait(self, content: Content, backing: Backing, now: float) -> None:
        settings, spool = self._settings, self._spool
        present, free = spool.present, self._vouching.free
        waits: dict[int, float] = {}
        for cursor in spool.readers.waiting():
            position, is_lazy = cursor.position, cursor.audience is Audience.LAZY
            end = min(present.front(position), cursor.stop if is_lazy else min(cursor.stop, backing.last_piece))
            if end <= position or free.front(position) > position:
                continue
            since = waits[position] = self._waits.get(position, now)
            if position in self._tasks:
                continue
            if is_lazy or not backing.holds_all:
                end = min(end, position + settings.small_range_bytes)
                self._begin(position, self._check(content, backing, position, end))
            elif now - since >= settings.sample_after_s and self._may_ask_upstream(now):
                end = min(end, position + settings.sample_bytes)
                self._begin(position, self._compare_with_upstream(content, position, end))
        if self._waits.keys().isdisjoint(waits):
            self._failures = 0
        self._waits = waits

    async def _check(self, content: Content, backing: Backing, start: int, stop: int) -> None:
        """Have a range vouched for by a holder that had no part in it, or by upstream."""
        losses, upstream = self._vouching.losses, self._plan.candidates.upstream
        (ours,) = await self._spool.hash_ranges([(start, stop)])
        senders, up = self._senders(start, stop), self._env.cluster.up()
        may_vouch = up - senders if EARLIER not in senders else set()  # who sent it to an earlier fetch is forgotten
        holders = [name for name in self._plan.candidates.holders if name in may_vouch]
        for name in holders[: self._settings.holders_max]:
            witness, asked_at = self._env.witness(name), time.monotonic()
            try:
                theirs = None if witness is None else await witness.sha256(content, start, stop)
            except SourceError as error:
                log.debug("%s does not vouch: %s", name, error)
                self._record.landed(name, _WITNESS, 0, time.monotonic() - asked_at, error)
                continue
            self._record.landed(name, _WITNESS, 0, time.monotonic() - asked_at, None)
            if theirs == ours and losses == self._vouching.losses:
                self._vouching.release(start, stop)
                return
        is_within = self._upstream_bytes + stop - start <= self._settings.upstream_bytes_max
        may_take_more = is_within and self._failures < self._settings.tries
        if self._may_ask_upstream(time.monotonic()) and (may_take_more or not backing.holds_all):
            self._upstream_bytes += stop - start
            await self._compare_with_upstream(content, start, stop)
        elif backing.holds_all or (upstream.may_be_asked and upstream.serves_ranges):
            if backing.holds_all:
                self._spool.interest.want_whole()
            await asyncio.sleep(self._settings.again_s)  # the digest of the whole will tell, or upstream is asked again
        elif not upstream.may_be_asked or not await self._on_wrong(senders, start, stop):  # it can only send all of it
            await self._rest_after_failure(start)

    async def _compare_with_upstream(self, content: Content, start: int, stop: int) -> None:
        """Have upstream send a range once more: if it is the same, clients may have it."""
        if not self._spool.present.covers(start, stop):  # taken back while others were asked: the file has old bytes
            return
        losses, senders = self._vouching.losses, self._senders(start, stop) - {UPSTREAM}
        (ours,) = await self._spool.hash_ranges([(start, stop)])
        sample = Sample(start, stop)
        source = self._env.source(UPSTREAM)
        try:
            if source is not None:
                await source.download(content, RangeRequest(start, stop, Role.UPSTREAM), sample)
        except (SourceError, StorageError, OSError) as error:
            log.debug("%s: upstream does not vouch: %s", content.digest, error)
        if len(sample.body) < stop - start:
            self._note_failure(start)
            return
        self._env.metrics.received_bytes.labels("upstream").inc(stop - start)
        if losses != self._vouching.losses:
            return
        if hashlib.sha256(sample.body).digest() == ours:
            self._failures = 0
            self._vouching.release(start, stop)
        else:
            log.info("%s: upstream contradicts %s", content.digest, ", ".join(sorted(senders)))
            if not await self._on_wrong(senders, start, stop):
                self._note_failure(start)

    async def _rest_after_failure(self, at: int | None = None) -> None:
        """Take note of a failure, and hold up the next look at the same; see `_note_failure`."""
        self._note_failure(at)
        await asyncio.sleep(self._settings.again_s)

    def _note_failure(self, at: int | None = None) -> None:
        """Take note that nobody could vouch, and leave upstream alone for a while.

        Args:
            at: where a client waits for it. If it does so no more, that does not count: it has got these bytes, since
                the hash has come so far, and in memory others may be in their place.
        """
        if at is None or at in self._waits:
            self._failures += 1
        self._upstream_rests_until = time.monotonic() + self._settings.again_s

    def _senders(self, start: int, stop: int) -> set[str]:
        return self._plan.provenance.senders(start, stop, self._plan.flights)

    def _may_ask_upstream(self, now: float) -> bool:
        upstream = self._plan.candidates.upstream
        return upstream.may_be_asked and upstream.serves_ranges and now >= self._upstream_rests_until


class Sample:
    """A `Sink` that keeps a small range in memory.

    Args:
        start: first byte.
        stop: end, exclusive.
    """

    def __init__(self, start: int, stop: int) -> None:
        self.body = bytearray()
        self._range = start, stop

    async def begin(self, reply: RangeReply) -> None:
        """Take the reply if it is what was asked for; see `Sink.begin`."""
        if not self.begin_at_once(reply):
            raise SourceError(Reason.RANGE, f"upstream answered {reply.start}-{reply.stop} when asked for a sample")

    def begin_at_once(self, reply: RangeReply) -> bool:
        """See `Sink.begin_at_once`."""
        return (reply.start, reply.stop) == self._range

    async def wait_for_space(self, position: int) -> None:
        """Memory has space for it; see `Sink.wait_for_space`."""

    def put(self, position: int, part: bytes | memoryview) -> None:
        """Keep bytes; see `Sink.put`."""
        self.body += part
