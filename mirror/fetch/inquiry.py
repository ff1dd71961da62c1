"""What to do about a wrong digest: bring bytes once more, from others, and see who had sent what is not so."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..oci.ranges import RangeSet
from ..sources import UPSTREAM
from .accusation import Pair, accused
from .plan import EARLIER, Plan, Row
from .spool import Spool


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Bytes that are brought once more, and the sha256 of what was there before."""

    row: Row
    sent: bytes


class Inquiry:
    """Into the bytes of one fetch.

    Args:
        spool: where they are.
        plan: has them brought, and knows who brought them.
    """

    def __init__(self, spool: Spool, plan: Plan) -> None:
        self._spool = spool
        self._plan = plan
        self._doubts: list[_Doubt] = []
        self._doubting = asyncio.Lock()
        self._liars: set[str] = set()
        self._from_others = False

    @property
    def begun(self) -> bool:
        """Whether any bytes were ever in doubt."""
        return bool(self._doubts)

    def rounds(self) -> Iterator[list[Row]]:
        """What to take back, as long as the digest is wrong.

        Of each member the first that it sent, then all of those who turned out wrong, then the rest of what members
        sent, then everything; and once more everything, from upstream alone.
        """
        first: dict[str, Row] = {}
        for row in sorted(self._of_members(), key=lambda row: row.start):
            first.setdefault(row.maker, row)
        yield list(first.values())
        self._from_others = True  # who sent it may have lied about whose word it is
        yield [row for row in self._plan.provenance if row.maker in self._liars]
        again = RangeSet(*((doubt.row.start, doubt.row.stop) for doubt in self._doubts))
        yield [row for row in self._of_members() if not again.covers(row.start, row.stop)]
        yield list(self._plan.provenance)
        sources = self._plan.sources
        self._plan.avoid([*sources.holders, *sources.ring.members])
        yield list(self._plan.provenance)

    def _of_members(self) -> list[Row]:
        return [row for row in self._plan.provenance if row.maker != UPSTREAM]

    async def take_back(self, rows: list[Row]) -> bool:
        """Have bytes brought once more, and remember what they were; return False where it is too late for that."""
        async with self._doubting:
            rows = [row for row in rows if row in self._plan.provenance]  # without what somebody else doubted meanwhile
            sent = await self._spool.hash_ranges([(row.start, row.stop) for row in rows])
            if self._spool.is_over:  # meanwhile
                return False
            self._doubts += [_Doubt(row, before) for row, before in zip(rows, sent, strict=True)]
            self._plan.again(rows, from_others=self._from_others)
            for row in rows:
                self._spool.retract(row.start, row.stop)
            return True

    async def compare(self) -> set[str]:
        """See which doubts were right: name who sent wrong bytes, and let go of who has read them.

        A member that passed on what another lied to it is wrong now and then, a liar most of the time: where there is
        one of the latter, none of the former is named.
        """
        present = self._spool.present  # what a bounded spool has let go tells nothing
        doubts = [doubt for doubt in self._doubts if present.covers(doubt.row.start, doubt.row.stop)]
        now = await self._spool.hash_ranges([(doubt.row.start, doubt.row.stop) for doubt in doubts])
        wrong = [doubt for doubt, after in zip(doubts, now, strict=True) if doubt.sent != after]
        for doubt in wrong:
            self._spool.mark_replaced(doubt.row.start, doubt.row.stop)
        contradictions: list[Pair] = []
        agreements: list[Pair] = []
        for doubt, after in zip(doubts, now, strict=True):
            makers = {row.maker for row in self._plan.makers(doubt.row.start, doubt.row.stop)} - {doubt.row.maker}
            pairs = agreements if doubt.sent == after else contradictions
            pairs += [(doubt.row.maker, maker) for maker in sorted(makers)]
        self._liars = accused(contradictions, agreements)
        self._plan.avoid(self._liars)
        rows = [doubt.row for doubt in wrong]
        often, compared = (Counter(answerable(row, rows) for row in some) for some in (rows, (d.row for d in doubts)))
        return {name for name in often if 2 * often[name] > compared[name]} or set(often)


def answerable(row: Row, wrong: Sequence[Row]) -> str:
    """Who answers for bytes: whose word they are, says who sent them; but one member's word against another is nothing.

    Args:
        row: of the bytes.
        wrong: the rows that turned out wrong. A maker is believed to be one that sent wrong bytes itself, or of whom
            two others say so.
    """
    if row.maker in (row.source, EARLIER):
        return row.maker
    sources = {other.source for other in wrong if other.maker == row.maker}
    return row.maker if row.maker in sources or len(sources) > 1 else row.source
