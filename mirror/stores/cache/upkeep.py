"""Upkeep: reads the cache's files in the background, slowly, so that damage is found before somebody asks for them.

Blobs without a proof come first, for nobody is given any of their bytes until they were hashed as a whole.
"""

import asyncio
import logging
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
                await self.look_at(name)
            rest_s = began_at + self._settings.round_s - asyncio.get_running_loop().time()
            await asyncio.sleep(max(rest_s, self._settings.pause_s))

    async def _verify(self, names: Sequence[str]) -> None:
        """Hash blobs as a whole, one after the other."""
        if names:
            log.info("verifying %d cached blobs of which nothing says that they were found right", len(names))
        for name in names:
            await self.look_at(name, bytes_per_s=None)
        if names:
            log.info("cached blobs verified")

    async def look_at(self, name: str, *, bytes_per_s: float | None = 0) -> None:
        """Check one blob from its first byte to its last.

        Args:
            name: the hex of its digest.
            bytes_per_s: bounds the rate; None for no bound, 0 for the one of the settings.
        """
        rate = self._settings.bytes_per_s if bytes_per_s == 0 else bytes_per_s
        opened = self._open_file(name)
        if opened is None:
            return
        fd, size = opened
        try:
            async for count in self._checker.scrub(Digest(name), fd, size):
                if rate is not None:
                    await asyncio.sleep(count / rate)
        except StorageError:
            return  # the store was told
        finally:
            os.close(fd)
        self._on_right(name)
