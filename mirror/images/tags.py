"""What a tag means now. A digest never changes, a tag does.

Upstream says, by HEAD, which Docker Hub does not count as a pull, and at most once per freshness time for the whole
cluster: it is asked by the tag's home, and all others ask that, or the next should it fail. Where upstream cannot be
reached, the newest answer that any member knows is good enough; where it knows no such tag, an image that was tagged or
imported by hand in some member's runtime is.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import (
    Denied,
    ManifestUnknown,
    OciError,
    PeerError,
    Reason,
    Unavailable,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnknown,
)
from ..fetch import Fetcher
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..routers import Peer
from ..sources.failures import CONSEQUENCES
from ..stores import Tag
from .holdings import Holdings

log = logging.getLogger(__name__)

T = TypeVar("T")

FRESH_S = 60.0
"""For so long an answer of upstream is believed without asking again."""

_DOWN_S = 15.0
"""For so long a registry that could not be reached is not asked again: its timeout is paid once, not by every pull."""
_PEERS_MAX = 8
_HOMES_MAX = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tag means.

    Args:
        tag: the digest, and how it is known.
        warning: what a person should know about it (for a `Warning` header), or None if upstream just said so.
    """

    tag: Tag
    warning: str | None = None


class Tags:
    """Resolves references.

    Args:
        holdings: what this node's own stores know.
        fetcher: knows upstream, the members, and where answers are kept.
    """

    def __init__(self, holdings: Holdings, fetcher: Fetcher) -> None:
        self._holdings = holdings
        self._fetcher = fetcher
        self._resolutions: dict[Reference, asyncio.Task[Answer]] = {}
        self._checks: dict[Reference, asyncio.Task[Tag]] = {}
        self._down: dict[str, tuple[float, UpstreamError]] = {}

    async def resolve(self, reference: Reference) -> Answer:
        """Find out what a reference means; who asks at the same moment shares one check.

        Raises:
            OciError: nobody knows it, or nobody who may know can be asked.
        """
        known = self._fresh(reference)
        if known is not None:
            return Answer(known)
        return await self._once(self._resolutions, reference, self._resolve)

    async def check(self, reference: Reference) -> Tag:
        """What upstream says of a tag, asked for another member, which takes this node for the tag's home.

        Raises:
            UpstreamError: upstream does not say, or says that there is no such tag.
        """
        known = self._fresh(reference)
        if known is not None:
            return known
        return await self._once(self._checks, reference, self._check_upstream)

    def _fresh(self, reference: Reference) -> Tag | None:
        """What upstream said just now, to this node or another."""
        known = self._fetcher.cache.tag(reference)
        return known if known is not None and 0 <= time.time() - known.checked_unix_s < FRESH_S else None

    def local(self, reference: Reference) -> Tag | None:
        """What this node knows by itself."""
        return _newest(self._holdings.tags(reference))

    async def members(self, reference: Reference) -> list[tuple[Peer, Tag]]:
        """RangeRequest the members that may know a tag what they know."""
        peers = self._fetcher.usable(self._fetcher.router.locate(reference.key))[:_PEERS_MAX]
        answers = await asyncio.gather(*(self._ask_member(peer, reference) for peer in peers))
        return [(peer, tag) for peer, tag in zip(peers, answers, strict=True) if tag is not None]

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [*self._resolutions.values(), *self._checks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _once(
        self,
        running: dict[Reference, asyncio.Task[T]],
        reference: Reference,
        work: Callable[[Reference], Coroutine[Any, Any, T]],
    ) -> T:
        """Do something for a reference, or wait for it where it is being done."""
        task = running.get(reference)
        if task is None:
            task = running[reference] = asyncio.create_task(work(reference))
            task.add_done_callback(lambda ended: _ended(running, reference, ended))
        return await asyncio.shield(task)

    async def _resolve(self, reference: Reference) -> Answer:
        try:
            tag = await self._ask_homes(reference)
            if tag is None:
                return Answer(await self._check_or_ask_on(reference))
        except UpstreamError as error:
            return await self._resolve_without_upstream(reference, error)
        await self._fetcher.cache.put_tag(reference, tag)
        return Answer(tag)

    async def _check_or_ask_on(self, reference: Reference) -> Tag:
        """Ask upstream; where it limits this node's rate, the homes that come after it, whose rate it may not limit."""
        try:
            return await self._once(self._checks, reference, self._check_upstream)
        except UpstreamRateLimited:
            tag = await self._ask_homes(reference, after=True)
            if tag is None:
                raise
        await self._fetcher.cache.put_tag(reference, tag)
        return tag

    async def _ask_homes(self, reference: Reference, *, after: bool = False) -> Tag | None:
        """Ask the tag's homes, one after the other, as far as they come before this node, or those that come after it.

        Raises:
            UpstreamUnknown: a home says that upstream has no such tag.
        """
        for peer in self._fetcher.homes(reference.key, after=after)[:_HOMES_MAX]:
            try:
                tag = await self._fetcher.peers.tag(peer, reference, home=True)
            except PeerError as error:
                self._fetcher.failed(peer.name, error)
                if error.reason is Reason.UNKNOWN and not self._fetcher.upstream.has_password(reference.repository):
                    raise UpstreamUnknown(
                        f"{reference.repository.registry} has no such tag, says {peer.name}"
                    ) from error
                if (
                    error.reason is Reason.UNABLE
                ):  # it waited for upstream in vain: this node tries once, not all after another
                    return None
                continue
            if tag.authority == "upstream":
                return tag
        return None

    async def _check_upstream(self, reference: Reference) -> Tag:
        tag = Tag(await self._ask_upstream(reference), time.time(), "upstream")
        await self._fetcher.cache.put_tag(reference, tag)
        return tag

    async def _ask_upstream(self, reference: Reference) -> Digest:
        registry = reference.repository.registry
        until, error = self._down.get(registry, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        self._down.pop(registry, None)
        try:
            return (await self._fetcher.upstream.resolve(reference)).digest
        except UpstreamError as error:
            if CONSEQUENCES[error.reason].out_of_reach:
                self._down[registry] = (time.monotonic() + _DOWN_S, error)
            raise

    async def _resolve_without_upstream(self, reference: Reference, error: UpstreamError) -> Answer:
        """Take the newest answer of this node and the members; a runtime's alone, where upstream knows no such tag."""
        tags = [*self._holdings.tags(reference), *(tag for _, tag in await self.members(reference))]
        if isinstance(error, UpstreamUnknown):
            tags = [tag for tag in tags if tag.authority == "runtime"]
        newest = _newest(tags)
        if newest is None:
            raise _refusal(reference, error)
        log.info("tag %s: %s by %s, for upstream: %s", reference, newest.digest, newest.authority, error)
        return Answer(newest, f"{_age(time.time() - newest.checked_unix_s)} old answer of a member: {error}")

    async def _ask_member(self, peer: Peer, reference: Reference) -> Tag | None:
        try:
            return await self._fetcher.peers.tag(peer, reference)
        except PeerError as error:
            if error.reason is not Reason.MISSING:
                self._fetcher.failed(peer.name, error)
            return None


def _ended(running: dict[Reference, asyncio.Task[T]], reference: Reference, task: asyncio.Task[T]) -> None:
    del running[reference]
    if not task.cancelled():
        task.exception()  # whoever asked may have gone meanwhile: then nobody else looks at it


def _newest(tags: Iterable[Tag]) -> Tag | None:
    """Among differing answers the one checked last, never the first to arrive."""
    return max(tags, key=lambda tag: (tag.checked_unix_s, tag.digest.hex), default=None)


def _refusal(reference: Reference, error: UpstreamError) -> OciError:
    match error:
        case UpstreamUnknown():
            return ManifestUnknown(f"no member knows {reference}, and upstream: {error}")
        case UpstreamRefused():
            return Denied(f"no member knows {reference}, and upstream may not be asked: {error}")
        case _:
            return Unavailable(f"no member knows {reference}, and upstream does not answer: {error}")


def _age(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
