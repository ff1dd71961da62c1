"""Placement: which members keep an image. Pure: all that see the same members agree.

The members, in the order of the ring of the image's digest (`cluster.homes.Ring`), are asked to keep it, the first ones
as many as copies are wanted. A member that dies for good hands its place to the next one; all others keep theirs.

Only members that have settled are asked: one that has just come may go again, and one that restarts is back before
gigabytes move. So a member counts until it was gone for a while, and one that serves no home for a while only when that
lasts.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..cluster.homes import Ring
from ..routers import RingSeat, Serves
from ..settings import PinSettings
from .records import ALL


def keepers(key: bytes, members: Iterable[str], copies: int) -> tuple[str, ...]:
    """The members that keep the image whose digest has a key, the first one first; fewer where there are fewer.

    Args:
        key: of the image's digest.
        members: names of those that have settled.
        copies: how many; `ALL`: all of them.
    """
    ring = Ring.of(key, members).members
    return ring if copies == ALL else ring[:copies]


@dataclass(slots=True)
class _Seen:
    up_at: float
    serving_at: float


class Settled:
    """Who has settled, as this node sees it.

    Args:
        me: this node's name.
        settings: how long who was gone, or does not serve, still counts.
        now: monotonic seconds.
    """

    def __init__(self, me: str, settings: PinSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._me = me
        self._settings = settings
        self._now = now
        self._seen: dict[str, _Seen] = {}
        self._names: frozenset[str] = frozenset()
        self._changed_at = now()

    def look(self, seats: Sequence[RingSeat], up: Iterable[str]) -> frozenset[str]:
        """Take note of who is there now; return who has settled.

        Args:
            seats: of all members that are up or failed lately, with whether they serve as homes.
            up: names of the others that are up.
        """
        now, settings = self._now(), self._settings
        serves = {seat.peer.name: seat.serves for seat in seats}
        for name in {*up, self._me}:
            seen = self._seen.setdefault(name, _Seen(now, -math.inf))
            seen.up_at = now
            if serves.get(name) is Serves.YES:
                seen.serving_at = now
        for name in [name for name, seen in self._seen.items() if now - seen.up_at > settings.gone_s]:
            del self._seen[name]
        names = frozenset(name for name, seen in self._seen.items() if now - seen.serving_at < settings.declined_s)
        if names != self._names:
            self._names, self._changed_at = names, now
        return names

    @property
    def names(self) -> frozenset[str]:
        """Who has settled, as of the last look."""
        return self._names

    @property
    def everyone(self) -> frozenset[str]:
        """All members that are there, or were a moment ago, whether they serve as homes or not."""
        return frozenset(self._seen) or frozenset({self._me})

    @property
    def is_calm(self) -> bool:
        """Whether that has not changed for a while: else who keeps what is about to change again."""
        return self._now() - self._changed_at >= self._settings.calm_s
