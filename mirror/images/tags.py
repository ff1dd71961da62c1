"""What a tag means now. A digest never changes, a tag does.

Upstream says what a tag means, by HEAD, which Docker Hub does not count as a pull, and at most once per freshness time
for the whole cluster: the tag's home asks upstream, and all others ask the home, or the next one if it fails. If
upstream cannot be reached, the newest answer that any member knows is good enough. If upstream knows no such tag, an
image that was tagged or imported by hand in some member's runtime is the answer.
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
    Unavailable,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnknown,
)
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..settings import ImageSettings
from ..sources import TagSource
from ..sources.failures import CONSEQUENCES
from ..stores import Tag, TagStore
from .holdings import Holdings
from .member_tags import MemberTags

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tag means.

    Args:
        tag: the digest, and how it is known.
        warning: what a person should know about it (for a `Warning` header), or None if upstream has just said so.
    """

    tag: Tag
    warning: str | None = None


class Tags:
    """Resolves references.

    Args:
        holdings: what this node's own stores know.
        cache: where answers are kept.
        members: what other members know.
        upstream: asks registries.
        settings: for how long answers are believed.
    """

    def __init__(
        self,
        holdings: Holdings,
        cache: TagStore,
        members: MemberTags,
        upstream: TagSource,
        settings: ImageSettings | None = None,
    ) -> None:
        self._holdings = holdings
        self._cache = cache
        self._members = members
        self._upstream = upstream
        self._settings = settings or ImageSettings()
        self._resolutions: dict[Reference, asyncio.Task[Answer]] = {}
        self._checks: dict[Reference, asyncio.Task[Tag]] = {}
        self._down: dict[str, tuple[float, UpstreamError]] = {}
        """Registries that could not be reached: until when they are not asked, monotonic seconds, and why."""

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [*self._resolutions.values(), *self._checks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def resolve(self, reference: Reference) -> Answer:
        """Find out what a reference means; all who ask at the same moment share one check.

        Raises:
            OciError: nobody knows it, or nobody who may know it can be asked.
        """
        known = self._fresh(reference)
        if known is not None:
            return Answer(known)
        return await self._once(self._resolutions, reference, self._resolve)

    async def check(self, reference: Reference) -> Tag:
        """What upstream says of a tag, for another member, which takes this node for the tag's home.

        Raises:
            UpstreamError: upstream does not say, or says that there is no such tag.
        """
        known = self._fresh(reference)
        if known is not None:
            return known
        return await self._once(self._checks, reference, self._check_upstream)

    def local(self, reference: Reference) -> Tag | None:
        """What this node knows by itself."""
        return _newest(self._holdings.tags(reference))

    def _fresh(self, reference: Reference) -> Tag | None:
        """What upstream said a moment ago, to this node or to another."""
        known = self._cache.tag(reference)
        if known is None or not 0 <= time.time() - known.checked_unix_s < self._settings.tag_fresh_s:
            return None
        return known

    async def _once(
        self,
        running: dict[Reference, asyncio.Task[T]],
        reference: Reference,
        work: Callable[[Reference], Coroutine[Any, Any, T]],
    ) -> T:
        """Do something for a reference, or wait for it if it is being done."""
        task = running.get(reference)
        if task is None:
            task = running[reference] = asyncio.create_task(work(reference))
            task.add_done_callback(lambda done: _forget(running, reference, done))
        return await asyncio.shield(task)

    async def _resolve(self, reference: Reference) -> Answer:
        try:
            tag = await self._members.from_homes(reference, trusted=self._trusts_homes(reference))
            if tag is None:
                return Answer(await self._check_or_ask_later_homes(reference))
        except UpstreamError as error:
            return await self._resolve_without_upstream(reference, error)
        await self._cache.put_tag(reference, tag)
        return Answer(tag)

    def _trusts_homes(self, reference: Reference) -> bool:
        """Whether a home that finds no such tag speaks for this node, too: with a password this one may see more."""
        return not self._upstream.has_password(reference.repository)

    async def _check_or_ask_later_homes(self, reference: Reference) -> Tag:
        """Ask upstream; if it limits this node's rate, ask the homes after this node, whose rate it may not limit."""
        try:
            return await self._once(self._checks, reference, self._check_upstream)
        except UpstreamRateLimited:
            tag = await self._members.from_later_homes(reference, trusted=self._trusts_homes(reference))
            if tag is None:
                raise
        await self._cache.put_tag(reference, tag)
        return tag

    async def _check_upstream(self, reference: Reference) -> Tag:
        tag = Tag(await self._ask_upstream(reference), time.time(), "upstream")
        await self._cache.put_tag(reference, tag)
        return tag

    async def _ask_upstream(self, reference: Reference) -> Digest:
        registry = reference.repository.registry
        until, error = self._down.get(registry, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        self._down.pop(registry, None)
        try:
            return (await self._upstream.resolve(reference)).digest
        except UpstreamError as error:
            if CONSEQUENCES[error.reason].out_of_reach:
                self._down[registry] = (time.monotonic() + self._settings.registry_down_s, error)
            raise

    async def _resolve_without_upstream(self, reference: Reference, error: UpstreamError) -> Answer:
        """Take the newest answer of this node and the members; only a runtime's, if upstream knows no such tag."""
        tags = [*self._holdings.tags(reference), *(tag for _, tag in await self._members.known(reference))]
        if isinstance(error, UpstreamUnknown):
            tags = [tag for tag in tags if tag.authority == "runtime"]
        newest = _newest(tags)
        if newest is None:
            raise _client_error(reference, error)
        log.info("tag %s: %s by %s, instead of upstream: %s", reference, newest.digest, newest.authority, error)
        return Answer(newest, f"{_age(time.time() - newest.checked_unix_s)} old answer of a member: {error}")


def _forget(running: dict[Reference, asyncio.Task[T]], reference: Reference, task: asyncio.Task[T]) -> None:
    del running[reference]
    if not task.cancelled():
        task.exception()  # if all who asked have gone meanwhile, nobody else looks at it


def _newest(tags: Iterable[Tag]) -> Tag | None:
    """Among different answers the one that was checked last, never the first to arrive."""
    return max(tags, key=lambda tag: (tag.checked_unix_s, tag.digest.hex), default=None)


def _client_error(reference: Reference, error: UpstreamError) -> OciError:
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
