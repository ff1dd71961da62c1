"""What is pushed is pinned: it stays when others make room, on as many members as pins usually have."""

import contextlib
import logging
from collections.abc import Iterable, Sequence

from ...errors import NoSpace
from ...oci.digest import Digest
from ...oci.reference import Reference, Repository
from ...pins.book import PinRefused
from ...pins.pins import Pins

log = logging.getLogger(__name__)


class Keeping:
    """Pins what was pushed, and unpins what was deleted.

    Args:
        pins: the cluster's.
    """

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    async def keep(self, repository: Repository, digest: Digest, tags: Sequence[Reference], *, refers: bool) -> None:
        """Pin a manifest by its tags; by its digest if it has none and refers to another one.

        One that has neither is part of an index, by which it is kept.

        Raises:
            NoSpace: it cannot be pinned, for there are too many pins, or the disk failed.
        """
        names = [str(tag) for tag in tags] or ([f"{repository}@{digest}"] if refers else [])
        for name in names:
            try:
                await self._pins.pin(name, digest=digest)
            except PinRefused as error:
                raise NoSpace(f"{name} cannot be pinned, so that it might not stay: {error}") from error
            except OSError as error:
                raise NoSpace(f"{name} cannot be pinned: {error.strerror}") from error

    async def let_go(self, names: Iterable[str]) -> None:
        """Unpin what was deleted. What is not pinned, or stands in the settings of a node, stays as it is."""
        for name in names:
            with contextlib.suppress(PinRefused):
                try:
                    await self._pins.unpin(name)
                except OSError as error:
                    log.warning("%s stays pinned: %s", name, error.strerror)
