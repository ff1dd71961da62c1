"""The table of members: the order in which they are probed, and random samples of them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from ..errors import StateError
from .member import Member, Span

_DRAWS: Final = 4
"""Random draws per wanted member before the whole table is searched. If half of the members fit, 4 are almost always
enough, and a sample of a large table costs the same as one of a small table."""


class MemberTable:
    """All known members except this node, the dead included; iteration is in order of arrival."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._members: dict[str, Member] = {}
        self._ring: list[str] = []
        self._next = 0
        self._spans: Counter[Span] = Counter()
        self.live_count = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: str) -> Member | None:
        """The member of that name."""
        return self._members.get(name)

    def known(self, name: str) -> Member:
        """The member of that name, for callers that must know it.

        Raises:
            StateError: there is none.
        """
        member = self._members.get(name)
        if member is None:
            raise StateError(f"there is no member {name!r}")
        return member

    def put(self, member: Member) -> None:
        """Insert or replace a member. A new one enters the probe order at a random place.

        Insertion at random keeps the expected time to the first probe independent of when a member joined.
        Source: SWIM section 4.3.
        """
        known = self._members.get(member.name)
        if known is None:
            self._ring.insert(self._rng.randint(0, len(self._ring)), member.name)
        self._members[member.name] = member
        self._count(known, -1)
        self._count(member, 1)

    def drop(self, name: str) -> None:
        """Forget a member altogether."""
        member = self._members.pop(name)
        self._ring.remove(name)
        self._count(member, -1)

    @property
    def cluster_size(self) -> int:
        """Live members and this node: the n of all timeouts and of the number of copies of a rumour."""
        return self.live_count + 1

    def live(self) -> list[Member]:
        """All members that take part."""
        return [member for member in self._members.values() if member.live]

    def common(self, ours: Span) -> Span:
        """The versions of the protocol that all live members and this node understand."""
        for theirs in self._spans:
            ours &= theirs
        return ours

    def next_to_probe(self) -> Member | None:
        """The next live member in a shuffled round robin: everyone is probed within 2n - 1 intervals."""
        for _ in range(len(self._ring)):
            if self._next >= len(self._ring):
                self._rng.shuffle(self._ring)
                self._next = 0
            member = self._members[self._ring[self._next]]
            self._next += 1
            if member.live:
                return member
        return None

    def sample(self, count: int, wanted: Callable[[Member], bool]) -> list[Member]:
        """Up to `count` distinct members for which `wanted` is true, at random.

        In a large table members are drawn until enough fit; only where few do, all are looked at.
        """
        if len(self._ring) > _DRAWS * count:
            drawn: dict[str, Member] = {}
            for _ in range(_DRAWS * count):
                member = self._members[self._rng.choice(self._ring)]
                if wanted(member):
                    drawn[member.name] = member
                    if len(drawn) == count:
                        return list(drawn.values())
        candidates = [member for member in self._members.values() if wanted(member)]
        return self._rng.sample(candidates, min(count, len(candidates)))

    def _count(self, member: Member | None, by: int) -> None:
        if member is not None and member.live:
            self.live_count += by
            self._spans[member.protocol] += by
            if not self._spans[member.protocol]:
                del self._spans[member.protocol]
