"""Upstream under watch: whoever asks a registry that does not answer learns it soon, and the next one at once.

A registry may be slow with one answer: it wakes storage up, or fetches from elsewhere. So who waits for an answer, its
head or more of its body, does not give up by a clock of its own. After a short silence the registry is asked for a sign
of life; whatever any answer of it brings is one. If it gives none, it is out, and all requests fail at once until it
answers again. While anybody wants something of it, it is asked again and again, so that it is used as soon as it is
back; a request that comes meanwhile asks once more itself. TCP alone would take up a body that broke off as long after
the return as the line was cut, for the registry's kernel doubles the time between its tries.

What other members say makes this node ask for a sign of life, too, before a client has to wait for that: see `words`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Container, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from ..errors import Reason, UpstreamError, UpstreamOffline, UpstreamOut
from ..events import OutageBegan, OutageEnded, Tell, nobody
from ..oci.content import Content
from ..oci.reference import Reference, Repository
from ..settings import OutageSettings
from . import (
    UPSTREAM,
    GuestSource,
    ListSource,
    Page,
    RangeReply,
    RangeRequest,
    Resolved,
    Shown,
    Sink,
    SizedSource,
    Standing,
)
from .outages import Outages
from .words import Sees, Words

log = logging.getLogger(__name__)

T = TypeVar("T")

_UNANSWERED = (Reason.UNREACHABLE, Reason.TIMEOUT)


class Registries(SizedSource, ListSource, Protocol):
    """Upstream as it is: all registries, which may not answer."""

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means; see `TagSource.resolve`."""
        ...

    async def answers(self, registry: str) -> bool:
        """Whether a registry answers anything at all; waits for as long as it takes."""
        ...


class WatchedUpstream:
    """Upstream, which fails soon where a registry does not answer. Otherwise as what it watches over.

    Args:
        registries: asks them.
        outages: what is known of them.
        settings: how long they may be silent.
        offline: which of them are never asked.
        words: what members say of them.
        on_event: told when one does not answer, and when that is over.
    """

    name = UPSTREAM

    def __init__(
        self,
        registries: Registries,
        outages: Outages,
        settings: OutageSettings,
        offline: Container[str] = frozenset(),
        words: Words | None = None,
        on_event: Tell = nobody,
    ) -> None:
        self._words = words or Words(settings)
        self._on_event = on_event
        self._offline = offline
        self._registries = registries
        self._outages = outages
        self._settings = settings
        self._asking: dict[str, asyncio.Task[bool]] = {}
        """Questions for a sign of life, the last of each registry."""
        self._asked_at: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        """What is being found out since a member sees something else than this node."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_alone: Callable[[], bool] = lambda: False

    def follow(self, is_alone: Callable[[], bool]) -> None:
        """Ask from now on whether members that were in reach are so no more: then a registry has less time."""
        self._is_alone = is_alone

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self, payload: bytes) -> None:
        """Take in what other members say of registries: where they see something else, this node looks itself."""
        now = time.monotonic()
        for registry, sees in self._words.heard(payload, now):
            is_out = self._outages.why(registry, now) is not None
            lives = self._outages.lives(registry, now, now - self._settings.silent_s)
            is_news = is_out if sees is Sees.ANSWERS else not (is_out or lives)
            if is_news and registry not in self._offline and registry not in self._looking:
                self._looking[registry] = looking = self._begin(self._look(registry))
                looking.add_done_callback(partial(self._looking.pop, registry))

    def state(self) -> bytes:
        """What members say of registries, for another member."""
        return self._words.state(time.monotonic())

    def standing(self, registry: str) -> Standing:
        """See `TagSource.standing`."""
        if self._outages.why(registry, time.monotonic()) is not None:
            return Standing.OUT
        asking = self._asking.get(registry)
        is_doubted = registry in self._looking or (asking is not None and not asking.done())
        return Standing.DOUBTED if is_doubted else Standing.ASKED

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means; see `TagSource.resolve`."""
        return await self.watch(reference.repository.registry, lambda: self._registries.resolve(reference))

    async def page(self, repository: Repository, what: str, query: str) -> Page:
        """Ask for a page of a list; see `ListSource.page`."""
        return await self.watch(repository.registry, lambda: self._registries.page(repository, what, query))

    async def size(self, content: Content, expected: int | None = None) -> int:
        """Ask how many bytes some content has; see `SizedSource.size`."""
        return await self.watch(content.repository.registry, lambda: self._registries.size(content, expected))

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Put a range of some content into a sink; see `Source.download`."""
        registry = content.repository.registry
        signs = _Signs(sink, lambda: self._outages.signed(registry, time.monotonic()))
        await self.watch(registry, lambda: self._registries.download(content, request, signs), signs.silent_since)

    async def watch(
        self,
        registry: str,
        ask: Callable[[], Coroutine[Any, Any, T]],
        silent_since: Callable[[], float | None] | None = None,
    ) -> T:
        """The outcome of a question.

        Args:
            registry: who is asked.
            ask: asks.
            silent_since: says since when nothing has come, monotonic seconds; None if nothing is waited for. By default
                an answer comes at once and whole.

        Raises:
            UpstreamOut: the registry gives no sign of life.
            UpstreamError: what the question raises.
        """
        await self._admit(registry)
        task, began_at = asyncio.create_task(ask()), time.monotonic()
        silent_since, asked_at = silent_since or (lambda: began_at), began_at
        try:
            while not task.done():
                since, now = silent_since(), time.monotonic()
                settings, quiet_from = self._settings, now if since is None else max(since, asked_at)
                due_at = quiet_from + (settings.alone_silent_s if self._is_alone() else settings.silent_s)
                # Whether the node is alone may change meanwhile: so it is looked at as often as that counts.
                await asyncio.wait([task], timeout=max(0.0, min(due_at - now, settings.alone_silent_s)))
                if since is None or silent_since() != since or task.done() or time.monotonic() < due_at:
                    continue
                if await self._lives(registry, since):
                    asked_at = time.monotonic()
                elif not (task.done() or self._outages.lives(registry, time.monotonic(), since)):
                    raise self._out(registry, "it gives no sign of life")
            outcome = await task
        except UpstreamError as error:
            if error.reason in _UNANSWERED and not await self._lives(registry):
                raise self._out(registry, str(error)) from error
            raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._outages.signed(registry, time.monotonic())
        return outcome

    async def _admit(self, registry: str) -> None:
        """Refuse at once what a registry would not answer, unless it turns out to be back within a moment.

        Raises:
            UpstreamOffline: it is never asked.
            UpstreamOut: it is out.
        """
        if registry in self._offline:
            raise UpstreamOffline(f"{registry} is never asked by this node: --offline")
        if (looking := self._looking.get(registry)) is not None:
            await asyncio.wait([looking])
        now = time.monotonic()
        if self._outages.why(registry, now) is None:
            return
        self._outages.wanted(registry, now)
        asking, since_s = self._asking.get(registry), now - self._asked_at.get(registry, -math.inf)
        is_mine = self._words.is_first(registry, now)
        if asking is None or (asking.done() and is_mine) or since_s >= self._words.probe_s(registry, now) / 2:
            asking = self._ask(registry)  # a question that is under way may have been lost before the registry was back
        await asyncio.wait([asking], timeout=self._settings.grace_s)
        if (why := self._outages.why(registry, now)) is not None:
            raise UpstreamOut(why, self._settings.retry_after_s)

    def _out(self, registry: str, why: str) -> UpstreamOut:
        """Take note that a registry is out, and look out for its return; returns the error to raise."""
        now = time.monotonic()
        if self._outages.why(registry, now) is None:
            self._outages.began(registry, why, now)
            self._words.say(registry, Sees.OUTAGE, now)
            log.warning("a registry does not answer; what members hold is served registry=%s why=%s", registry, why)
            self._on_event(OutageBegan(registry, why))
            self._begin(self._look_out(registry))
        return UpstreamOut(f"{registry} does not answer: {why}", self._settings.retry_after_s)

    async def _look_out(self, registry: str) -> None:
        """Ask a registry that is out until it answers, or nobody wants it any more, here or on another member."""
        while self._outages.why(registry, now := time.monotonic()) is not None:
            if self._outages.is_wanted(registry, now):
                self._words.repeat(registry, now)
            elif not self._words.others(registry, now):
                self._ended(registry, answers=False)
                break
            await asyncio.sleep(self._words.probe_s(registry, now))
            if self._outages.why(registry, time.monotonic()) is not None:
                self._ask(registry)  # the last question may have been lost just before the line was whole again

    def _ended(self, registry: str, *, answers: bool) -> None:
        now = time.monotonic()
        out_s = self._outages.shown(now).get(registry, 0.0)
        log.info("a registry %s registry=%s out_s=%.0f", "answers again" if answers else "is not wanted any more",
                 registry, out_s)  # fmt: skip
        self._on_event(OutageEnded(registry, answers, round(out_s, 1)))
        if answers:
            self._outages.returned(registry, now)
        else:
            self._outages.ended(registry)
        self._words.say(registry, Sees.ANSWERS, now)

    async def _look(self, registry: str) -> None:
        """Find out whether a registry answers this node, as another member sees something else."""
        since_s = time.monotonic() - self._asked_at.get(registry, -math.inf)
        await asyncio.sleep(max(0.0, self._settings.probe_s / 4 - since_s))
        answers = await asyncio.shield(self._ask(registry))
        if not answers and self._outages.why(registry, time.monotonic()) is None:
            self._out(registry, "a member says so, and it gives no sign of life here either")

    async def _lives(self, registry: str, silent_since: float = -math.inf) -> bool:
        """Whether a registry gives a sign of life, or gave one a moment ago. All who want to know ask once.

        Args:
            registry: which.
            silent_since: since when one question has had no answer: a sign before that says nothing, and the other
                members are told to look as well.
        """
        now = time.monotonic()
        if self._outages.lives(registry, now, silent_since):
            return True
        if silent_since > -math.inf:
            self._words.say(registry, Sees.SILENCE, now)
        asking = self._asking.get(registry)
        if asking is None or asking.done():
            asking = self._ask(registry)
        return await asyncio.shield(asking)

    def _ask(self, registry: str) -> "asyncio.Task[bool]":
        self._asked_at[registry] = time.monotonic()
        self._asking[registry] = task = self._begin(self._sign_of_life(registry))
        return task

    async def _sign_of_life(self, registry: str) -> bool:
        began_at, within_s = time.monotonic(), self._settings.sign_of_life_s
        if self._is_alone() and self._outages.why(registry, began_at) is None:
            within_s = self._settings.alone_sign_of_life_s
        try:
            async with asyncio.timeout(within_s):
                answers = await self._registries.answers(registry)
        except TimeoutError:
            # An event loop that is as late as that may have missed the answer: then nothing is known of the registry.
            answers = time.monotonic() - began_at > 2 * within_s
        if answers:
            now = time.monotonic()
            if self._outages.why(registry, now) is not None:
                self._ended(registry, answers=True)
            self._outages.signed(registry, now)
        return answers

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class WatchedGuests:
    """What registries show to others, which fails soon where a registry does not answer.

    Args:
        registries: asks them.
        upstream: watches over questions.
    """

    def __init__(self, registries: GuestSource, upstream: WatchedUpstream) -> None:
        self._registries = registries
        self._upstream = upstream

    async def shows(self, repository: Repository, path: str, authorization: str | None) -> Shown:
        """Ask for something as somebody else; see `GuestSource.shows`."""
        return await self._upstream.watch(
            repository.registry, lambda: self._registries.shows(repository, path, authorization)
        )


class _Signs:
    """A sink that takes all that comes for a sign of life, and knows for how long nothing has come.

    Args:
        sink: gets everything.
        on_sign: is called whenever something has come.
    """

    def __init__(self, sink: Sink, on_sign: Callable[[], None]) -> None:
        self._sink = sink
        self._on_sign = on_sign
        self._silent_since: float | None = time.monotonic()

    def silent_since(self) -> float | None:
        """Since when nothing has come, monotonic seconds; None while the sink has no space for what came."""
        return self._silent_since

    async def begin(self, reply: RangeReply) -> None:
        """See `Sink.begin`."""
        self._came()
        await self._sink.begin(reply)
        self._silent_since = time.monotonic()

    def begin_at_once(self, reply: RangeReply) -> bool:
        """See `Sink.begin_at_once`."""
        return self._sink.begin_at_once(reply)

    async def wait_for_space(self, position: int) -> None:
        """See `Sink.wait_for_space`: it is called when bytes have come, and before they are put."""
        self._came()
        await self._sink.wait_for_space(position)
        self._silent_since = time.monotonic()

    def put(self, position: int, part: bytes | memoryview) -> None:
        """See `Sink.put`."""
        self._sink.put(position, part)
        self._silent_since = time.monotonic()

    def _came(self) -> None:
        self._silent_since = None
        self._on_sign()
