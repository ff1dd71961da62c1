"""Vouching: which bytes a client of this node may have before the digest of the whole is right. Pure.

What a member sends is its word alone, and whoever resumes a download keeps what it once got. So a client gets bytes of
members when somebody else vouches for them. Upstream's own bytes need nobody's word. When the digest of the whole is
right, everything is free.

A holder that has verified the whole gives its *prefixes*: for each piece the sha256 of everything up to its end. This
node computes the same along the way. If the list of one holder agrees, that holder vouches for all pieces up to there
that it has not sent itself; if the lists of two agree, they vouch for all of them.
"""

import itertools
from collections.abc import Callable, Sequence, Set

from ..cluster.homes import piece_size
from ..oci.ranges import RangeSet

Senders = Callable[[int, int], Set[str] | None]
"""Gives the names of all that had a part in bytes of a range: who sent them, and whom those named as their origin. None
if that is not known: it may have been anybody."""


class _Prefixes:
    """What holders' lists and this node's own hashes say of the pieces of one blob."""

    def __init__(self) -> None:
        self.lists: dict[str, tuple[bytes, ...]] = {}
        """By holder: the sha256 of everything up to the end of each piece."""
        self.contradicted: set[int] = set()
        """Pieces of which two lists say the same and this node's hash something else, and none agrees."""
        self._hashed: dict[int, bytes] = {}
        """By number of the piece: the sha256 of everything up to its end, as this node has it."""

    def __contains__(self, number: int) -> bool:
        """Whether this node has hashed everything up to the end of a piece."""
        return number in self._hashed

    def listed(self, holder: str, prefixes: tuple[bytes, ...]) -> list[int]:
        """Take a holder's list. Gives the pieces of which it says what this node's hash says, the last one first."""
        self.lists[holder] = prefixes
        self.contradicted = {number for number in self._hashed if self._is_contradicted(number)}
        return sorted((number for number in self._hashed if self._agrees(prefixes, number)), reverse=True)

    def hashed(self, number: int, prefix: bytes) -> None:
        """Take this node's hash of everything up to the end of a piece."""
        self._hashed[number] = prefix
        if self._is_contradicted(number):
            self.contradicted.add(number)

    def forget(self, numbers: range) -> None:
        """Forget this node's hashes of pieces."""
        for number in numbers:
            self._hashed.pop(number, None)
            self.contradicted.discard(number)

    def agreeing(self, number: int) -> list[str]:
        """The holders whose lists say of a piece what this node's hash says."""
        return [name for name, prefixes in self.lists.items() if self._agrees(prefixes, number)]

    def is_denied(self, number: int) -> bool:
        """Whether a list says otherwise: then the word of one holder is not enough."""
        return any(
            number < len(prefixes) and prefixes[number] != self._hashed[number] for prefixes in self.lists.values()
        )

    def _agrees(self, prefixes: Sequence[bytes], number: int) -> bool:
        return number < len(prefixes) and prefixes[number] == self._hashed.get(number)

    def _is_contradicted(self, number: int) -> bool:
        if len(self.lists) < 2:
            return False
        said = [prefixes[number] for prefixes in self.lists.values() if number < len(prefixes)]
        return self._hashed[number] not in said and len(said) > len(set(said))


class Vouching:
    """What is free of one blob.

    Args:
        senders: of a range.
        on_free: called with each range that has become free.
    """

    def __init__(self, senders: Senders, on_free: Callable[[int, int], None]) -> None:
        self.free = RangeSet()
        """What clients may have, of what is present."""
        self.losses = 0
        """How often bytes were dropped or taken back: whoever compared some knows by it whether they are the same."""
        self._senders = senders
        self._on_free = on_free
        self._size = 0
        self._unit = 1
        self._prefixes = _Prefixes()
        self._reviewed: dict[str | None, int] = {}
        """By holder that alone agreed, or None for two that did: how many pieces were looked at with that word. Whoever
        had a part in them then has it still, so they are not looked at with the same word again."""

    def sized(self, size: int) -> None:
        """Take note of the blob's size, in bytes."""
        self._size, self._unit = size, piece_size(size)

    @property
    def prefix_count(self) -> int:
        """How many prefixes a list has: one for each whole piece."""
        return self._size // self._unit

    @property
    def list_count(self) -> int:
        """How many holders have given a list."""
        return len(self._prefixes.lists)

    @property
    def is_agreed(self) -> bool:
        """Whether two lists are the same, so that they vouch for all bytes, whoever sends them."""
        lists = self._prefixes.lists.values()
        return len(set(lists)) < len(lists)

    # What happened.

    def release(self, start: int, stop: int) -> None:
        """Free a range: upstream sent it, or somebody else vouched for it."""
        self._add(RangeSet((start, stop)))

    def listed(self, holder: str, prefixes: tuple[bytes, ...]) -> None:
        """Take a holder's list of `prefix_count` prefixes."""
        agreed = self._prefixes.listed(holder, prefixes)
        for number in agreed[:1]:  # who agrees there agrees with everything up to there
            self._review(number)
        two_agree = (number for number in agreed if len(self._prefixes.agreeing(number)) > 1)
        for number in itertools.islice(two_agree, 1):
            self._review(number)

    def hashed(self, stop: int, prefix: bytes) -> None:
        """Take this node's sha256 of everything up to the end of a whole piece."""
        number = stop // self._unit - 1
        if number not in self._prefixes:
            self._review_again_from(number)
        self._prefixes.hashed(number, prefix)
        self._review(number)

    def forget(self, start: int, stop: int) -> None:
        """Take note that bytes are not here any more: dropped, or taken back. What comes next has other senders."""
        self.losses += 1
        self.free.remove(start, stop)
        self._forget_hashes(range(start // self._unit, -(-stop // self._unit)))

    def retracted(self, start: int, stop: int) -> None:
        """Take note that bytes may be wrong: they come again, and everything that follows is hashed again."""
        self.forget(start, stop)
        self._forget_hashes(range(start // self._unit, self.prefix_count))

    def _forget_hashes(self, numbers: range) -> None:
        self._prefixes.forget(numbers)
        self._review_again_from(numbers.start)

    def _review_again_from(self, number: int) -> None:
        """Take note that the bytes of a piece may have other senders than when it was looked at."""
        for word, count in self._reviewed.items():
            self._reviewed[word] = min(count, number)

    # What follows.

    def contradicted(self) -> tuple[int, int] | None:
        """The first piece here of which two lists say the same and this node's hash something else, and none agrees."""
        contradicted = self._prefixes.contradicted
        return self._range(min(contradicted)) if contradicted else None

    def _review(self, number: int) -> None:
        """Free what lists vouch for that agree at a piece: of this piece and of those before it, what is not free."""
        agreeing = self._prefixes.agreeing(number)
        if not agreeing or (len(agreeing) == 1 and self._prefixes.is_denied(number)):
            return
        word = agreeing[0] if len(agreeing) == 1 else None
        known = self._reviewed.get(word, 0)
        fresh = RangeSet()
        for earlier in filter(self._prefixes.__contains__, range(known, number + 1)):
            start, stop = self._range(earlier)
            if not self.free.covers(start, stop) and (word is None or self._had_no_part(word, start, stop)):
                fresh.add(start, stop)
        self._reviewed[word] = max(known, number + 1)
        self._add(fresh)

    def _had_no_part(self, name: str, start: int, stop: int) -> bool:
        senders = self._senders(start, stop)
        return senders is not None and name not in senders

    def _range(self, number: int) -> tuple[int, int]:
        return number * self._unit, min((number + 1) * self._unit, self._size)

    def _add(self, more: RangeSet) -> None:
        fresh = list(more - self.free)
        for start, stop in fresh:
            self.free.add(start, stop)
        for start, stop in fresh:
            self._on_free(start, stop)
