"""Whether this node serves as a home: what the operator says, and what the other members measure.

A node cannot see by itself that its uplink is slow, and a ring with a slow member is slow for everybody. So the members
report how fast this node delivers to them (`SlowReports`). A node that several of them find slow stops serving as a
home for a while, and then tries again.
"""

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from typing import Literal

from ..routers import Rings
from ..settings import ServingSettings
from .throughput import SlowReports

log = logging.getLogger(__name__)

When = Literal["auto", "always", "never"]
"""What the operator wants: `auto` follows the reports of the other members."""


class _State(enum.Enum):
    SERVING = enum.auto()
    DECLINING = enum.auto()


class HomeService:
    """Decides whether this node serves as a home, and tells the other members.

    Args:
        when: what the operator wants.
        rings: tells the other members.
        reports: what they say of this node's throughput.
        count_members: gives the number of other members that are up.
        settings: how often it decides, and for how long it declines.
    """

    def __init__(
        self,
        when: When,
        rings: Rings,
        reports: SlowReports,
        count_members: Callable[[], int],
        settings: ServingSettings | None = None,
    ) -> None:
        self._when = when
        self._rings = rings
        self._reports = reports
        self._count_members = count_members
        self._settings = settings or ServingSettings()
        self._state = _State.SERVING

    async def run(self) -> None:
        """Decide again and again, until cancelled or until there is nothing more to decide."""
        if self._when != "auto":
            self._rings.set_serving(self._when == "always")
            return
        while True:
            wait_s = self.decide(time.monotonic())
            await asyncio.sleep(wait_s)

    def decide(self, now: float) -> float:
        """Change the state if need be, and return the number of seconds until the next decision.

        Args:
            now: monotonic seconds.
        """
        if self._state is _State.DECLINING:
            self._reports.clear()
            self._become(_State.SERVING)
        elif self._reports.slow(self._count_members(), now):
            log.warning("other members find this node slow: it is no home for %g s", self._settings.decline_s)
            self._become(_State.DECLINING)
            return self._settings.decline_s
        return self._settings.interval_s

    def _become(self, state: _State) -> None:
        self._state = state
        self._rings.set_serving(state is _State.SERVING)
