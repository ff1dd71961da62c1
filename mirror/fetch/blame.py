"""Blame: when a digest is wrong, have bytes fetched once more from others, and find out who sent wrong ones.

The idea is libtorrent's smart ban: bytes are compared with what came in their place, and who sent what differs from the
right bytes is banned, not everybody who took part.

Blame needs proof. A holder sends its own complete copy: if that differs from what has the right digest, it is proven
wrong. A home passes on what it has from others, upstream among them, and names the origin on its own word alone: so
neither the home nor the origin that it names is proven wrong. Both are doubted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..oci.ranges import RangeSet
from ..sources import UPSTREAM
from .plan import EARLIER, Plan, Segment
from .spool import Cursor, Spool

Pair = tuple[str, str]
"""Two names, of which one's bytes were compared with the other's."""


@dataclass(frozen=True, slots=True)
class _Refetched:
    """Bytes that are fetched once more, and the sha256 of what was there before.

    Args:
        segment: who sent them.
        sha256: of all of them.
        given: who had been given which of them.
    """

    segment: Segment
    sha256: bytes
    given: Sequence["_Given"]


@dataclass(frozen=True, slots=True)
class _Given:
    """Bytes that a reader had been given, `[start, stop)`, and their sha256."""

    reader: Cursor
    start: int
    stop: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who sent wrong bytes of a blob whose right bytes are known, each with the first wrong range, `(start, stop)`.

    Args:
        proven: members that sent them as their own complete copy.
        doubted: members that passed them on.
        named: members that others name as their origin, without proof.
    """

    proven: Mapping[str, tuple[int, int]]
    doubted: Mapping[str, tuple[int, int]]
    named: Mapping[str, tuple[int, int]]


class Blame:
    """Finds who sent wrong bytes of one blob.

    Args:
        spool: where the bytes are.
        plan: has them fetched, and knows who sent them.
        on_retracted: called when bytes are fetched once more.
    """

    def __init__(self, spool: Spool, plan: Plan, on_retracted: Callable[[], object]) -> None:
        self._spool = spool
        self._plan = plan
        self._on_retracted = on_retracted
        self._refetched: list[_Refetched] = []
        self._retracting = asyncio.Lock()
        self._suspects: set[str] = set()
        self._avoid_sources = False

    @property
    def has_refetched(self) -> bool:
        """Whether any bytes were ever fetched once more."""
        return bool(self._refetched)

    def sole_owner(self) -> str | None:
        """The member that sent everything, as its own complete copy; None if others had a part in it."""
        owners = {segment.source if segment.is_own_word else UPSTREAM for segment in self._plan.provenance}
        return owners.pop() if len(owners) == 1 and not owners & _NO_MEMBERS else None

    def rounds(self) -> Iterator[list[Segment]]:
        """What to fetch once more, as long as the digest is wrong.

        1. The first segment of each origin that is a member.
        2. All segments of the origins that are suspects after that.
        3. The rest of what has a member as its origin.
        4. Everything.
        5. Everything once more, from upstream alone.
        """
        first: dict[str, Segment] = {}
        for segment in sorted(self._plan.provenance.from_members(), key=lambda segment: segment.start):
            first.setdefault(segment.origin, segment)
        yield list(first.values())
        self._avoid_sources = True  # whoever sent bytes may have named a wrong origin
        yield [segment for segment in self._plan.provenance if segment.origin in self._suspects]
        fetched_again = RangeSet(*((again.segment.start, again.segment.stop) for again in self._refetched))
        rest = self._plan.provenance.from_members()
        yield [segment for segment in rest if not fetched_again.covers(segment.start, segment.stop)]
        yield list(self._plan.provenance)
        candidates = self._plan.candidates
        self._plan.avoid([*candidates.holders, *candidates.ring.members])
        yield list(self._plan.provenance)

    async def retract(self, segments: Iterable[Segment]) -> None:
        """Have bytes fetched once more, and remember what they were; do nothing if the spool is over by then."""
        async with self._retracting:
            known = set(self._plan.provenance)
            segments = [segment for segment in segments if segment in known]  # others may have retracted some meanwhile
            before = [await self._remember(segment) for segment in segments]
            if self._spool.is_over:
                return
            self._refetched += before
            self._plan.refetch(segments, avoid_sources=self._avoid_sources)
            for segment in segments:
                self._spool.retract(segment.start, segment.stop)
            self._on_retracted()

    async def compare(self) -> None:
        """Compare what came with what was there before: whom most contradict is a suspect, and is avoided."""
        contradictions: list[Pair] = []
        agreements: list[Pair] = []
        for segment, is_equal in await self._compared():
            origins = {other.origin for other in self._plan.provenance.within(segment.start, segment.stop)}
            pairs = agreements if is_equal else contradictions
            pairs += [(segment.origin, origin) for origin in sorted(origins - {segment.origin})]
        self._suspects = suspects(contradictions, agreements)
        self._plan.avoid(self._suspects)

    async def verdict(self) -> Verdict:
        """Say who sent wrong bytes, once the digest is right, and fail the readers that were given them."""
        compared = await self._compared()
        wrong = [segment for segment, is_equal in compared if not is_equal]
        given = [given for again in self._refetched for given in again.given]
        now = await self._spool.hash_ranges([(given.start, given.stop) for given in given])
        for before, sha256 in zip(given, now, strict=True):
            if before.sha256 != sha256:
                before.reader.mislead()
        return verdict([segment for segment, _ in compared], wrong)

    async def _remember(self, segment: Segment) -> _Refetched:
        """What was sent, and to whom it was given, before it is taken back."""
        given = self._spool.readers.given(segment.start, segment.stop)
        ranges = [(segment.start, segment.stop), *((start, stop) for _, start, stop in given)]
        sha256, *parts = await self._spool.hash_ranges(ranges)
        return _Refetched(segment, sha256, [_Given(*known, part) for known, part in zip(given, parts, strict=True)])

    async def _compared(self) -> list[tuple[Segment, bool]]:
        """What was fetched once more, and whether the same bytes came again."""
        present = self._spool.present  # what a window in memory has dropped cannot be compared
        refetched = [again for again in self._refetched if present.covers(again.segment.start, again.segment.stop)]
        after = await self._spool.hash_ranges([(again.segment.start, again.segment.stop) for again in refetched])
        return [(again.segment, again.sha256 == sha256) for again, sha256 in zip(refetched, after, strict=True)]


def verdict(compared: Sequence[Segment], wrong: Sequence[Segment]) -> Verdict:
    """Say who sent wrong bytes.

    A member that passed on what another corrupted is wrong now and then, the one that corrupts most of the time: if
    there is one of the latter, none of the former is doubted.

    Args:
        compared: all segments that were fetched once more.
        wrong: those of them whose bytes were others than those that have the right digest.
    """
    proven = _first(wrong, {segment.source for segment in wrong if segment.is_own_word} - _NO_MEMBERS)
    wrong_count = Counter(answerable(segment, wrong) for segment in wrong)
    compared_count = Counter(answerable(segment, wrong) for segment in compared)
    names = {name for name in wrong_count if 2 * wrong_count[name] > compared_count[name]} or set(wrong_count)
    senders = {segment.source for segment in wrong}
    left = names - proven.keys() - _NO_MEMBERS
    return Verdict(proven, _first(wrong, left & senders), _first(wrong, left - senders))


_NO_MEMBERS = {UPSTREAM, EARLIER}


def _first(wrong: Iterable[Segment], names: Collection[str]) -> dict[str, tuple[int, int]]:
    """The first wrong range of each of some members."""
    first: dict[str, tuple[int, int]] = {}
    for segment in sorted(wrong, key=lambda segment: segment.start):
        for name in (segment.source, segment.origin):
            if name in names:
                first.setdefault(name, (segment.start, segment.stop))
    return first


def suspects(contradictions: Iterable[Pair], agreements: Iterable[Pair]) -> set[str]:
    """A small set of names that explains all contradictions; both names of a pair where it cannot be told which one.

    Two members that sent the same bytes differently show that one of them is wrong, not which. But who sends wrong
    bytes is contradicted by everybody, and an honest member only by those who do.

    Args:
        contradictions: pairs whose bytes differ; upstream is taken to be right until the digest says otherwise.
        agreements: pairs whose bytes are equal.
    """
    left = set(contradictions)
    names = {name for pair in left for name in pair if UPSTREAM in pair} - {UPSTREAM}
    agreed = _count(agreements)
    while left := {pair for pair in left if not names.intersection(pair)}:
        count = _count(left)
        weight = {name: (count[name], -agreed[name]) for name in count}
        most = max(weight.values())
        names |= {name for name in weight if weight[name] == most}
    return names


def answerable(segment: Segment, wrong: Sequence[Segment]) -> str:
    """The member to blame for bytes if they are wrong.

    Blame the origin that the sender named if that origin also sent us wrong bytes itself, or if two senders name it;
    else blame the sender: one member's word against another's proves nothing.

    Args:
        segment: the bytes.
        wrong: the segments that turned out wrong.
    """
    if segment.origin in (segment.source, EARLIER):
        return segment.origin
    sources = {other.source for other in wrong if other.origin == segment.origin}
    return segment.origin if segment.origin in sources or len(sources) > 1 else segment.source


def _count(pairs: Iterable[Collection[str]]) -> Counter[str]:
    return Counter(name for pair in pairs for name in pair)
