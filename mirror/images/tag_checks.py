"""What upstream says of tags to this node itself."""

import asyncio
import time
from collections import OrderedDict

from ..errors import UpstreamError
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..settings import ImageSettings
from ..sources import TagSource
from ..sources.failures import CONSEQUENCES
from ..stores import Tag, TagStore


class TagChecks:
    """Asks upstream what tags mean. All who want to know the same at the same moment share one question.

    Args:
        cache: where answers are kept.
        upstream: asks registries.
        settings: for how long a registry that is out of reach is left alone.
    """

    def __init__(self, cache: TagStore, upstream: TagSource, settings: ImageSettings | None = None) -> None:
        self._cache = cache
        self._upstream = upstream
        self._settings = settings or ImageSettings()
        self._running: dict[Reference, asyncio.Task[Tag]] = {}
        self._own: OrderedDict[Reference, Tag] = OrderedDict()
        """What upstream said to this node and to no other, the oldest answer first."""
        self._down: dict[str, tuple[float, UpstreamError]] = {}
        """Registries that could not be reached: until when they are not asked, monotonic seconds, and why."""

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
            task = self._running[reference] = asyncio.create_task(self.ask(reference))
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

    def _end(self, reference: Reference, task: asyncio.Task[Tag]) -> None:
        del self._running[reference]
        if not task.cancelled():
            task.exception()  # if all who asked have gone meanwhile, nobody else looks at it
