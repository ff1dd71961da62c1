"""What one fetch has seen of each member, and whether it may ask it. Pure: told what they did, and the time."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ...errors import Reason
from ...oci.ranges import RangeSet
from ...settings import PlanSettings
from ...sources.failures import CONSEQUENCES


@dataclass(slots=True)
class _Seen:
    """What was seen of one member. All times are monotonic seconds; one in the past means nothing any more.

    Args:
        busy_until: it said that it is busy: until then it is asked only on behalf of others.
        trickles_until: far too little came from it: until then it is not asked as a holder while upstream can be.
        rests_until: it failed: until then it is not asked.
        out_of_reach: it rests because it could not be reached.
        avoided: ranges of which it must not be the origin, because its bytes may be wrong.
    """

    busy_until: float = -math.inf
    trickles_until: float = -math.inf
    rests_until: float = -math.inf
    out_of_reach: bool = False
    avoided: RangeSet = field(default_factory=RangeSet)


class Members:
    """The members that one fetch has asked, or heard of.

    Args:
        up: names of members that are believed to be up, until `update` says otherwise.
        settings: for how long what was seen counts.
    """

    def __init__(self, up: Collection[str], settings: PlanSettings) -> None:
        self._settings = settings
        self._seen: dict[str, _Seen] = {}
        self._up = up
        self._resting: Collection[str] = ()
        self._silent: Collection[str] = ()
        self._now = 0.0

    def _of(self, name: str) -> _Seen:
        return self._seen.setdefault(name, _Seen())

    # What happened.

    def update(
        self, up: Collection[str], now: float, *, resting: Collection[str] = (), silent: Collection[str] = ()
    ) -> None:
        """Take note of who is up, whom the node leaves alone for some seconds, and who of these may be gone."""
        self._up, self._resting, self._silent, self._now = up, resting, silent, now
        for name, seen in self._seen.items():
            # The node leaves it alone by itself now, and asks for a sign of life: this fetch need not rest it besides.
            if seen.out_of_reach and name not in up:
                seen.out_of_reach, seen.rests_until = False, -math.inf

    def note_busy(self, name: str, now: float) -> None:
        """Take note that a holder said that it is busy."""
        self._of(name).busy_until = now + self._settings.busy_s

    def failed(self, name: str, reason: Reason, now: float, *, rest_s: float | None = None) -> None:
        """Take note that a member failed, and for how long it rests, s, if not as usual for that reason."""
        seen, follows = self._of(name), CONSEQUENCES[reason]
        seen.out_of_reach |= follows.out_of_reach
        seen.rests_until = now + (follows.rest_s if rest_s is None else rest_s)

    def note_trickle(self, name: str, now: float) -> None:
        """Take note that far too little comes from a member for it to be asked as a holder."""
        self._of(name).trickles_until = now + self._settings.trickle_ban_s

    def avoid(self, name: str, start: int, stop: int) -> None:
        """Take no more bytes of a range whose origin is this member: they may be wrong."""
        self._of(name).avoided.add(start, stop)

    def forget_answers(self) -> None:
        """Forget answers that were about another repository: those for which a member rests for ever."""
        for seen in self._seen.values():
            if seen.rests_until == math.inf:
                seen.rests_until = -math.inf

    def forget_failures(self) -> None:
        """Let those be asked again that failed, and rest for a while for it; not those that were out of reach."""
        for seen in self._seen.values():
            if seen.rests_until < math.inf and not seen.out_of_reach:
                seen.rests_until = -math.inf

    def halt(self, names: Iterable[str]) -> None:
        """Ask none of some members any more."""
        for name in names:
            self._of(name).rests_until = math.inf
        for seen in self._seen.values():
            seen.out_of_reach = False

    # Whom to ask.

    def able(self, names: Iterable[str], start: int) -> list[str]:
        """Those of some members that may be asked for the bytes from `start` on."""
        return [name for name in names if name in self._up and self._is_able(name, start)]

    def able_at_rest(self, names: Iterable[str], start: int) -> list[str]:
        """Those of some members that might be asked as well, if the node did not leave them alone for some seconds."""
        return [name for name in names if name in self._resting and self._is_able(name, start)]

    def _is_able(self, name: str, start: int) -> bool:
        seen = self._seen.get(name)
        return seen is None or (seen.rests_until <= self._now and seen.avoided.front(start) == start)

    def is_up(self, name: str) -> bool:
        """Whether a member is believed to be up."""
        return name in self._up

    def is_silent(self, name: str) -> bool:
        """Whether a member gives no sign of life now, so that what it owes is asked of others as well."""
        return name in self._silent

    def is_busy(self, name: str) -> bool:
        """Whether a holder said lately that it is busy."""
        return name in self._seen and self._seen[name].busy_until > self._now

    def is_trickling(self, name: str) -> bool:
        """Whether far too little came from a member lately."""
        return name in self._seen and self._seen[name].trickles_until > self._now

    def avoided(self, start: int) -> tuple[str, ...]:
        """Members that must not be the origin of what begins at `start`, whoever sends it."""
        return tuple(name for name, seen in self._seen.items() if seen.avoided.front(start) > start)

    @property
    def any_avoided(self) -> bool:
        """Whether any member must not be the origin of some bytes."""
        return any(seen.avoided for seen in self._seen.values())

    def again_at(self, names: Iterable[str], now: float) -> float | None:
        """When one of some members that rest may be asked again, monotonic seconds; None if there is none."""
        times = (self._seen[name].rests_until for name in names if name in self._seen)
        return min((until for until in times if now < until < math.inf), default=None)
