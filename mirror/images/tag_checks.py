"""What upstream says of tags to this node itself."""

import asyncio
import math
import time
from collections import OrderedDict

from ..errors import UpstreamOut, UpstreamUnknown
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..settings import ImageSettings
from ..sources import TagSource
from ..stores import Tag, TagStore


class TagChecks:
    """Asks upstream what tags mean. All who want to know the same at the same moment share one question.

    Args:
        cache: where answers are kept.
        upstream: asks registries.
        settings: for how long it is remembered that there is no such tag, and how much is remembered.
    """

    def __init__(self, cache: TagStore, upstream: TagSource, settings: ImageSettings | None = None) -> None:
        self._cache = cache
        self._upstream = upstream
        self._settings = settings or ImageSettings()
        self._running: dict[Reference, asyncio.Task[Tag]] = {}
        self._own: OrderedDict[Reference, Tag] = OrderedDict()
        """What upstream said to this node and to no other, the oldest answer first."""
        self._denied: OrderedDict[Reference, tuple[float, str]] = OrderedDict()
        """Tags that upstream denied, the oldest answer first: when, monotonic seconds, and what it said."""

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def own(self, reference: Reference, age_s: float) -> Tag | None:
        """What upstream said to this node itself within the last `age_s` seconds."""
        tag = self._own.get(reference)
        return tag if tag is not None and 0 <= time.time() - tag.checked_unix_s < age_s else None

    def start(self, reference: Reference) -> asyncio.Task[Tag]:
        """The question about a tag that is under way, or a new one; its task raises UpstreamError."""
        task = self._running.get(reference)
        if task is None:
            task = self._running[reference] = asyncio.create_task(self._ask_unless_denied(reference))
            task.add_done_callback(lambda done: self._end(reference, done))
        return task

    async def check(self, reference: Reference) -> Tag:
        """What upstream says of a tag.

        Raises:
            UpstreamError: upstream does not say, or says that there is no such tag.
        """
        return await asyncio.shield(self.start(reference))

    async def ask(self, reference: Reference) -> Tag:
        """Ask upstream now, whoever else is asking; otherwise as `check`."""
        tag = Tag(await self._ask(reference), time.time(), "upstream")
        self._own[reference] = tag
        self._own.move_to_end(reference)
        while len(self._own) > self._settings.tag_own_max:
            self._own.popitem(last=False)
        await self._cache.put_tag(reference, tag)
        return tag

    async def _ask(self, reference: Reference) -> Digest:
        try:
            digest = (await self._upstream.resolve(reference)).digest
        except UpstreamUnknown as error:
            self._denied[reference] = (time.monotonic(), str(error))
            self._denied.move_to_end(reference)
            while len(self._denied) > self._settings.tag_denied_max:
                self._denied.popitem(last=False)
            raise
        self._denied.pop(reference, None)
        return digest

    def was_denied(self, reference: Reference) -> bool:
        """Whether upstream has said within the last hour that there is no such tag, and nothing else since."""
        at, _ = self._denied.get(reference, (-math.inf, ""))
        return time.monotonic() - at < self._settings.tag_denied_out_s

    def has_newer(self, reference: Reference, checked_unix_s: float) -> bool:
        """Whether upstream has told somebody what a tag means since it denied that tag, which is not a moment ago."""
        at, _ = self._denied.get(reference, (math.inf, ""))
        age_s = time.monotonic() - at
        return age_s >= self._settings.tag_denied_s and time.time() - age_s < checked_unix_s

    async def _ask_unless_denied(self, reference: Reference) -> Tag:
        """Ask upstream, unless it has just said that there is no such tag; or said so once, and does not answer now."""
        at, said = self._denied.get(reference, (-math.inf, ""))
        age_s = time.monotonic() - at
        if age_s < self._settings.tag_denied_s:
            raise UpstreamUnknown(said)
        try:
            return await self.ask(reference)
        except UpstreamOut as error:
            if age_s < self._settings.tag_denied_out_s:
                raise UpstreamUnknown(f"{said}, {age_s:.0f} s ago; now {error}") from error
            raise

    def _end(self, reference: Reference, task: asyncio.Task[Tag]) -> None:
        del self._running[reference]
        if not task.cancelled():
            task.exception()  # if all who asked have gone meanwhile, nobody else looks at it
