"""What became of a node's attempts to reach its cluster, said in the log for as long as it is alone.

A node that starts with a wrong key, the wrong port of a seed or another name of the cluster runs well and serves its
own clients, so that nobody would notice that it shares nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

FIRST_S: Final = 5.0
"""Seconds after which a node that is alone says so first: a cluster that starts together has met by then."""
_AGAIN_S: Final = 60.0
"""Seconds until it says so again, as long as it is alone."""
LOOK_S: Final = 1.0
"""Seconds between two looks at whether it is alone."""
_PLACES_MAX: Final = 16
"""Places that are remembered, the latest; there may be as many as members that died."""
_SILENT: Final = "it has not answered"
_UDP: Final = "it answers over TCP, but not over UDP"


class Attempts:
    """The attempts of one node.

    Args:
        is_alone: whether the node knows no live member.
    """

    def __init__(self, is_alone: Callable[[], bool]) -> None:
        self._is_alone = is_alone
        self._outcomes: dict[str, str] = {}

    def begin(self, place: str) -> None:
        """An attempt is under way; what came back from that place before is still so."""
        if place not in self._outcomes:
            self.note(place, _SILENT)

    def note(self, place: str, problem: str) -> None:
        """An attempt is over.

        Args:
            place: where this node looked for its cluster.
            problem: what went wrong, or nothing if there was an answer.
        """
        self._outcomes.pop(place, None)
        if not self._is_alone():
            self._outcomes.clear()
            return
        if len(self._outcomes) >= _PLACES_MAX:
            del self._outcomes[next(iter(self._outcomes))]
        self._outcomes[place] = problem or _UDP

    def drop(self, place: str) -> None:
        """What came back from there means nothing any more; unknown places are fine."""
        self._outcomes.pop(place, None)

    @property
    def summary(self) -> str:
        """What was tried and what came back, if this node looks for its cluster and is alone; else nothing."""
        if not self._is_alone():
            return ""
        return "; ".join(f"{place}: {outcome}" for place, outcome in self._outcomes.items())

    async def watch(self) -> None:
        """Say in the log that this node is alone, soon and then now and again, and when it is no more; for ever."""
        loop = asyncio.get_running_loop()
        alone_since, said_at = loop.time(), None
        while True:
            await asyncio.sleep(LOOK_S)
            now, summary = loop.time(), self.summary
            if not summary:
                if said_at is not None:
                    log.info("gossip is not alone any more")
                alone_since, said_at = now, None
            elif now - alone_since >= FIRST_S and (said_at is None or now - said_at >= _AGAIN_S):
                said_at = now
                log.warning("gossip is alone: it has reached no other member; tried %s", summary)
