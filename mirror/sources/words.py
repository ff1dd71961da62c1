"""What members say of registries. Pure: told the time.

A registry that gives no sign of life costs the member time that finds it out, and no other one: it tells the others.
What they hear makes them look, behind their clients' backs; what they see themselves decides. For who tells may have a
line of its own that is broken, or may lie: so nobody is kept from a registry that answers him, and a lie costs each
member a question that no registry counts.

By itself a word counts for what the member says of itself: it need not be asked as a home, and it looks out for the
registry's return. Of those that look out, the first in an order that all agree upon asks often, and the others seldom;
when one says that the registry is back, they look at once.

Words travel with ages and not with times. Of two words of one member about one registry the higher number counts, and
each for a bounded time. The numbers are those of one member's own clock, so that they go on after a restart.
"""

import enum
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Container, Set
from dataclasses import dataclass

import msgspec

from ..routers import is_member_name, read_note
from ..settings import OutageSettings


class Sees(enum.IntEnum):
    """What a member sees of a registry; the number travels."""

    ANSWERS = 0
    """It answers again."""
    SILENCE = 1
    """It has been silent for a moment, and is asked for a sign of life."""
    OUTAGE = 2
    """It gives no sign of life."""


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    """A word as it travels; the age in seconds."""

    registry: str
    member: str
    number: int
    sees: Sees
    age_s: float


@dataclass(frozen=True, slots=True)
class _Word:
    """The newest word of one member about one registry; it counts `until` then, monotonic seconds."""

    number: int
    sees: Sees
    until: float


class Words:
    """The newest words.

    Args:
        settings: for how long they count, and how many are kept.
        me: this node's name.
        known: the registries that this node may ask; words about others are dropped.
        tell: tells a word to all other members.
        first_number: lower than those of this node's words, higher than those that it said before it was started.
    """

    def __init__(
        self,
        settings: OutageSettings,
        me: str = "",
        known: Container[str] = frozenset(),
        tell: Callable[[bytes], None] | None = None,
        first_number: int = 0,
    ) -> None:
        self._settings = settings
        self._me = me
        self._known = known
        self._tell = tell or (lambda word: None)
        self._number = first_number
        self._words: OrderedDict[tuple[str, str], _Word] = OrderedDict()
        """By registry and member, the one said last at the end."""

    def say(self, registry: str, sees: Sees, now: float) -> None:
        """Tell the others what this node sees.

        Where many have said that a registry is out, one more says nothing, and who has not said so does not say that it
        is back. A registry may be slow with many answers: that it is silent is said now and then.
        """
        out, mine = self.out(registry, now), self._words.get((registry, self._me))
        if sees is Sees.SILENCE and mine is not None and self._is_new(mine, now):
            return
        if self._me not in out and (sees is Sees.ANSWERS or len(out) >= self._settings.tellers_max):
            return
        self._number += 1
        word = _Word(self._number, sees, now + self._settings.told_s)
        self._keep(registry, self._me, word)
        self._tell(msgspec.msgpack.encode([self._wire(registry, self._me, word, now)]))

    def repeat(self, registry: str, now: float) -> None:
        """Say again that a registry is out, if it is time to."""
        mine = self._words.get((registry, self._me))
        if mine is None or not self._is_new(mine, now):
            self.say(registry, Sees.OUTAGE, now)

    def heard(self, payload: bytes, now: float) -> list[tuple[str, Sees]]:
        """Take in the words of other members; what is none is dropped.

        Returns:
            The registries of which a member sees something new, and what: this node is to look itself.
        """
        new = []
        for wire in read_note(payload, _Wire, self._settings.words_max):
            before = self._words.get((wire.registry, wire.member))
            if not self._is_possible(wire) or (before is not None and before.number >= wire.number):
                continue
            was_out = wire.member in self.out(wire.registry, now)
            word = _Word(wire.number, wire.sees, now + self._settings.told_s - wire.age_s)
            self._keep(wire.registry, wire.member, word)
            if wire.sees is not (Sees.OUTAGE if was_out else Sees.ANSWERS):
                new.append((wire.registry, wire.sees))
        return new

    def state(self, now: float) -> bytes:
        """All words that count, for another member."""
        counting = [(key, word) for key, word in self._words.items() if word.until > now]
        return msgspec.msgpack.encode([self._wire(*key, word, now) for key, word in counting])

    def out(self, registry: str, now: float) -> Set[str]:
        """The members, this node perhaps among them, that say of themselves that a registry is out."""
        return {
            member
            for (of, member), word in self._words.items()
            if of == registry and word.sees is Sees.OUTAGE and word.until > now
        }

    def others(self, registry: str, now: float) -> Set[str]:
        """The other members that say so."""
        return self.out(registry, now) - {self._me}

    def passed_over(self, registry: str, now: float) -> Set[str]:
        """Those of them that are not asked to fetch for others: none for a moment after one said that it is back.

        All look in that moment. If each went by what it has heard, nodes would ask different homes for the same piece.
        """
        said = (word for (of, _), word in self._words.items() if of == registry and word.sees is Sees.ANSWERS)
        back_at = max((word.until - self._settings.told_s for word in said), default=-math.inf)
        return set() if now - back_at < self._settings.return_s else self.others(registry, now)

    def is_first(self, registry: str, now: float) -> bool:
        """Whether this node is the first of those that say that a registry is out; it is where nobody says so."""
        out = self.out(registry, now)
        names = sorted(out, key=lambda name: hashlib.sha256(f"{registry}/{name}".encode()).digest())
        return not names or names[0] == self._me

    def probe_s(self, registry: str, now: float) -> float:
        """Time between two questions of this node whether a registry is back, s: one member asks often, for all."""
        return self._settings.probe_s if self.is_first(registry, now) else self._settings.others_probe_s

    def registries(self, now: float) -> Set[str]:
        """Those that are out, as a member says."""
        return {
            registry for (registry, _), word in self._words.items() if word.sees is Sees.OUTAGE and word.until > now
        }

    def _is_new(self, word: _Word, now: float) -> bool:
        return word.until - now > self._settings.told_s - self._settings.say_again_s

    def _keep(self, registry: str, member: str, word: _Word) -> None:
        self._words[registry, member] = word
        self._words.move_to_end((registry, member))
        while len(self._words) > self._settings.words_max:
            self._words.popitem(last=False)

    def _is_possible(self, wire: _Wire) -> bool:
        is_told = is_member_name(wire.member) and wire.member != self._me and wire.registry in self._known
        return is_told and 0 <= wire.age_s < self._settings.told_s and 0 <= wire.number < 1 << 62

    def _wire(self, registry: str, member: str, word: _Word, now: float) -> _Wire:
        age_s = max(0.0, self._settings.told_s - (word.until - now))
        return _Wire(registry, member, word.number, word.sees, age_s)
