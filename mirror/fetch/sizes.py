"""Sizes: how large some content is, without fetching it, for requests for a mere head."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from ..cluster.health import PeerHealth
from ..cluster.view import ClusterView
from ..errors import MirrorError, PeerError, Reason, SourceError, Unavailable, UpstreamError
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
        ask_member: Callable[[Peer, Content, Role], Awaitable[int]],
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
            OciError: nobody has it, nobody who may have it can be asked, or one member alone says how large it is.
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
        failures: list[SourceError] = []
        key, registry = content.digest.key, content.repository.registry
        asked = [(peer, Role.HOLDER) for peer in await self._cluster.find_holders(key)]
        if audience is Audience.LOCAL and not self._outages.is_told(registry, time.monotonic()):
            asked += [(peer, Role.HOME) for peer in self._cluster.homes(key)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.size_s):
                for peer, role in asked:
                    try:
                        size = await self._ask_member(peer, content, role)
                        if await self._opinion.confirms(content, peer.name, size) or audience is Audience.MEMBER:
                            return size
                        raise SourceError(Reason.LENGTH, f"{peer.name} alone says that it has {size} bytes")
                    except SourceError as error:
                        if isinstance(error, PeerError):
                            self._health.failed(peer.name, error)
                        failures.append(error)
                        if role is Role.HOME and error.reason is Reason.OUTAGE:
                            self._outages.told(registry, time.monotonic())
                        if role is Role.HOME and error.reason in (Reason.UNKNOWN, Reason.OUTAGE):
                            break
        try:
            return await self._ask_upstream(content)
        except UpstreamError as error:
            lone = next((failure for failure in failures if failure.reason is Reason.LENGTH), None)
            if lone is not None:
                raise Unavailable(f"{content.digest}: {lone}, and upstream: {error}") from error
            raise client_error(content, [*failures, error]) from error
