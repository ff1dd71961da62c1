"""Upkeep: looks again and again what is to be kept on this node, for as long as the agent runs."""

import asyncio
import logging

from ..routers import Discovery
from ..settings import PinSettings
from .files import PinFiles
from .following import Following
from .goals import goals_of
from .keeper import Keeper
from .pins import Pins
from .placement import Settled

log = logging.getLogger(__name__)


class Upkeep:
    """One task.

    Args:
        me: this node's name.
        router: knows the members.
        pins: what is pinned.
        following: keeps that as settings and patterns say.
        settled: who keeps images.
        keeper: keeps them here.
        files: keep what is kept.
        settings: times.
    """

    def __init__(  # noqa: PLR0913 - what it looks after
        self,
        me: str,
        router: Discovery,
        pins: Pins,
        *,
        following: Following,
        settled: Settled,
        keeper: Keeper,
        files: PinFiles,
        settings: PinSettings,
    ) -> None:
        self._me = me
        self._router = router
        self._pins = pins
        self._following = following
        self._settled = settled
        self._keeper = keeper
        self._files = files
        self._settings = settings
        self._kept = keeper.protected

    async def run(self) -> None:
        """Look at what changed, and now and then, until cancelled."""
        await asyncio.to_thread(self._pins.restore)
        try:
            while True:
                try:
                    await self.look()
                except OSError as error:
                    log.warning("what is pinned cannot be written down: %s", error.strerror)
                except Exception:  # one look in a task that must go on: a bug here must not go unseen
                    log.exception("nobody looked after what is pinned")
                await self._wait()
        finally:
            await self._keeper.close()

    async def look(self) -> None:
        """See once what is to be kept; raise OSError if that cannot be written down."""
        if not self._router.ready():
            return
        names = self._settled.look(self._router.seats(), [peer.name for peer in self._router.members()])
        await self._following.look(names)
        await self._pins.write()
        is_calm = self._settled.is_calm and not self._router.alone()
        goals = goals_of(self._pins.book.pins(), names or {self._me}, self._settled.everyone)
        await self._keeper.look(goals, is_calm=is_calm)
        if self._keeper.protected != self._kept:
            self._kept = self._keeper.protected
            await self._files.write_kept(self._kept)

    async def _wait(self) -> None:
        changed, moved = self._pins.changed, self._keeper.moved
        waits = [asyncio.create_task(changed.wait()), asyncio.create_task(moved.wait())]
        try:
            await asyncio.wait(waits, timeout=self._settings.look_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        changed.clear()
        moved.clear()
