"""What must hold after every step, under every fault of the network.

The checker sees plain `Observation`s, so that tests can show for each rule that it can fail. It remembers what each
observer believed before, and all records and filters that their owners ever published.

Source: the rules for members follow al8n/memberlist's simulation; those for filters are our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..core.membership.member import Address, Member, State

Version = tuple[int, int, int]
_TICKS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Observation:
    """What one node believes at one moment.

    Args:
        me: its own record.
        run: counts the starts of this node.
        members: its table.
        filters: for each member (version, hash of the filter's bits).
        filter: its own, the same.
        hidden: keys that it holds and advertised, and that its published filter does not show.
        waiting: rumours queued.
        next_deadline: when it wants to be called, s.
        now: the moment, s.
    """

    me: Member
    run: int
    members: tuple[Member, ...]
    filters: Mapping[str, tuple[Version, bytes]]
    filter: tuple[Version, bytes]
    hidden: int
    waiting: int
    next_deadline: float | None
    now: float


class InvariantError(AssertionError):
    """Something that must never happen did; the message says what, and where."""


class Checker:
    """Checks observations against the rules; `left` must be called for each node that leaves on purpose."""

    def __init__(self) -> None:
        self._believed: dict[tuple[str, int], dict[str, Member]] = {}
        self._copies: dict[tuple[str, str], tuple[Version, bytes]] = {}
        self._own_run: dict[tuple[str, int], tuple[int, int]] = {}
        self._records: dict[tuple[str, int, int], tuple[object, bytes]] = {}
        self._own: dict[str, tuple[int, int]] = {}
        self._filters: dict[tuple[str, Version], bytes] = {}
        self._latest: dict[str, Version] = {}
        self._latest_run: dict[tuple[str, int], Version] = {}
        self._goodbyes: set[tuple[str, int]] = set()
        self._heard: dict[tuple[str, int], set[Address]] = {}
        self._ticks = (0.0, 0)
        self.introduced: set[str] = set()

    def left(self, me: Member) -> None:
        """A node says goodbye on purpose."""
        self._goodbyes.add((me.name, me.epoch))

    def hears(self, name: str, run: int, source: Address) -> None:
        """A run of a node is given something that comes from there."""
        self._heard.setdefault((name, run), set()).add(source)

    def sends(self, name: str, size: int, limit: int) -> None:
        """A node sends a datagram of that many bytes.

        Raises:
            InvariantError: it is longer than a datagram may be.
        """
        if size > limit:
            raise InvariantError(f"{name} sends {size} bytes in one datagram, where {limit} are allowed")

    def ticks(self, name: str, now: float) -> None:
        """A timer of a node fires.

        Raises:
            InvariantError: that happens without end at one moment.
        """
        at, count = self._ticks
        self._ticks = (now, count + 1 if at == now else 0)
        if count >= _TICKS_MAX:
            raise InvariantError(f"at {now:.3f} s {name}: it spins")

    def check(self, seen: Observation) -> None:
        """Raise unless all rules hold.

        Raises:
            InvariantError: one does not.
        """
        self._check_self(seen)
        self._check_members(seen)
        self._check_filters(seen)
        self._check_bounds(seen)

    def _check_self(self, seen: Observation) -> None:
        me = seen.me
        self.introduced.add(me.name)
        published, run = (me.epoch, me.incarnation), (me.name, seen.run)
        _hold(published >= self._own_run.get(run, published), seen, "its own epoch or incarnation went back")
        self._own_run[run] = published
        self._own[me.name] = max(published, self._own.get(me.name, published))
        goodbye = (me.name, me.epoch) in self._goodbyes
        _hold(me.state is (State.LEFT if goodbye else State.ALIVE), seen, f"it believes itself to be {me.state.name}")
        self._check_record(seen, me)

    def _check_members(self, seen: Observation) -> None:
        """Members are values: one that is the same object as at the last step was held against the rules then."""
        believed = self._believed.setdefault((seen.me.name, seen.run), {})
        for member in seen.members:
            known = believed.get(member.name)
            if known is not member:
                self._check_member(seen, member, known)
                believed[member.name] = member
        if len(believed) > len(seen.members):
            known_names = {member.name for member in seen.members}
            self._believed[seen.me.name, seen.run] = {name: it for name, it in believed.items() if name in known_names}

    def _check_member(self, seen: Observation, member: Member, known: Member | None) -> None:
        name = member.name
        _hold(known is None or member.precedence >= known.precedence, seen, f"it went back on {name}")
        _hold(name in self.introduced, seen, f"it knows {name}, which never was")
        owner = self._own.get(name, (0, 0))
        _hold((member.epoch, member.incarnation) <= owner, seen, f"it is ahead of {name} itself")
        heard = self._heard.get((seen.me.name, seen.run), ())
        _hold(member.address in heard, seen, f"it believes that {name} is at {member.address}, which never said a word")
        goodbye = (name, member.epoch) in self._goodbyes
        _hold(member.state is not State.LEFT or goodbye, seen, f"it invented the goodbye of {name}")
        self._check_record(seen, member)

    def _check_record(self, seen: Observation, member: Member) -> None:
        record = (member.address, member.metadata)
        first = self._records.setdefault((member.name, member.epoch, member.recorded), record)
        _hold(first == record, seen, f"two records of {member.name} have one incarnation")

    def _check_filters(self, seen: Observation) -> None:
        version, bits = seen.filter
        run = (seen.me.name, seen.run)
        _hold(version >= self._latest_run.get(run, version), seen, "its own filter's version went back")
        self._latest_run[run] = version
        self._latest[seen.me.name] = max(version, self._latest.get(seen.me.name, version))
        self._check_filter(seen, seen.me.name, version, bits)
        _hold(seen.hidden <= 0, seen, f"its own filter says no to {seen.hidden} keys that it holds")
        for name, copy in seen.filters.items():
            if self._copies.get((seen.me.name, name)) is not copy:
                self._copies[seen.me.name, name] = copy
                latest = self._latest.get(name, copy[0])
                _hold(copy[0] <= latest, seen, f"its filter of {name} is newer than {name}'s own")
                self._check_filter(seen, name, *copy)

    def _check_filter(self, seen: Observation, name: str, version: Version, bits: bytes) -> None:
        if version[1:] != (0, 0):
            first = self._filters.setdefault((name, version), bits)
            _hold(first == bits, seen, f"two filters of {name} have the version {version}")

    def _check_bounds(self, seen: Observation) -> None:
        _hold(len(seen.members) < len(self.introduced), seen, "it knows more members than there ever were")
        _hold(seen.waiting <= 2 * len(self.introduced) + 256, seen, f"{seen.waiting} rumours wait")
        _hold(seen.next_deadline is not None or seen.me.state is State.LEFT, seen, "it never wants to run again")


def _hold(rule: bool, seen: Observation, what: str) -> None:
    if not rule:
        raise InvariantError(f"at {seen.now:.3f} s {seen.me.name}: {what}")
