"""Members that come and go: a member that died three times in ten minutes is left out of lookups.

A flap is a return within a minute of the failure. A member with too many flaps in the window stays a member and its
filter stays up to date, but lookups leave it out until the oldest flaps have left the window.

Source: serf, flap timeout.
"""

from collections import deque
from collections.abc import Callable

from ..context import Context
from ..events import MemberFlapping, MemberSteady
from ..timers import Timer
from .member import Member, State


class Flaps:
    """The flaps of all members within the window.

    Args:
        context: the node's parts.
        count: lets a member count in lookups, or not.
    """

    def __init__(self, context: Context, count: Callable[[str, bool], None]) -> None:
        self._context = context
        self._config = context.config
        self._count = count
        self._failed_at: dict[str, float] = {}
        self._times: dict[str, deque[float]] = {}
        context.timers.register_per_member(Timer.STEADY, self._check)

    def observe(self, before: Member | None, after: Member | None, now: float) -> None:
        """What is believed of a member changed."""
        if after is None:
            if before is not None:
                self._failed_at.pop(before.name, None)
                self._times.pop(before.name, None)
        elif after.state is State.DEAD and (before is None or before.live):
            self._failed_at[after.name] = now
        elif after.state is State.ALIVE:
            flapped = before is not None and before.state is State.DEAD and self._note_return(after.name, now)
            self._leave_out(after, now, news=flapped)

    def out_until(self, name: str, now: float) -> float | None:
        """Until when a member is left out, s; None if it is not."""
        times = self._times.get(name)
        if times is None:
            return None
        while times and now - times[0] >= self._config.flap_window_s:
            times.popleft()
        if not times:
            del self._times[name]
            return None
        return times[0] + self._config.flap_window_s if len(times) >= self._config.flaps_max else None

    def _check(self, name: str, now: float) -> None:
        """The window of a member that flapped is over, unless there were more flaps meanwhile."""
        member = self._context.members.get(name)
        if member is not None and member.state is State.ALIVE and not self._leave_out(member, now, news=False):
            self._count(name, True)
            self._context.emit(MemberSteady(member))

    def _note_return(self, name: str, now: float) -> bool:
        failed_at = self._failed_at.pop(name, None)
        if failed_at is None or now - failed_at > self._config.flap_within_s:
            return False
        self._times.setdefault(name, deque(maxlen=self._config.flaps_max)).append(now)
        return True

    def _leave_out(self, member: Member, now: float, *, news: bool) -> bool:
        until = self.out_until(member.name, now)
        if until is None:
            return False
        self._count(member.name, False)
        self._context.timers.set(Timer.STEADY, until, member.name)
        if news:
            self._context.emit(MemberFlapping(member, until))
        return True
