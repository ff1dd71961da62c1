"""Sources: who may be asked for one blob's bytes. Pure: told what they did, and the time."""

import math
from collections.abc import Collection, Iterable, Iterator

from ...cluster.homes import Ring
from ...errors import Reason
from ...oci.ranges import RangeSet
from ...sources import Role
from ...sources.failures import CONSEQUENCES
from .flight import Flight

UPSTREAM_TRIES = 3
"""Failures of upstream in a row, without a byte between them, after which it is out."""

BUSY_S = 2.0
"""A holder that said it is busy is not asked again for so long, except on behalf of others."""

UNABLE_S = 5.0
"""A home that could not bring a piece is passed over for so long."""

UNABLE_MAX = 2
"""Where so many homes could not bring a piece, and none brought any lately, this node asks upstream itself rather than
one home after the other."""

TRICKLING_S = 60.0
"""A holder of which next to nothing comes is not asked for so long, as long as upstream can be."""


class Sources:
    """The holders, the homes and upstream, and what each of them may be asked for.

    Args:
        me: this node's name.
        ring: the homes of the blob's pieces.
        holders: names of members that may have it, best first.
        upstream: whether upstream may be asked.
    """

    def __init__(self, me: str, ring: Ring, holders: Iterable[str], *, upstream: bool) -> None:
        self.ring = ring
        self.holders = list(dict.fromkeys(holders))
        self.without_ranges = False
        """Upstream does not serve ranges: the first member of the ring is home of the whole."""
        self.doubtful, self.nowhere = False, False
        """Upstream has no such thing, says a home: then this node asks it itself, before it sends others to ask; or
        says upstream: then it sends nobody."""
        self._me = me
        self._tried = set(self.holders)
        self._busy: dict[str, float] = {}
        self._trickling: dict[str, float] = {}
        self._out: dict[str, float] = {}
        self._out_of_reach: set[str] = set()
        """Of those the ones that are asked again as soon as they are back, should they be seen to be down."""
        self._unable: dict[str, float] = {}
        self._avoid: dict[str, RangeSet] = {}
        self._upstream = upstream
        self._upstream_tries = UPSTREAM_TRIES if upstream else 0
        self._up: Collection[str] = ring.members
        self._serving: Collection[str] = ring.members
        self._brought_at = -math.inf
        self._now = 0.0

    # What happened.

    def add_holders(self, names: Iterable[str]) -> bool:
        """Take in members that turned up later; tell whether any is new."""
        new = [name for name in names if name not in self._tried]
        self._tried.update(new)
        self.holders += new
        return bool(new)

    def seen(self, up: Collection[str], serving: Collection[str], now: float) -> None:
        """Learn who is up, and who of those serves as a home."""
        self._up, self._serving, self._now = up, serving, now
        for name in self._out_of_reach.difference(up):
            self._out_of_reach.remove(name)
            del self._out[name]

    def landed(self, flight: Flight, now: float) -> None:
        """Note that a flight has brought all it was to bring."""
        if flight.role is Role.HOME:
            self._brought_at = now
        elif flight.role is Role.UPSTREAM:
            self._upstream_tries = UPSTREAM_TRIES
            self.doubtful = False

    def failed(self, flight: Flight, reason: Reason, now: float, *, final: bool) -> None:
        """Note that a flight ended early; as `Plan.failed`."""
        if reason is Reason.UNKNOWN and flight.role in (Role.HOME, Role.UPSTREAM):
            self.doubtful, self.nowhere = flight.role is Role.HOME, flight.role is Role.UPSTREAM
        if flight.role is Role.UPSTREAM:
            tries = UPSTREAM_TRIES if flight.position > flight.start else self._upstream_tries
            self._upstream_tries = 0 if final else tries - (reason is not Reason.WHOLE)
        elif reason is Reason.WHOLE and not self.without_ranges:
            self.without_ranges = True
        elif flight.role.is_holder and reason is Reason.MISSING:
            self.holders = [name for name in self.holders if name != flight.source]
        elif flight.role is Role.HOLDER and reason is Reason.BUSY:
            self._busy[flight.source] = now + BUSY_S
        else:
            if reason in (Reason.UNABLE, Reason.RATE_LIMITED):
                self._unable[flight.source] = now + UNABLE_S
            if CONSEQUENCES[reason].out_of_reach:
                self._out_of_reach.add(flight.source)
            self._out[flight.source] = now + CONSEQUENCES[reason].rest_s

    def trickles(self, holder: str, now: float) -> None:
        """Note that next to nothing comes from a holder."""
        self._trickling[holder] = now + TRICKLING_S

    def avoid(self, name: str, start: int, stop: int) -> None:
        """Take nothing more of a range whose word is that of this member: it may be wrong."""
        self._avoid.setdefault(name, RangeSet()).add(start, stop)

    def try_again(self) -> None:
        """RangeRequest upstream once more, should it be out."""
        self._upstream_tries = max(self._upstream_tries, self._upstream)

    def renew(self) -> None:
        """Ask upstream, and homes what it says, from the start: it is another repository."""
        self._upstream_tries = UPSTREAM_TRIES if self._upstream else 0
        self.doubtful = self.nowhere = False
        self._out = {name: until for name, until in self._out.items() if until < math.inf}

    def halt(self) -> None:
        """RangeRequest nobody more."""
        self.holders.clear()
        self._upstream_tries = 0
        self._out.update(dict.fromkeys(self.ring.members, math.inf))
        self._out_of_reach.clear()

    # Whom to ask.

    def knows(self, name: str) -> bool:
        """Whether a member may be asked at all, as a holder or as a home."""
        return name in self._tried or name in self.ring.members

    def able_holders(self, start: int) -> list[str]:
        """Holders that may be asked for what begins at `start`, busy ones too."""
        return [name for name in self.able(self.holders, start) if not self.is_given_up(name, start)]

    def free_holders(self, start: int) -> list[str]:
        """Those of them that did not say lately that they are busy."""
        return [name for name in self.able_holders(start) if self._busy.get(name, 0.0) <= self._now]

    def is_given_up(self, holder: str, start: int) -> bool:
        """Whether a holder trickles, and upstream may bring what begins at `start` instead."""
        return self._trickling.get(holder, 0.0) > self._now and self.upstream(start)

    def homes(self, piece: int) -> Iterator[str]:
        """The homes of a piece that serve, in order."""
        ring = self.ring.members if self.without_ranges else self.ring.homes(piece)
        return (name for name in ring if name in self._serving)

    def able(self, names: Iterable[str], start: int) -> list[str]:
        """Those of some members that may be asked for what begins at `start`."""
        return [
            name
            for name in names
            if name in self._up and self._out.get(name, 0.0) <= self._now and not self._in_doubt(name, start)
        ]

    def avoided(self, start: int) -> tuple[str, ...]:
        """Members whose word on what begins at `start` is not to be taken, from whomever it comes."""
        return tuple(name for name in self._avoid if self._in_doubt(name, start))

    def _in_doubt(self, name: str, start: int) -> bool:
        return name in self._avoid and self._avoid[name].front(start) > start

    @property
    def any_in_doubt(self) -> bool:
        """Whether it matters for some bytes whom they are asked of."""
        return bool(self._avoid)

    def upstream(self, start: int) -> bool:
        """Whether upstream may be asked by this node for what begins at `start`."""
        return not self.upstream_is_out and not self.elsewhere(start)

    @property
    def upstream_is_out(self) -> bool:
        """Whether upstream is asked no more."""
        return self._upstream_tries <= 0

    def hope(self, start: int) -> bool:
        """Whether what begins at `start` can be brought without waiting for another node's flight."""
        return self.upstream(start) or bool(self.able_holders(start))

    def elsewhere(self, start: int = 0) -> bool:
        """Whether what others ask of this node as a home is another's to bring: upstream has no ranges."""
        serving = (name for name in self.ring.members if name in self._serving)
        first = next((name for name in serving if name == self._me or self.able([name], start)), self._me)
        return self.without_ranges and first != self._me

    @property
    def homes_are_unable(self) -> bool:
        """Whether homes fail one after the other to bring anything, so that it takes too long to ask them all."""
        unable = sum(until > self._now for until in self._unable.values())
        return unable >= UNABLE_MAX and self._now - self._brought_at > UNABLE_S

    @property
    def alone(self) -> bool:
        """Whether there is no other home, so that what is missing need not be cut into pieces.

        A home that is down or out of reach is one: it may be back before a piece is here, and then brings the next. One
        that declines is none.
        """
        others = (name for name in self.ring.members if name != self._me)
        return self.without_ranges or not any(name in self._serving or name not in self._up for name in others)

    def again_at(self, now: float) -> float | None:
        """When a holder that is not asked now may be asked again; None if there is none."""
        times = (self._out.get(name, math.inf) for name in self.holders)
        return min((until for until in times if now < until < math.inf), default=None)
