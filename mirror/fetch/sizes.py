"""Sizes: how large some content is, without fetching it, for requests for a mere head."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cluster.health import PeerHealth
from ..cluster.view import ClusterView
from ..errors import MirrorError, PeerError, Reason, SizeUnproven, SourceError, UpstreamError
from ..oci.content import Content
from ..routers import Peer
from ..settings import FetchSettings
from ..sources import Role
from ..sources.outages import Outages
from .absences import Absences
from .client_error import client_error
from .demand import Audience
from .fetches import Fetches
from .second_opinion import SecondOpinion


class SizeQuery:
    """Asks holders, homes and upstream, in this order. What a member says is confirmed by others, if they can be asked.

    Args:
        fetches: know the sizes of what is being fetched.
        cluster: who may be asked.
        health: is told of failures.
        ask_member: asks one member, in a role, for a size in bytes; raises PeerError.
        ask_upstream: asks upstream; raises UpstreamError.
        absences: remembers what nobody has.
        opinion: confirms what one member says.
        outages: knows the registries that do not answer.
        settings: for how long members are asked.
    """

    def __init__(  # noqa: PLR0913 - whom it asks, one after the other
        self,
        fetches: Fetches,
        cluster: ClusterView,
        health: PeerHealth,
        ask_member: Callable[[Peer, Content, Role], Coroutine[Any, Any, int]],
        ask_upstream: Callable[[Content], Awaitable[int]],
        *,
        absences: Absences,
        opinion: SecondOpinion,
        outages: Outages,
        settings: FetchSettings | None = None,
    ) -> None:
        self._fetches = fetches
        self._cluster = cluster
        self._health = health
        self._ask_member = ask_member
        self._ask_upstream = ask_upstream
        self._absences = absences
        self._opinion = opinion
        self._outages = outages
        self._asking: dict[tuple[Content, Audience], asyncio.Task[int]] = {}
        """Questions under way: whoever asks the same meanwhile waits for the same answer."""
        self._settings = settings or FetchSettings()

    async def size(self, content: Content, audience: Audience = Audience.LOCAL) -> int:
        """The size of some content, in bytes. For a member, which asks this node as a home, no other home is asked.

        A client is told only what others confirm, for no digest will prove it: a mere head is all that it gets.

        Raises:
            SizeUnproven: one member alone says how large it is.
            OciError: nobody has it, or nobody who may have it can be asked.
        """
        known = self._fetches.size(content, audience)
        if known is not None:
            return known
        about = content, audience
        task = self._asking.get(about)
        if task is None:
            if not self._cluster.holders(content.digest.key):
                self._absences.check(content)
            task = self._asking[about] = asyncio.create_task(
                self._ask(content, audience), name=f"size {content.digest}"
            )
            task.add_done_callback(lambda done: self._answered(about, done))
        return await asyncio.shield(task)

    def _answered(self, about: tuple[Content, Audience], task: asyncio.Task[int]) -> None:
        del self._asking[about]
        if not task.cancelled() and isinstance(error := task.exception(), MirrorError):
            self._absences.note(about[0], error)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, content: Content, audience: Audience) -> int:
        search = _Search(content, audience)
        key, registry = content.digest.key, content.repository.registry
        asked = [(peer, Role.HOLDER) for peer in await self._cluster.find_holders(key)]
        if audience is Audience.LOCAL and not self._outages.is_told(registry, time.monotonic()):
            asked += [(peer, Role.HOME) for peer in self._cluster.homes(key)]
        size = await self._ask_members(search, asked)
        if size is not None:
            return size
        second = asyncio.create_task(self._ask_second_home(search))
        try:
            return await self._ask_upstream(content)
        except UpstreamError as error:
            size = await second
            if size is None:  # who gave no sign of life in time may be late after all, and nobody else knows
                size = await self._ask_members(search, search.silent)
            if size is not None:
                return size
            lone = next((failure for failure in search.failures if failure.reason is Reason.LENGTH), None)
            if lone is not None:
                raise SizeUnproven(f"{content.digest}: {lone}, and upstream: {error}") from error
            raise client_error(content, [*search.failures, error]) from error
        finally:
            second.cancel()

    async def _ask_members(self, search: "_Search", asked: Sequence[tuple[Peer, Role]]) -> int | None:
        """Ask one member after the other, for a bounded time; what comes of it stands in the search."""
        content, may_wait = search.content, asked is search.silent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.size_s):
                for number, (peer, role) in enumerate(asked, 1):
                    asking = self._ask_member(peer, content, role)
                    try:
                        size = await (asking if may_wait else self._health.unless_silent(peer.name, asking))
                        is_confirmed = await self._opinion.confirms(content, peer.name, size, search.lone)
                        if is_confirmed or search.audience is Audience.MEMBER:
                            return size
                        search.lone.append(peer.name)
                        raise SourceError(Reason.LENGTH, f"{peer.name} alone says that it has {size} bytes")
                    except SourceError as error:
                        if error.reason is Reason.SILENT:
                            search.silent.append((peer, role))
                            continue
                        if isinstance(error, PeerError):
                            self._health.failed(peer.name, error)
                        search.failures.append(error)
                        if role is Role.HOME and error.reason is Reason.OUTAGE:
                            search.untold = asked[number:]
                        if role is Role.HOME and error.reason in (Reason.UNKNOWN, Reason.OUTAGE):
                            break
        return None

    async def _ask_second_home(self, search: "_Search") -> int | None:
        """Where a home says that the registry gives it no sign of life, ask one more, while this node asks upstream."""
        if search.untold is None:
            return None
        size = await self._ask_members(search, search.untold[:1])
        if size is None:
            self._outages.told(search.content.repository.registry, time.monotonic())
        return size


@dataclass(slots=True)
class _Search:
    """What came of the questions for one size.

    Args:
        content: of which.
        audience: for whom.
        failures: of those who were asked.
        silent: members that may be gone, and were not waited for.
        lone: members whose word nobody confirmed; a home may have its word from them.
        untold: homes that come after one that said that the registry gives it no sign of life; None if none did.
    """

    content: Content
    audience: Audience
    failures: list[SourceError] = field(default_factory=list)
    silent: list[tuple[Peer, Role]] = field(default_factory=list)
    lone: list[str] = field(default_factory=list)
    untold: Sequence[tuple[Peer, Role]] | None = None
