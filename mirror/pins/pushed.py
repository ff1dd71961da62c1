"""Pushed: what clients push to this node is pinned, for nobody else has it.

An image is pinned by the tags under which it was pushed, or by its digest. Clients push the images of an index first,
each by its digest; when the index is pinned, that covers them, and their own pins go. Of an index some images of which
nobody has pushed, the platforms of the others are pinned.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import MirrorError
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from .composition import Read, named_by, platforms_here
from .pins import Pins

log = logging.getLogger(__name__)

_WAITING_MAX: Final = 4096
"""Bounds the images that wait to be pinned; they wait for milliseconds."""


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
        self._waiting: deque[tuple[Repository, Digest, Sequence[Reference]]] = deque(maxlen=_WAITING_MAX)

    def take(self, repository: Repository, digest: Digest, references: Sequence[Reference]) -> None:
        """Pin an image that has just been pushed, with the next look, which comes at once."""
        self._waiting.append((repository, digest, references))
        self._pins.changed.set()

    async def look(self) -> None:
        """Pin what waits."""
        while self._waiting:
            repository, digest, references = self._waiting.popleft()
            try:
                await self._pin(repository, digest, [str(it) for it in references] or [f"{repository}@{digest}"])
            except MirrorError as error:
                log.warning("what was pushed is not pinned digest=%s: %s", digest, error)

    async def _pin(self, repository: Repository, digest: Digest, names: Sequence[str]) -> None:
        body = await self._held(Content(repository, "manifests", digest)) or b"{}"
        for name in names:
            await self._pins.pin(name, digest=digest, platforms=platforms_here(body, self._holds))
        book = self._pins.book
        for child in named_by(body):
            record = book.record(f"{repository}@{child}")
            if record is not None and not record.is_removed and record.author == self._me and not record.platforms:
                self._pins.tell_of([book.remove(record)])
