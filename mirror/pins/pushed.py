"""Pushed: what clients push to this node is pinned, for nobody else has it.

An image is pinned by the tags under which it was pushed, or by its digest. Clients push the images of an index first,
each by its digest; when the index is pinned, that covers them, and their own pins go. Of an index some images of which
nobody has pushed, the platforms of the others are pinned.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from ..errors import MirrorError
from ..oci.content import Content
from ..oci.descriptors import in_turn, named_by
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from .book import PinRefused
from .composition import Read, platforms_here
from .pins import Pins

log = logging.getLogger(__name__)


class Pushed:
    """Pins what was pushed.

    Args:
        me: this node's name.
        pins: what is pinned.
        held: gives a manifest that this node holds.
        holds: whether this node holds some content.
    """

    def __init__(self, me: str, pins: Pins, held: Read, holds: Callable[[Digest], bool]) -> None:
        self._me = me
        self._pins = pins
        self._held = held
        self._holds = holds

    async def take(self, repository: Repository, digest: Digest, references: Sequence[Reference]) -> None:
        """Pin an image that has just been pushed. One that cannot be pinned stays as long as there is room."""
        names = [str(it) for it in references] or [f"{repository}@{digest}"]
        try:
            await self._pin(repository, digest, names)
        except (MirrorError, OSError) as error:
            log.warning("what was pushed is not pinned digest=%s: %s", digest, error)
        self._pins.changed.set()

    async def let_go(self, names: Iterable[str]) -> None:
        """Unpin what was deleted. What is not pinned, or stands in the settings of a node, stays as it is."""
        for name in names:
            try:
                await self._pins.unpin(name)
            except PinRefused:
                continue
            except OSError as error:
                log.warning("%s stays pinned: %s", name, error.strerror)
        self._pins.changed.set()

    async def _pin(self, repository: Repository, digest: Digest, names: Sequence[str]) -> None:
        body = await self._held(Content(repository, "manifests", digest)) or b"{}"
        named = await in_turn(named_by, body)
        for name in names:
            await self._pins.pin(name, digest=digest, platforms=platforms_here(named, self._holds))
        book = self._pins.book
        for child in (it.digest for it in named if it.is_manifest):
            record = book.record(f"{repository}@{child}")
            if record is not None and not record.is_removed and record.author == self._me and not record.platforms:
                self._pins.tell_of([book.remove(record)])
