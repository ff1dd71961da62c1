"""Upkeep: reads the cache's files in the background, slowly, so that damage is found before somebody asks for them.

Blobs without a proof come first, for nobody is given any of their bytes until they were hashed as a whole.
"""

import asyncio
import logging
import math
import os
from collections.abc import Callable, Sequence

from ...errors import StorageError
from ...oci.digest import Digest
from ...settings import UpkeepSettings
from ..checking import Checker

log = logging.getLogger(__name__)


class Upkeep:
    """Goes round all blobs of one cache.

    Args:
        checker: of the store; it tells the store what is wrong.
        open_file: opens a blob's file by the hex of its digest, and gives its size in bytes; None if it is gone.
        on_right: is called when a whole file was found right.
        settings: rates and intervals.
    """

    def __init__(
        self,
        checker: Checker,
        open_file: Callable[[str], tuple[int, int] | None],
        on_right: Callable[[str], None],
        settings: UpkeepSettings,
    ) -> None:
        self._checker = checker
        self._open_file = open_file
        self._on_right = on_right
        self._settings = settings
        self.verified = asyncio.Event()
        """Set when all blobs without a proof, of those that were there at the start, were hashed."""

    async def run(self, unproven: Sequence[str], names: Callable[[], Sequence[str]]) -> None:
        """Hash what has no proof, then go round for ever.

        Args:
            unproven: blobs that no proof is known of.
            names: gives all blobs as they are now.
        """
        await self._verify(unproven)
        self.verified.set()
        await asyncio.sleep(self._settings.first_after_s)
        while True:
            began_at = asyncio.get_running_loop().time()
            for name in names():
                await self.look_at(name, self._settings.bytes_per_s)
            rest_s = began_at + self._settings.round_s - asyncio.get_running_loop().time()
            await asyncio.sleep(max(rest_s, self._settings.pause_s))

    async def _verify(self, names: Sequence[str]) -> None:
        """Hash blobs as a whole, one after the other."""
        if names:
            log.info("verifying %d cached blobs of which nothing says that they were found right", len(names))
        for name in names:
            await self.look_at(name)
        if names:
            log.info("cached blobs verified")

    async def look_at(self, name: str, bytes_per_s: float = math.inf) -> None:
        """Check one blob from its first byte to its last.

        Args:
            name: the hex of its digest.
            bytes_per_s: bounds the rate.
        """
        opened = self._open_file(name)
        if opened is None:
            return
        fd, size = opened
        try:
            async for count in self._checker.scrub(Digest(name), fd, size):
                await asyncio.sleep(count / bytes_per_s)
        except StorageError as error:  # the store was told what is wrong with the file; it is looked at again
            log.debug("cached blob %s was not looked at to its end: %s", Digest(name), error)
            return
        finally:
            os.close(fd)
        self._on_right(name)
