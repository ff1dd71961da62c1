"""Health of members: who is not asked, and why.

A member that is proven to have sent wrong bytes of its own is banned. One that gave no sign of life is out of reach
until it gives one. While it is silent, before that is known, and for some seconds after all other failures, it is the
last resort.
"""

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from typing import Any, TypeVar

from ..errors import PeerError, Reason, SourceError
from ..events import BanBegan, BanEnded, Tell, nobody
from ..metrics import Metrics
from ..oci.content import Content
from ..routers import Peer
from ..settings import ClusterSettings
from ..sources import Life, Role
from ..sources.failures import CONSEQUENCES

log = logging.getLogger(__name__)

T = TypeVar("T")

_QUESTIONS_MAX = 3
"""Bounds the questions to one member that are under way at once: those of the second for which one waits."""


class Trouble(enum.StrEnum):
    """Why a member is not asked, or only where nobody else can be. The value stands on the status endpoint."""

    BANNED = "banned"
    """It is proven that it sent wrong bytes of its own."""
    OUT_OF_REACH = "out of reach"
    """It gave no sign of life, and is asked for one."""
    SILENT = "silent"
    """It owes something, and may be gone."""
    RESTS = "rests"
    """It failed, or is doubted: it is left alone for some seconds."""


class PeerHealth:
    """Keeps members out of the choice that are banned, out of reach, or rest.

    What follows from a failure stands in `sources.failures`.

    Args:
        find: gives the member of a name, or None if gossip knows none that is up.
        is_alive: asks a member for a sign of life.
        notify_wrong: tells a member a range of some content of which it sent wrong bytes.
        metrics: counts failures.
        settings: for how long.
        on_event: told when a member is banned, and when that is over.
        later: has something called after so many seconds; None: by the event loop.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - whom it asks and tells
        self,
        find: Callable[[str], Peer | None],
        is_alive: Callable[[Peer], Awaitable[bool]],
        notify_wrong: Callable[[Peer, Content, tuple[int, int]], Awaitable[None]],
        metrics: Metrics,
        settings: ClusterSettings | None = None,
        on_event: Tell = nobody,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._find = find
        self._is_alive = is_alive
        self._notify_wrong = notify_wrong
        self._metrics = metrics
        self._settings = settings or ClusterSettings()
        self._on_event = on_event
        self._later = later or (lambda seconds, do: asyncio.get_running_loop().call_later(seconds, do))
        self._banned_until: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}
        self._doubts: dict[str, tuple[float, float]] = {}
        """By name: for how long it rests after the next doubt, s; until when that is remembered, monotonic seconds."""
        self._probes: dict[str, asyncio.Task[None]] = {}
        """Members out of reach, each with the task that asks it for a sign of life."""
        self._silent: set[str] = set()
        """Members that owe something, and may be gone."""
        self._followers: set[Callable[[], object]] = set()
        self._notices: dict[str, asyncio.Task[None]] = {}
        """Members that are being told that they sent wrong bytes."""
        self.version = 0
        """Grows whenever a member becomes unusable, or becomes usable again before its time ends."""

    async def close(self) -> None:
        """Stop asking for signs of life, and drop notices that are under way."""
        tasks = [*self._probes.values(), *self._notices.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def unusable(self) -> set[str]:
        """Names of members that are not to be asked now."""
        now = time.monotonic()
        self._banned_until = {name: until for name, until in self._banned_until.items() if until > now}
        self._rests_until = {name: until for name, until in self._rests_until.items() if until > now}
        return {*self._banned_until, *self._rests_until, *self._probes, *self._silent}

    def troubles(self) -> dict[str, Trouble]:
        """Why members are not to be asked now, by name, for people."""
        self.unusable()  # forgets what is over
        return {
            **dict.fromkeys(self._rests_until, Trouble.RESTS),
            **dict.fromkeys(self._silent, Trouble.SILENT),
            **dict.fromkeys(self._probes, Trouble.OUT_OF_REACH),
            **dict.fromkeys(self._banned_until, Trouble.BANNED),
        }

    def resting(self) -> set[str]:
        """Names of members that are not to be asked now if anybody else can give the same.

        They failed, are doubted, or are silent. None of them is banned, or out of reach.
        """
        return self.unusable() - self._banned_until.keys() - self._probes.keys()

    def silent(self) -> set[str]:
        """Names of members that may be gone: what they owe is asked of others as well."""
        return set(self._silent)

    def noticed(self, peer: Peer, life: Life) -> None:
        """Take note of what was found out of a member that owes an answer to anybody on this node."""
        name, before = peer.name, set(self._silent)
        if life is Life.SILENT and name not in self._probes:
            self._silent.add(name)
        else:
            self._silent.discard(name)
        if life is Life.GONE:
            self._leave_alone(name)
        if life is Life.GONE or self._silent != before:
            self.version += 1
            _call(self._followers)

    @contextlib.contextmanager
    def followed(self, on_change: Callable[[], object]) -> Iterator[None]:
        """Tell somebody, within `with`, whenever a member becomes silent, or is so no more, or is in reach again."""
        self._followers.add(on_change)
        try:
            yield
        finally:
            self._followers.discard(on_change)

    async def unless_silent(self, name: str, asking: Coroutine[Any, Any, T]) -> T:
        """The answer to a small question, unless its member may be gone: somebody else may know the same.

        Raises:
            PeerError: `SILENT`, or what the question raises.
        """
        task, is_silent = asyncio.create_task(asking), asyncio.Event()

        def look() -> None:
            if name in self._silent or name in self._probes:
                is_silent.set()

        waiting = asyncio.create_task(is_silent.wait())
        try:
            with self.followed(look):
                look()
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise PeerError(Reason.SILENT, f"{name} gives no sign of life")
            return task.result()
        finally:
            waiting.cancel()
            task.cancel()
            await asyncio.gather(task, waiting, return_exceptions=True)

    def is_banned(self, name: str) -> bool:
        """Whether it is proven that a member sent wrong bytes of its own, a while ago."""
        return self._banned_until.get(name, 0.0) > time.monotonic()

    def awaits(self, names: Collection[str]) -> bool:
        """Whether one of some members is out of reach or silent, and may give a sign of life at any moment."""
        return any(name in self._probes or name in self._silent for name in names)

    def failed(self, name: str, error: SourceError, role: Role | None = None) -> None:
        """Count a failure of a member, and leave it alone for as long as follows from the reason.

        Args:
            name: the member.
            error: the failure.
            role: what it was asked as, where it was asked for bytes.
        """
        if error.reason is Reason.SILENT:
            return  # the watch over it has told, and will tell what becomes of it
        log.debug("a member did not deliver: %s source=%s reason=%s", error, name, error.reason)
        self._metrics.source_failed("peer", error.reason)
        follows = CONSEQUENCES[error.reason]
        if follows.out_of_reach:
            self._leave_alone(name)
        elif follows.node_rest_s and (follows.homes_rest or role is not Role.HOME):
            self._rest(name, follows.node_rest_s)

    def _leave_alone(self, name: str) -> None:
        """Leave a member alone until it gives a sign of life."""
        if name not in self._probes:
            self._probes[name] = asyncio.create_task(self._probe(name), name=f"probe {name}")
            self.version += 1

    def sent_corrupt(self, name: str, what: object) -> None:
        """Ban a member that sent bytes of its own copy that are proven wrong.

        Source: smart ban in libtorrent (a peer whose pieces fail the hash is found by comparing, and banned).
        """
        ban_s = self._settings.corrupt_ban_s
        log.error("member %s sent corrupt bytes of %s: banned for %g s", name, what, ban_s)
        self._metrics.corrupt_peers.inc()
        self._banned_until[name] = time.monotonic() + ban_s
        self._on_event(BanBegan(name, str(what), ban_s))
        self._later(ban_s, lambda: self._look_whether_ended(name))
        self.version += 1

    def _look_whether_ended(self, name: str) -> None:
        """Tell that a ban is over, unless a later one goes on."""
        if not self.is_banned(name):
            self._on_event(BanEnded(name))

    def doubt(self, name: str, what: object, *, sent_it: bool = True) -> None:
        """Leave a member alone for some seconds: what it sent was wrong, but may have been another's fault.

        Args:
            name: the member.
            what: of which content.
            sent_it: whether it sent that itself. Then the time doubles with each doubt, up to that of a proven lie. The
                word of others that it is the origin never costs more than the shortest time.
        """
        settings, now = self._settings, time.monotonic()
        self._doubts = {name: doubt for name, doubt in self._doubts.items() if doubt[1] > now}
        doubt_s, _ = self._doubts.get(name, (settings.doubt_s, 0.0))
        rest_s = doubt_s if sent_it else settings.doubt_s
        log.info("member %s may have sent wrong bytes of %s: left alone for %g s", name, what, rest_s)
        if sent_it:
            doubled_s = min(2 * doubt_s, settings.corrupt_ban_s)
            self._doubts[name] = doubled_s, now + rest_s + settings.corrupt_ban_s
        self._rest(name, rest_s)

    def tell(self, name: str, content: Content, wrong: tuple[int, int]) -> None:
        """Tell a member a range of which it sent wrong bytes, so that it looks at its copy; one notice at a time."""
        peer = self._find(name)
        if peer is not None and name not in self._notices:
            self._notices[name] = asyncio.create_task(self._tell(peer, content, wrong), name=f"tell {name}")

    async def _tell(self, peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
        try:
            await self._notify_wrong(peer, content, wrong)
        finally:
            del self._notices[peer.name]

    def _rest(self, name: str, rest_s: float) -> None:
        self._rests_until[name] = max(time.monotonic() + rest_s, self._rests_until.get(name, 0.0))
        self.version += 1

    async def _probe(self, name: str) -> None:
        """Leave a member alone until it gives a sign of life, or gossip says what became of it.

        Where a link was down for a moment, every member behind it failed. If this node went on leaving them all alone,
        upstream would have to send what they hold. A question that was lost just before the link was whole again must
        not hold the next one up.
        """
        asking, is_alive = set[asyncio.Task[None]](), asyncio.Event()

        async def ask(peer: Peer) -> None:
            if await self._is_alive(peer):
                is_alive.set()

        try:
            async with asyncio.timeout(self._settings.out_of_reach_max_s):
                while not await _happens(is_alive, self._settings.probe_s) and (peer := self._find(name)) is not None:
                    asking = {task for task in asking if not task.done()}
                    if len(asking) < _QUESTIONS_MAX:
                        asking.add(asyncio.create_task(ask(peer)))
        except TimeoutError:
            pass  # it is tried again as all others are
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            del self._probes[name]
            self.version += 1
            _call(self._followers)


def _call(followers: Collection[Callable[[], object]]) -> None:
    for on_change in list(followers):
        on_change()


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    """Whether something happens within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
