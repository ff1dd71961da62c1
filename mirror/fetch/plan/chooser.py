"""The chooser picks the source for a range. It makes flights, but launches none."""

from collections.abc import Collection, Iterator, Sequence

from ...cluster.throughput import Throughput
from ...oci.ranges import RangeSet, Span
from ...settings import PlanSettings
from ...sources import UPSTREAM, Role
from ..demand import Audience
from .candidates import Candidates
from .flight import Flight, Flights
from .pieces import Pieces
from .progress import Lateness
from .upstream_state import Denial


class Chooser:
    """Picks sources for one fetch.

    Args:
        me: this node's name.
        candidates: who may be asked.
        throughput: what members deliver.
        flights: those under way, for their number.
        pieces: how the blob is cut.
        settings: how many requests one source may have.
    """

    def __init__(
        self,
        me: str,
        candidates: Candidates,
        throughput: Throughput,
        flights: Flights,
        pieces: Pieces,
        settings: PlanSettings,
    ) -> None:
        self._me = me
        self._candidates = candidates
        self._throughput = throughput
        self._flights = flights
        self._pieces = pieces
        self._settings = settings
        self._without: dict[int, set[str]] = {}
        """Of late pieces, by number: members that have not got them either."""
        self._again_at: dict[int, float] = {}
        """Of late pieces that all were asked for, by number: when they are asked again, monotonic seconds."""
        self.is_upstream_alone = False
        """Whether this node's own readers get nothing of members: nobody could vouch for it in time."""

    def has_not_got(self, start: int, member: str) -> None:
        """Take note that a member has not got a late piece."""
        self._without.setdefault(self._pieces.number(start), set()).add(member)

    def may_fail(self, flight: Flight) -> bool:
        """Whether others are asked for the same: its member may be gone, or upstream be out, as a home says."""
        if flight.source == UPSTREAM:
            return flight.first_at is None and self._is_second_home_due
        return self._candidates.members.is_silent(flight.source)

    def awaited(self, hung: Collection[Flight]) -> list[Flight]:
        """Flights that are relied on, without those that hang: while they are under way, others are not asked."""
        return [flight for flight in self._flights if flight not in hung and not self.may_fail(flight)]

    @property
    def _is_second_home_due(self) -> bool:
        """Whether another home is to be asked beside upstream: one said that the registry gives it no sign of life."""
        return self._candidates.troubles.leave_doubt and not any(flight.role is Role.HOME for flight in self._flights)

    def for_local(self, start: int, stop: int | None, now: float, *, run_stop: int | None) -> Flight | None:
        """A flight for this node's own readers, or None if all sources have enough to do.

        Args:
            start: first byte.
            stop: end of the piece, exclusive; None for everything, while the size is unknown.
            now: monotonic seconds.
            run_stop: end of what upstream is asked for in one run, if this node is the only home.
        """
        candidates = self._candidates
        if self.is_upstream_alone:
            return self._from_upstream(start, run_stop, now, Audience.LOCAL)
        avoid = candidates.members.avoided(start)
        if free := candidates.free_holders(start):
            best = self._soonest(free, self._settings.holder_lanes, Audience.LOCAL)
            return None if best is None else Flight(best, Role.HOLDER, start, stop, now, avoid=avoid)
        is_own_turn = candidates.troubles.are_many or (
            candidates.troubles.leave_doubt and not self._flights.has(UPSTREAM, start)
        )
        for home in self._homes_to_ask(start):
            if home == self._me and candidates.settling.was_cut_off:
                continue
            if (home == self._me or is_own_turn) and candidates.can_fetch_directly(start):
                break
            if home != self._me and candidates.members.able([home], start):
                if self._flights.count(home) >= self._settings.home_lanes:
                    return None
                return Flight(home, Role.HOME, start, stop, now, avoid=avoid)
            if candidates.settling.awaits(home):
                return None
        if candidates.settling.was_cut_off and not candidates.able_holders(start):
            return None
        return self.direct(start, stop, now, run_stop=run_stop)

    def _homes_to_ask(self, start: int) -> Sequence[str]:
        """The homes of a piece in order; none if their answer is known, or if upstream comes first."""
        upstream = self._candidates.upstream
        if upstream.denial is Denial.UPSTREAM:
            return ()
        if self._candidates.troubles.are_many and not upstream.may_be_asked:  # nor is this node able to
            return ()
        is_doubted = upstream.denial is Denial.A_HOME and not self._flights.count(UPSTREAM)
        if is_doubted and self._candidates.can_ask_upstream(start):
            return ()
        return list(self._candidates.homes(self._pieces.number(start)))

    def direct(
        self, start: int, stop: int | None, now: float, *, run_stop: int | None, audience: Audience = Audience.LOCAL
    ) -> Flight | None:
        """A flight that waits for no other node's: from a holder or from upstream; None if there is none now.

        Args:
            start: first byte.
            stop: end of the piece, exclusive; None for everything, while the size is unknown.
            now: monotonic seconds.
            run_stop: end of what upstream is asked for in one run, if this node is the only home.
            audience: who needs the bytes.
        """
        candidates, settings = self._candidates, self._settings
        able = candidates.able_holders(start) or self._last_resorts(start)
        # One that sends these bytes already, as their home, is too slow for the member that asks this node now.
        if holders := [name for name in able if not self._flights.has(name, start)]:
            lanes = settings.holder_lanes if audience is Audience.LOCAL else settings.home_lanes
            best = self._soonest(holders, lanes, audience)
            if best is None:
                return None
            avoid = candidates.members.avoided(start)
            return Flight(best, Role.HOLDER_FOR_HOME, start, stop, now, audience, avoid=avoid)
        return self._from_upstream(start, run_stop if candidates.is_only_home else stop, now, audience)

    def for_range(self, start: int, piece_stop: int, stop: int, now: float) -> Flight | None:
        """A flight for a client that reads a range by itself; None if who can send it has enough to do.

        Two holders vouch for each other at once, as long as nobody was found to send wrong bytes. Without them the
        bytes come from upstream, which needs nobody's word; a home would have them from there, too, and upstream would
        have to send them once more for them to be believed. If upstream cannot send a range, members do what
        they can, and the client has to wait for somebody's word.

        Args:
            start: first byte.
            piece_stop: end of the piece, or of the range if that comes before: a member is asked for so much.
            stop: end of the range.
            now: monotonic seconds.
        """
        candidates, settings = self._candidates, self._settings
        holders = candidates.free_holders(start)
        are_agreed = len(holders) > 1 and not candidates.members.any_avoided
        if are_agreed and (best := self._soonest(holders, settings.home_lanes, Audience.LAZY)) is not None:
            avoid = candidates.members.avoided(start)
            return Flight(best, Role.HOLDER_FOR_HOME, start, piece_stop, now, Audience.LAZY, avoid=avoid)
        if candidates.upstream.serves_ranges and candidates.can_ask_upstream(start):
            if self._flights.lazy_count(from_upstream=True) >= settings.lazy_lanes:
                return None
            return Flight(UPSTREAM, Role.UPSTREAM, start, stop, now, Audience.LAZY)
        if not candidates.upstream.serves_ranges:
            return None  # it comes with the whole, in one request from its beginning
        return self.for_local(start, piece_stop, now, run_stop=stop)

    def has_direct_source(self, start: int) -> bool:
        """Whether `direct` finds a source for what begins at `start`, now or as soon as one has less to do."""
        return self._candidates.can_fetch_directly(start) or bool(self._last_resorts(start))

    def _last_resorts(self, start: int) -> list[str]:
        """Holders that the node leaves alone for some seconds, if no other holder, nor upstream, may be asked.

        A fetch asks each of them once: one that fails again rests for longer than the fetch waits.
        """
        candidates = self._candidates
        if candidates.upstream.may_be_asked or candidates.able_holders(start):
            return []
        return candidates.members.able_at_rest(candidates.holders, start)

    def _from_upstream(self, start: int, stop: int | None, now: float, audience: Audience) -> Flight | None:
        """A flight from upstream, unless it may not be asked or has enough to do."""
        candidates = self._candidates
        lanes = self._settings.upstream_lanes if candidates.upstream.serves_ranges else 1
        may_be_asked = candidates.can_ask_upstream(start) or (
            self.is_upstream_alone and audience is Audience.LOCAL and candidates.upstream.may_be_asked
        )
        if not may_be_asked or self._flights.count(UPSTREAM) >= lanes:
            return None
        if self._is_second_home_due and self._flights.has(UPSTREAM, start):
            return None
        return Flight(UPSTREAM, Role.UPSTREAM, start, stop, now, audience)

    def second(self, flight: Flight, lateness: Lateness, now: float, *, run_stop: int | None) -> Flight | None:
        """The rest of a late flight from another source; where two are slow, or upstream is, only from a holder.

        What a home is slow to send, other members may have got from it already. So they are asked first, for the bytes
        that they have; only what is very late is fetched by another home.
        """
        assert flight.stop is not None
        if flight.audience is Audience.LAZY or (self.is_upstream_alone and flight.audience is Audience.LOCAL):
            return None
        start, stop, candidates, settings = flight.position, flight.stop, self._candidates, self._settings
        # The link of the holder from which a home has its bytes, or of one that is busy, is full already.
        holders = candidates.free_holders(start) if flight.role is Role.HOME else candidates.able_holders(start)
        asked = {flight.origin, *self._flights.sources(start)}
        holders = [name for name in holders if name not in asked]
        if (holder := self._soonest(holders, settings.home_lanes, flight.audience)) is not None:
            return Flight(holder, Role.HOLDER_FOR_HOME, start, stop, now, flight.audience, avoid=flight.avoid)
        if flight.role is not Role.HOME or lateness is Lateness.DOUBLED:
            return None
        piece = self._pieces.number(start)
        others = [home for home in candidates.homes(piece) if home not in (flight.source, self._me)]
        able = [
            home for home in candidates.members.able(others, start) if self._flights.count(home) < settings.home_lanes
        ]
        if (unasked := self._unasked(piece, able, now, is_again=not lateness.is_very_late)) is not None:
            return Flight(unasked, Role.PARTIAL, start, stop, now, avoid=flight.avoid)
        if not lateness.is_very_late:
            return None
        # All who find it very late ask the same home: so upstream sends the piece once more, not twice.
        if candidates.can_ask_upstream(start):
            able.append(self._me)
        following = next((home for home in candidates.homes(piece) if home in able), self._me)
        if following != self._me:
            return Flight(following, Role.HOME, start, stop, now, avoid=flight.avoid)
        return self.direct(start, stop, now, run_stop=run_stop)

    def _unasked(self, piece: int, members: Sequence[str], now: float, *, is_again: bool) -> str | None:
        """The next member to ask whether it has got a late piece.

        Args:
            piece: its number.
            members: who may have got it.
            now: monotonic seconds.
            is_again: whether members are asked again some time after all of them were.
        """
        settings, without = self._settings, self._without.setdefault(piece, set())
        unasked = next((member for member in members if member not in without), None)
        if unasked is not None and len(without) < settings.partial_tries:
            return unasked
        if not is_again or now >= self._again_at.setdefault(piece, now + settings.partial_again_s):
            without.clear()
            self._again_at.pop(piece, None)
        return None

    def own_pieces(self, gaps: RangeSet) -> Iterator[Span]:
        """What to ask for first: of what is missing the pieces whose home is this node, if there is one free holder.

        If others want the blob as well, the holder soon sends each piece to its home only. What it has sent to another
        node by then, it sends twice. Readers do not wait longer: one holder's bytes have nobody to vouch for them yet.
        """
        candidates = self._candidates
        if len(candidates.free_holders(0)) == 1 and not self.is_upstream_alone:
            for start, stop in self._pieces.cut(gaps):
                if next(candidates.homes(self._pieces.number(start)), None) == self._me:
                    yield start, stop

    def window(self, *, is_alone: bool) -> int:
        """How many pieces are asked for at once for this node itself.

        Args:
            is_alone: whether the node fetches no other blob for its own readers.
        """
        settings, candidates = self._settings, self._candidates
        of_a_home = settings.window_homes_alone if is_alone else settings.window_homes
        homes, holders = len(candidates.ring), len(candidates.holders)
        wanted = max(int(of_a_home * homes), settings.holder_lanes * holders, settings.window_min)
        return min(wanted, settings.window_max)

    @property
    def holders_are_full(self) -> bool:
        """Whether no piece can be asked for: free holders send them all, and each has enough to do for this node."""
        free = self._candidates.free_holders(0)
        if not free or self._candidates.members.any_avoided:
            return False
        return all(self._flights.count(name, Audience.LOCAL) >= self._settings.holder_lanes for name in free)

    def _soonest(self, names: Sequence[str], lanes: int, audience: Audience) -> str | None:
        """The member that is expected to be done first with one piece more; None if each has all its lanes in use.

        Each audience has lanes of its own. With common ones this node's readers would wait as long as members ask it
        for pieces that it gets of the only holder; and it would not even learn that the holder is busy for them.
        """
        free = [name for name in names if self._flights.count(name, audience) < lanes]
        count = self._pieces.unit

        def expected_s(name: str) -> float:
            return self._throughput.expected_s(name, (self._flights.count(name) + 1) * count)

        return min(free, key=expected_s, default=None)
