"""All fetches of a node, and what they have in common: who may be asked, who is shunned, who is slow."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING

from ..cluster.homes import MEBIBYTE, Ring
from ..cluster.throughput import SLOW, Throughput
from ..errors import PeerError, Reason, SourceError, UpstreamError
from ..metrics import Metrics
from ..oci.content import Content
from ..routers import Peer, Router
from ..sources import UPSTREAM, Source
from ..sources.failures import CONSEQUENCES
from ..sources.peers.client import PeerClient
from ..sources.upstream import Upstream
from ..stores.cache.store import CacheStore
from .fetch import Fetch
from .spool.spool import Spool
from .verdict import verdict

if TYPE_CHECKING:
    from .record import Record

log = logging.getLogger(__name__)

_LISTEN_S, _LISTEN_MAX_S = 0.5, 30.0
"""A member that is out of reach is asked for a sign of life so often, and shunned no longer than the latter."""
_SHUN_LIAR_S = 600.0
_RECORDS_MAX = 512
_SIZE_S = 5.0
"""Members are asked no longer for a size: a client waits for no more than the head of an answer."""
_TELL_S = 0.5
_VIEW_S = 0.05
"""For so long members are not counted anew: every step of every fetch wants to know who is up."""


class Fetcher:
    """Brings what this node does not hold.

    Args:
        name: of this node.
        cache: where it is kept.
        router: who may hold it.
        peers: asks members.
        upstream: asks the registry that a request names.
        metrics: counts.
    """

    def __init__(
        self, name: str, cache: CacheStore, router: Router, peers: PeerClient, upstream: Upstream, metrics: Metrics
    ) -> None:
        self.name = name
        self.cache = cache
        self.router = router
        self.peers = peers
        self.upstream = upstream
        self.metrics = metrics
        self.pace = Throughput()
        self._from_upstream = metrics.received_bytes.labels("upstream")
        self._from_peers = metrics.received_bytes.labels("peer")
        self.records: deque[Record] = deque(maxlen=_RECORDS_MAX)
        self._fetches: dict[str, Fetch] = {}
        self._all: set[Fetch] = set()
        self._shunned: dict[str, float] = {}
        self._views: tuple[Set[str], Set[str]] = set(), set()
        self._viewed_at = -_VIEW_S
        self._told_at = -_TELL_S
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [*(fetch.task for fetch in self._all), *self._telling.values(), *self._listening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def reading(self, content: Content, *, anew: bool = True) -> Iterator[Spool]:
        """Join the fetch of some content for a reader on this node, beginning it if need be.

        Args:
            content: what is wanted.
            anew: whether its beginning is: a spool in memory that has let go of that cannot tell whether it is right.
        """
        with self._joined(content, anew=anew, relayed=False) as fetch:
            yield fetch.spool

    @contextlib.contextmanager
    def relaying(self, content: Content, hint: tuple[int, int] = (0, MEBIBYTE)) -> Iterator[Fetch]:
        """Join the fetch of some content for another member, which takes this node for a home of it.

        Args:
            content: which.
            hint: the bytes that the member wants: where the size is not known yet, asking for these tells it.
        """
        with self._joined(content, anew=False, relayed=True, hint=hint) as fetch:
            yield fetch

    def has(self, content: Content, start: int, stop: int) -> bool:
        """Whether some bytes of a blob that is still arriving are here."""
        fetch = self._fetches.get(content.digest.hex)
        return fetch is not None and fetch.spool.size is not None and fetch.spool.present.covers(start, stop)

    @contextlib.contextmanager
    def _joined(
        self, content: Content, *, anew: bool, relayed: bool, hint: tuple[int, int] = (0, MEBIBYTE)
    ) -> Iterator[Fetch]:
        fetch = self._fetches.get(content.digest.hex)
        if fetch is None or (anew and fetch.spool.trimmed):
            fetch = self._fetches[content.digest.hex] = Fetch(self, content)
            self._all.add(fetch)
        fetch.also(content)
        if relayed and not fetch.spool.relayed:
            fetch.spool.hint = hint
        fetch.spool.join(relayed=relayed)
        try:
            yield fetch
        finally:
            fetch.spool.leave(relayed=relayed)
            self._close_if_unused(fetch)

    async def size(self, content: Content, *, relayed: bool = False) -> int:
        """Find out how large some content is, without fetching it.

        Args:
            content: which.
            relayed: whether another member asks, as of a home: then no other home is asked.

        Raises:
            OciError: nobody has it, or nobody who may have it can be asked.
        """
        fetch = self._fetches.get(content.digest.hex)
        if fetch is not None and fetch.spool.size is not None:
            return fetch.spool.size
        failures: list[SourceError] = []
        asked = [(peer, False) for peer in self.holders(content)]
        if not relayed:
            asked += [(peer, True) for peer in self.homes(content.digest.key)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SIZE_S):
                for peer, home in asked:
                    try:
                        return await self.peers.size(peer, content, home=home)
                    except PeerError as error:
                        self.failed(peer.name, error)
                        failures.append(error)
                        if home and error.reason is Reason.UNKNOWN:
                            break
        try:
            return await self.upstream.size(content)
        except UpstreamError as error:
            raise verdict(content, [*failures, error]) from error

    # Who may be asked.

    def usable(self, peers: Sequence[Peer]) -> list[Peer]:
        """Leave out members that failed lately."""
        shunned = self.shunned()
        return [peer for peer in peers if peer.name not in shunned]

    def shunned(self) -> set[str]:
        """Names of members that are out of reach, failed lately, or lied."""
        now = time.monotonic()
        self._shunned = {name: until for name, until in self._shunned.items() if until > now}
        return {*self._shunned, *self._listening}

    def awaits(self, names: Collection[str]) -> bool:
        """Whether one of some members is out of reach, and may give a sign of life any moment."""
        return any(name in self._listening for name in names)

    def holders(self, content: Content) -> list[Peer]:
        """Members that may hold some content."""
        found = self.usable(self.router.locate(content.digest.key))
        if any(peer.name not in self._views[0] for peer in found):
            self._viewed_at = -_VIEW_S  # somebody new
        return found

    def ring(self, key: bytes, without: Collection[str] = ()) -> Ring:
        """The homes of some content as of now; holders are none of what they hold. Never empty."""
        names = [seat.peer.name for seat in self.router.seats() if seat.home]
        return Ring.of(key, [name for name in names if name not in without] or [self.name])

    def homes(self, key: bytes, *, after: bool = False) -> list[Peer]:
        """The homes to ask for what comes in one piece, in order, up to this node; none where that is the first.

        Args:
            key: of the content.
            after: give those that come after this node instead.
        """
        serving = self.serving()
        peers = {seat.peer.name: seat.peer for seat in self.router.seats()}
        order = [name for name in self.ring(key).homes(0) if name in serving]
        if self.name in order:
            mine = order.index(self.name)
            order = order[mine + 1 :] if after else order[:mine]
        return [peers[name] for name in order]

    def up(self) -> Set[str]:
        """Names of members that are believed to be up, this node included, as of now or a moment ago."""
        return self._view()[0]

    def serving(self) -> Set[str]:
        """Those of them that do not decline to serve as homes."""
        return self._view()[1]

    def _view(self) -> tuple[Set[str], Set[str]]:
        now = time.monotonic()
        if now - self._viewed_at > _VIEW_S:
            self._viewed_at = now
            up = ({peer.name for peer in self.router.members()} - self.shunned()) | {self.name}
            self._views = up, up - {seat.peer.name for seat in self.router.seats() if seat.declines}
        return self._views

    def sources(self) -> dict[str, Source]:
        """Everybody who may bring something, by name."""
        members = {peer.name: peer for peer in self.router.members()}
        named: dict[str, Source] = {name: self.peers.source(peer) for name, peer in members.items()}
        return {**named, UPSTREAM: self.upstream}

    # What is learnt of them.

    def received(self, source: str, count: int) -> None:
        """Count bytes by source."""
        (self._from_upstream if source == UPSTREAM else self._from_peers).inc(count)

    def failed(self, source: str, error: SourceError) -> None:
        """Count a failure; leave a member that is down or slow alone for a while."""
        log.info("source=%s reason=%s %s", source, error.reason, error)
        self.metrics.source_failures.labels("upstream" if source == UPSTREAM else "peer", error.reason).inc()
        if source == UPSTREAM:
            return
        follows = CONSEQUENCES[error.reason]
        if follows.out_of_reach:
            self._viewed_at = -_VIEW_S
            if source not in self._listening:
                self._listening[source] = asyncio.create_task(self._listen(source), name=f"listen for {source}")
        elif follows.ban_s:
            self._viewed_at = -_VIEW_S
            self._shunned[source] = max(time.monotonic() + follows.ban_s, self._shunned.get(source, 0.0))

    async def _listen(self, name: str) -> None:
        """Shun a member that is out of reach, until it gives a sign of life or gossip says what became of it.

        Where a link was down for a moment, each member behind it failed: who went on shunning them all would have
        upstream bring what they hold.
        """
        try:
            async with asyncio.timeout(_LISTEN_MAX_S):
                while True:
                    await asyncio.sleep(_LISTEN_S)
                    peer = next((peer for peer in self.router.members() if peer.name == name), None)
                    if peer is None or await self.peers.is_alive(peer):
                        break
        except TimeoutError:
            pass  # it is tried as all others are
        finally:
            del self._listening[name]
            self._viewed_at = -_VIEW_S

    def lied(self, source: str, content: Content) -> None:
        """Name a member that said what is not so, and shun it."""
        log.error("member=%s lied about %s: shunned for %g s", source, content.digest, _SHUN_LIAR_S)
        self.metrics.lies.inc()
        self._viewed_at = -_VIEW_S
        self._shunned[source] = time.monotonic() + _SHUN_LIAR_S

    def tell_slow(self, homes: Collection[str]) -> None:
        """Tell homes that are slow so: those that nobody asks any more learn it in no other way."""
        now = time.monotonic()
        if now < self._told_at + _TELL_S:
            return
        self._told_at = now
        for seat in self.router.seats():
            name = seat.peer.name
            share = self.pace.share(name, homes, now) if name in homes and not seat.declines else None
            if share is not None and share < SLOW and name not in self._telling:
                task = self._telling[name] = asyncio.create_task(self.peers.notify_slow(seat.peer, share))
                task.add_done_callback(partial(self._told, name))

    def _told(self, name: str, task: asyncio.Task[None]) -> None:
        del self._telling[name]

    @property
    def in_memory(self) -> int:
        """How many spools are in memory now."""
        return sum(fetch.spool.bounded for fetch in self._all)

    async def make_way(self) -> bool:
        """End a fetch whose spool is in memory and that nobody reads; return whether there was one.

        Rather one that only other members asked for parts of: a client that lost its connection comes back.
        """
        left = sorted((fetch for fetch in self._all if fetch.is_left), key=lambda fetch: fetch.spool.wanted)
        for fetch in left[:1]:
            self.ends(fetch)
            fetch.task.cancel()
            await asyncio.wait([fetch.task])
        return bool(left)

    def ends(self, fetch: Fetch) -> None:
        """Have who asks for its content from now on begin anew."""
        if self._fetches.get(fetch.content.digest.hex) is fetch:
            del self._fetches[fetch.content.digest.hex]

    async def parted(self, fetch: Fetch) -> None:
        """Wait until no earlier fetch of the same content, which is ending, writes to the cache any more."""
        earlier = [
            other.task
            for other in self._all
            if other is not fetch and other.content.digest == fetch.content.digest and other.is_kept
        ]
        if earlier:
            await asyncio.wait(earlier)

    def ended(self, fetch: Fetch) -> None:
        """Let go of a fetch: who asks for its content from now on finds it in the cache, or begins anew."""
        self._all.discard(fetch)
        if self._fetches.get(fetch.content.digest.hex) is fetch:
            del self._fetches[fetch.content.digest.hex]
        self._close_if_unused(fetch)

    def _close_if_unused(self, fetch: Fetch) -> None:
        if not fetch.spool.readers and fetch not in self._all:
            fetch.spool.close()
