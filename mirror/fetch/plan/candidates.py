"""Candidates: who may be asked for one blob's bytes. Pure: told what they did, and the time."""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from ...cluster.homes import Ring
from ...errors import Reason
from ...settings import PlanSettings
from ...sources import Role
from .flight import Flight
from .members import Members
from .settling import Settling
from .troubles import HomeTroubles
from .upstream_state import Denial, UpstreamState


class Candidates:
    """The holders, the homes and upstream, and what each may be asked for.

    Args:
        me: this node's name.
        ring: the homes of the blob's pieces.
        holders: names of members that may have the blob, best first.
        settings: bounds and durations.
    """

    def __init__(self, me: str, ring: Ring, holders: Iterable[str], settings: PlanSettings) -> None:
        self.ring = ring
        self.holders = list(dict.fromkeys(holders))
        self.members = Members(ring.members, settings)
        self.upstream = UpstreamState(settings.upstream_tries, settings.upstream_tries)
        self._me = me
        self._settings = settings
        self._ever_holders = set(self.holders)
        self._serving: Collection[str] = ring.members
        self.settling = Settling(settings.settle_s)
        self.troubles = HomeTroubles(settings)

    # What happened.

    def add_holders(self, names: Iterable[str]) -> bool:
        """Add members that turned out to be holders later; return whether any is new."""
        new = [name for name in names if name not in self._ever_holders]
        self._ever_holders.update(new)
        self.holders += new
        return bool(new)

    def update(
        self,
        up: Collection[str],
        serving: Collection[str],
        now: float,
        *,
        resting: Collection[str] = (),
        silent: Collection[str] = (),
    ) -> None:
        """Take note of who is up, who of those serves as a home, and whom the node leaves alone; see `Members`."""
        self._serving = serving
        self.upstream = self.upstream.at(now)
        self.members.update(up, now, resting=resting, silent=silent)
        known = chain(self.ring.members, self.holders)
        self.settling.update((name for name in known if name != self._me), up, now)
        others = [name for name in self.ring.members if name != self._me and name in serving]
        self.troubles.update(self.members.able(others, 0), now, is_held=bool(self.able_holders(0)))

    def look_at_registry(self, now: float, *, is_out: bool, returned_at: float) -> None:
        """Take note whether the registry gives this node no sign of life, and when it last did again after an outage.

        One that does not answer is not asked. When it is back, what homes did while it was out does not count any more,
        and for a moment all are waited for: see `settling`.
        """
        has_returned = self.settling.returned(returned_at)
        if is_out and self.upstream.is_resting:
            self.upstream = self.upstream.resting(now + self._settings.upstream_rest_s)
        elif not is_out and has_returned:
            self.upstream = self.upstream.rested()
            self.troubles.forget()
            self.members.forget_failures()

    def landed(self, flight: Flight, now: float) -> None:
        """Take note that a flight delivered all that it was to deliver."""
        if flight.role is Role.HOME:
            self.troubles.home_landed(now)
        elif flight.role is Role.UPSTREAM:
            self.upstream = self.upstream.landed()
            self.troubles.upstream_landed()

    def failed(self, flight: Flight, reason: Reason, now: float) -> None:
        """Take note that a flight ended early; as `Plan.failed`."""
        if flight.role is Role.HOME and self.settling.failed(flight.source, reason):
            self.members.failed(flight.source, reason, now, rest_s=self._settings.again_s)
            return
        if flight.role is Role.HOME:
            self.troubles.failed(flight.source, reason)
        if reason is Reason.UNKNOWN and flight.role in (Role.HOME, Role.UPSTREAM):
            by = Denial.A_HOME if flight.role is Role.HOME else Denial.UPSTREAM
            self.upstream = self.upstream.denied(by)
            if by is Denial.UPSTREAM:
                self.settling.end()
        if flight.role is Role.UPSTREAM and reason in (Reason.OUTAGE, Reason.WHOLE):
            self.upstream = self.upstream.resting(now + self._settings.upstream_rest_s)
        elif flight.role is Role.UPSTREAM:
            progressed = flight.progressed(self._settings.progress_bytes)
            self.upstream = self.upstream.failed(reason, progressed=progressed)
        elif reason is Reason.WHOLE and self.upstream.serves_ranges:
            self.upstream = self.upstream.without_ranges()
        elif flight.role.is_holder and reason is Reason.MISSING:
            self.holders = [name for name in self.holders if name != flight.source]
        elif flight.role is Role.HOLDER and reason is Reason.BUSY:
            self.members.note_busy(flight.source, now)
        else:
            self.members.failed(flight.source, reason, now)

    def learn_upstream_has_no_ranges(self) -> None:
        """Take note that upstream answered a range with everything."""
        self.upstream = self.upstream.without_ranges()

    def try_upstream_once_more(self) -> None:
        """Let upstream be asked once more, even if it failed before."""
        self.upstream = self.upstream.tried_once_more()

    def renew(self) -> None:
        """Ask upstream anew, and the homes what it says: another repository is asked for from now on."""
        self.upstream = self.upstream.renewed()
        self.settling.forget()
        self.troubles.forget()
        self.members.forget_answers()

    def halt(self) -> None:
        """Ask nobody any more."""
        self.holders.clear()
        self.upstream = self.upstream.halted()
        self.members.halt(self.ring.members)

    # Whom to ask.

    def knows(self, name: str) -> bool:
        """Whether a member may be asked at all, as a holder or as a home."""
        return name in self._ever_holders or name in self.ring.members

    def able_holders(self, start: int) -> list[str]:
        """Holders that may be asked for what begins at `start`, busy ones too."""
        return [name for name in self.members.able(self.holders, start) if not self.is_given_up(name, start)]

    def free_holders(self, start: int) -> list[str]:
        """Those of them that did not say lately that they are busy."""
        return [name for name in self.able_holders(start) if not self.members.is_busy(name)]

    def is_given_up(self, holder: str, start: int) -> bool:
        """Whether a holder trickles, and upstream can send what begins at `start` instead."""
        return self.members.is_trickling(holder) and self.can_ask_upstream(start)

    def homes(self, piece: int) -> Iterator[str]:
        """The homes of a piece that serve, or are waited for, in order."""
        ring = self.ring.homes(piece) if self.upstream.serves_ranges else self.ring.members
        return (name for name in ring if name in self._serving or self.settling.misses(name))

    def can_ask_upstream(self, start: int) -> bool:
        """Whether this node may ask upstream for what begins at `start`."""
        return self.upstream.may_be_asked and not self.whole_is_elsewhere(start)

    def can_fetch_directly(self, start: int) -> bool:
        """Whether what begins at `start` can come without waiting for another node's flight."""
        return self.can_ask_upstream(start) or bool(self.able_holders(start))

    def whole_is_elsewhere(self, start: int = 0) -> bool:
        """Whether another member is the home of the whole, for upstream serves no ranges."""
        if self.upstream.serves_ranges:
            return False
        for home in self.homes(0):
            if home == self._me or self.settling.awaits(home) or self.members.able([home], start):
                return home != self._me
        return False

    @property
    def is_only_home(self) -> bool:
        """Whether there is no other home, so that what is missing need not be cut into pieces.

        A home that is down or out of reach counts: it may be back before a piece is here, and then fetches the next
        one. So does a holder that is silent. A home that declines does not.
        """
        others = (name for name in self.ring.members if name != self._me)
        are_others = any(name in self._serving or not self.members.is_up(name) for name in others)
        may_be_back = are_others or any(map(self.members.is_silent, self.holders))
        return not self.upstream.serves_ranges or not may_be_back

    def again_at(self, now: float, *, awaits_registry: bool) -> float | None:
        """When a holder that rests, or upstream, may be asked again, monotonic seconds; None if nobody is waited for.

        Args:
            now: monotonic seconds.
            awaits_registry: whether a registry that is out is waited for; if not, nobody is.
        """
        if not awaits_registry and self.upstream.is_resting:
            return None
        holder_at = self.members.again_at(self.holders, now)
        upstream_at = self.upstream.rests_until if self.upstream.is_resting and self.upstream.tries_left else None
        return min((at for at in (holder_at, upstream_at) if at is not None), default=None)
