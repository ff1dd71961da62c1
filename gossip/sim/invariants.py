"""What must hold after every step, whatever the network does.

The checker sees plain `Observation`s, so that tests can show for each rule that it can fail. It remembers what each
observer believed before, and what was ever said by the owners of records and filters.

Source: the rules for members follow al8n/memberlist's simulation; those for filters are our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.members import Member, Precedence, State

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one node believes at one moment.

    Args:
        me: its own record.
        members: its table.
        filters: for each member (version, hash of the filter's bits).
        filter: its own, the same.
        waiting: rumours queued.
        next_deadline: when it wants to be called, s.
        now: the moment, s.
    """

    me: Member
    members: tuple[Member, ...]
    filters: Mapping[str, tuple[Version, bytes]]
    filter: tuple[Version, bytes]
    waiting: int
    next_deadline: float | None
    now: float


class InvariantError(AssertionError):
    """Something that must never happen did; the message says what, and where."""


class Checker:
    """Holds observations against the rules; `left` is told of each goodbye on purpose."""

    def __init__(self) -> None:
        self._believed: dict[tuple[str, int], dict[str, Precedence]] = {}
        self._records: dict[tuple[str, int, int], tuple[object, bytes]] = {}
        self._own: dict[str, tuple[int, int]] = {}
        self._filters: dict[tuple[str, Version], bytes] = {}
        self._latest: dict[str, Version] = {}
        self._goodbyes: set[tuple[str, int]] = set()
        self.introduced: set[str] = set()

    def left(self, me: Member) -> None:
        """A node says goodbye on purpose."""
        self._goodbyes.add((me.name, me.epoch))

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
        said = (me.epoch, me.incarnation)
        _hold(said >= self._own.get(me.name, said), seen, "its own epoch or incarnation went back")
        self._own[me.name] = said
        goodbye = (me.name, me.epoch) in self._goodbyes
        _hold(me.state is (State.LEFT if goodbye else State.ALIVE), seen, f"it believes itself to be {me.state.name}")
        self._check_record(seen, me)

    def _check_members(self, seen: Observation) -> None:
        believed = self._believed.setdefault((seen.me.name, seen.me.epoch), {})
        now_believed: dict[str, Precedence] = {}
        for member in seen.members:
            known = believed.get(member.name)
            _hold(known is None or member.precedence >= known, seen, f"it went back on {member.name}")
            _hold(member.name in self.introduced, seen, f"it knows {member.name}, which never was")
            owner = self._own.get(member.name, (0, 0))
            _hold((member.epoch, member.incarnation) <= owner, seen, f"it is ahead of {member.name} itself")
            goodbye = (member.name, member.epoch) in self._goodbyes
            _hold(member.state is not State.LEFT or goodbye, seen, f"it invented the goodbye of {member.name}")
            self._check_record(seen, member)
            now_believed[member.name] = member.precedence
        self._believed[seen.me.name, seen.me.epoch] = now_believed

    def _check_record(self, seen: Observation, member: Member) -> None:
        said = (member.address, member.metadata)
        first = self._records.setdefault((member.name, member.epoch, member.recorded), said)
        _hold(first == said, seen, f"two records of {member.name} have one incarnation")

    def _check_filters(self, seen: Observation) -> None:
        version, bits = seen.filter
        _hold(version >= self._latest.get(seen.me.name, version), seen, "its own filter's version went back")
        self._latest[seen.me.name] = version
        self._check_filter(seen, seen.me.name, version, bits)
        for name, (version, bits) in seen.filters.items():
            _hold(version <= self._latest.get(name, version), seen, f"its filter of {name} is newer than {name}'s own")
            self._check_filter(seen, name, version, bits)

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
