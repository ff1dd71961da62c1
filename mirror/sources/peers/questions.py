"""Small questions to members, as far as the watch is concerned: it may end them."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

from ...errors import PeerError, Reason
from ...routers import Peer
from .watch import Watch


class Question:
    """One small question, from when it is asked to the end of its answer.

    Args:
        peer: the member that is asked.
        scope: the time limit in which it is asked; it has no end of its own.
    """

    def __init__(self, peer: Peer, scope: asyncio.Timeout) -> None:
        self.peer = peer
        self._scope = scope
        self._asked_at = time.monotonic()
        self._alive_at = -math.inf
        self.given_up: PeerError | None = None
        """Why it was ended from outside."""

    def unheard_s(self, now: float) -> float:
        """See `Owed.unheard_s`."""
        return now - self._asked_at

    @property
    def signed_at(self) -> float:
        """See `Owed.signed_at`."""
        return self._alive_at

    def round_trip_s(self) -> float:
        """See `Owed.round_trip_s`: its connection is not known here."""
        return 0.0

    def note_sign_of_life(self, now: float) -> None:
        """See `Owed.note_sign_of_life`."""
        self._alive_at = now

    def give_up(self, reason: Reason, why: str) -> None:
        """See `Owed.give_up`."""
        self.given_up = PeerError(reason, f"{self.peer.name} {why}")
        self._scope.reschedule(asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def asked(peer: Peer, watch: Watch) -> AsyncIterator[None]:
    """End what is asked of a member, within `async with`, as soon as that one is gone.

    Raises:
        PeerError: it is, or has given signs of life alone for too long.
    """
    question = None
    try:
        async with asyncio.timeout(None) as scope:
            with watch.over(Question(peer, scope)) as question:
                yield
    except TimeoutError:
        if question is not None and question.given_up is not None:
            raise question.given_up from None
        raise
