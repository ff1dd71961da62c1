"""The watch over members that owe an answer. A member that sends nothing may be gone, or may itself wait for upstream.

After a short silence the watch asks it for a sign of life, and knocks: it opens a connection, which a host's kernel
takes however busy the member is; soon after another one, for a full link may lose what opens it. One of which neither
comes in the time that is usual for it is `SILENT`: others are asked for the same, and the first answer counts. One that
gives no sign of life within a second is `GONE`, and all that it owes has failed. So a host that vanishes costs some 0.4
s, and one that is slow is waited for.

Source of the hedged request: Dean, Barroso, "The Tail at Scale", CACM 56 (2), 2013. The usual time is estimated as TCP
does for its retransmissions: RFC 6298.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from ...errors import Reason
from ...routers import Peer
from ...settings import PeerSettings
from .. import Life

log = logging.getLogger(__name__)

OwedT = TypeVar("OwedT", bound="Owed")


class Owed(Protocol):
    """What one member owes: an answer, or the rest of one."""

    peer: Peer

    def unheard_s(self, now: float) -> float:
        """For how long bytes are due and none came, s; 0 or less if the member owes nothing."""
        ...

    @property
    def signed_at(self) -> float:
        """When its member last gave a sign of life in answer to it, monotonic seconds; minus infinity if it did not."""
        ...

    def round_trip_s(self) -> float:
        """How long a packet takes to its member and back at most, as far as is known, s; 0 where it is not."""
        ...

    def note_sign_of_life(self, now: float) -> None:
        """Note that the member answered something else just now."""
        ...

    def give_up(self, reason: Reason, why: str) -> None:
        """End it from outside."""
        ...


@dataclass(slots=True)
class _Usual:
    """How long one member's host takes to let a connection in, s.

    Args:
        mean: smoothed.
        deviation: smoothed, from the mean.
    """

    mean: float
    deviation: float


class UsualTimes:
    """How long the host of each member takes to let a connection in. Pure.

    Args:
        settings: bounds of what follows from them.
    """

    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self._usual: OrderedDict[str, _Usual] = OrderedDict()

    def took(self, member: str, seconds: float) -> None:
        """Take note of a connection that took so long. Source: RFC 6298, section 2."""
        usual = self._usual.setdefault(member, _Usual(seconds, seconds / 2))
        self._usual.move_to_end(member)
        usual.deviation += (abs(seconds - usual.mean) - usual.deviation) / 4
        usual.mean += (seconds - usual.mean) / 8
        if len(self._usual) > self._settings.members_remembered:
            self._usual.popitem(last=False)

    def within_s(self, member: str, round_trip_s: float = 0.0) -> float:
        """The time within which a connection most likely comes if the host is there, s.

        Args:
            member: which.
            round_trip_s: how long a packet takes there and back at most at present, s, where that is known.
        """
        usual, settings = self._usual.get(member), self._settings
        expected_s = 0.0 if usual is None else usual.mean + 4 * usual.deviation
        return min(max(settings.hedge_s, expected_s, round_trip_s), settings.sign_of_life_s)


class Watch:
    """Looks after everything that members owe.

    Args:
        settings: how long a member may be silent.
        is_alive: asks a member for a sign of life; ends within a bound.
        is_there: whether the host of a member is there, however busy the member is; may take for ever.
        look: is called now and then, also while nothing is owed for a while.
    """

    def __init__(
        self,
        settings: PeerSettings,
        is_alive: Callable[[Peer], Awaitable[bool]],
        is_there: Callable[[Peer], Awaitable[bool]],
        look: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._is_alive = is_alive
        self._is_there = is_there
        self._look = look
        self._on_life: Callable[[Peer, Life], None] = lambda peer, life: None
        self._usual = UsualTimes(settings)
        self._owed: set[Owed] = set()
        self._is_owed = asyncio.Event()
        self._probes: dict[Peer, asyncio.Task[None]] = {}
        """Questions for a sign of life, one at a time to each member."""
        self._signs: dict[Peer, tuple[asyncio.Future[bool], float]] = {}
        """Their outcomes, and since when they are waited for, monotonic seconds: bytes are a sign of life as well."""
        self._asked_after: dict[Peer, float] = {}
        """By member that gives signs of life, and nothing of what it owes: the silence after which it is asked again,
        s."""
        self._task: asyncio.Task[None] | None = None
        self._has_logged = False

    async def close(self) -> None:
        """Stop watching."""
        tasks = [*self._probes.values(), *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def follow(self, on_life: Callable[[Peer, Life], None]) -> None:
        """Tell from now on what becomes of members; `SILENT` is followed by one of the others."""
        self._on_life = on_life

    @contextlib.contextmanager
    def over(self, owed: OwedT) -> Iterator[OwedT]:
        """Watch over something that is owed."""
        self._owed.add(owed)
        self._is_owed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="watch members")
        try:
            yield owed
        finally:
            self._owed.discard(owed)
            self.heard(owed.peer, owed.signed_at)

    def heard(self, peer: Peer, signed_at: float) -> None:
        """Wait no longer for a sign of life of a member that has sent bytes since it was asked for one.

        Args:
            peer: the member.
            signed_at: when it last sent any, monotonic seconds.
        """
        sign, asked_at = self._signs.get(peer, (None, math.inf))
        if sign is not None and signed_at > asked_at and not sign.done():
            sign.cancel()
            self._on_life(peer, Life.ALIVE)

    async def _run(self) -> None:
        while True:
            if not self._owed:
                self._is_owed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.silent_max_s):
                        await self._is_owed.wait()
            await asyncio.sleep(self._settings.watch_interval_s)
            try:
                self._poll(time.monotonic())
                self._look()
            except Exception:  # the root of a task: if it ended, requests would wait for silent members for ever
                log.exception("the watch over members failed unexpectedly")
                await asyncio.sleep(self._settings.silent_max_s)

    def _poll(self, now: float) -> None:
        """Look at everything once."""
        settings, signed, unheard = self._settings, dict[Peer, float](), dict[Peer, float]()
        for owed in list(self._owed):
            unheard_s = owed.unheard_s(now)
            if unheard_s > settings.stall_s:
                owed.give_up(Reason.UNABLE, f"has sent nothing for {settings.stall_s:g} s, but lives")
            signed[owed.peer] = max(signed.get(owed.peer, -math.inf), owed.signed_at)
            unheard[owed.peer] = max(unheard.get(owed.peer, 0.0), unheard_s)
        self._asked_after = {
            peer: after_s for peer, after_s in self._asked_after.items() if unheard.get(peer, 0.0) > settings.silent_s
        }
        for peer, signed_at in signed.items():
            self.heard(peer, signed_at)
        for peer, unheard_s in unheard.items():
            after_s = self._asked_after.get(peer, settings.silent_s)
            if min(unheard_s, now - signed[peer]) > after_s and peer not in self._probes:
                task = self._probes[peer] = asyncio.create_task(self._probe(peer, now), name=f"probe {peer.name}")
                task.add_done_callback(partial(self._ended, peer))

    def _ended(self, peer: Peer, task: asyncio.Task[None]) -> None:
        del self._probes[peer]
        if not task.cancelled() and (error := task.exception()) is not None and not self._has_logged:
            log.error("a question for a sign of life failed unexpectedly; this is logged only once", exc_info=error)
            self._has_logged = True

    async def _probe(self, peer: Peer, now: float) -> None:
        """Ask a member for a sign of life; without one all that it owes has failed."""
        life = Life.ALIVE
        asking = asyncio.ensure_future(self._is_alive(peer))
        self._signs[peer] = asking, now
        knocking: asyncio.Future[bool] | None = None
        try:
            if not await self._one_ends(self._settings.knock_s, asking):
                knocking = asyncio.ensure_future(self._knock(peer))
                round_trip_s = max((owed.round_trip_s() for owed in self._owed if owed.peer == peer), default=0.0)
                within_s = self._usual.within_s(peer.name, round_trip_s)
                if not await self._one_ends(within_s, asking, knocking):
                    log.debug(
                        "a member is silent: others are asked as well source=%s within_s=%.3f", peer.name, within_s
                    )
                    self._on_life(peer, Life.SILENT)
                    await asyncio.wait([asking, knocking], return_when=asyncio.FIRST_COMPLETED)
                if _is_true(knocking):
                    self._on_life(peer, Life.ALIVE)
            await asyncio.wait([asking])
            if _is_true(asking):
                self._note_sign_of_life(peer)
            elif not asking.cancelled() and not any(owed.peer == peer and owed.signed_at > now for owed in self._owed):
                life = Life.GONE
                for owed in [owed for owed in self._owed if owed.peer == peer and owed.unheard_s(now) > 0]:
                    owed.give_up(Reason.STALLED, "gave no sign of life")
        finally:
            del self._signs[peer]
            for future in (asking, *([knocking] if knocking is not None else [])):
                future.cancel()
            self._on_life(peer, life)

    async def _knock(self, peer: Peer) -> bool:
        """Whether the host of a member is there. One that is not is waited for, since the member is asked as well.

        A full link loses packets, and TCP sends the first one of a connection again only after a second. So another
        connection is tried soon, and a third one.
        """
        knocks = set[asyncio.Task[bool]]()
        try:
            for _ in range(self._settings.knocks):
                knocks.add(asyncio.create_task(self._knock_once(peer)))
                if await self._one_ends(self._settings.knock_again_s, *knocks):
                    break
            await asyncio.wait(knocks, return_when=asyncio.FIRST_COMPLETED)
            return True
        finally:
            for knock in knocks:
                knock.cancel()

    async def _knock_once(self, peer: Peer) -> bool:
        began_at = time.monotonic()
        if not await self._is_there(peer):
            await asyncio.Event().wait()
        self._usual.took(peer.name, time.monotonic() - began_at)
        return True

    async def _one_ends(self, within_s: float, *futures: "asyncio.Future[bool]") -> bool:
        """Whether one ends in time. While this node's own loop is late, no time counts: the answer may wait here."""
        slice_s = self._settings.watch_interval_s
        while within_s > 0 and not any(future.done() for future in futures):
            await asyncio.wait(futures, timeout=min(slice_s, within_s), return_when=asyncio.FIRST_COMPLETED)
            within_s -= slice_s
        return any(future.done() for future in futures)

    def _note_sign_of_life(self, peer: Peer) -> None:
        """It waits for somebody else, perhaps for long: it is asked less often."""
        settings, now = self._settings, time.monotonic()
        self._asked_after[peer] = min(2 * self._asked_after.get(peer, settings.silent_s), settings.silent_max_s)
        for owed in self._owed:
            if owed.peer == peer:
                owed.note_sign_of_life(now)


def _is_true(future: "asyncio.Future[bool]") -> bool:
    return future.done() and not future.cancelled() and future.result()
