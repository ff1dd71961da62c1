"""Fetches, as far as one pull is concerned: who sent what since it began, and why upstream did. Pure.

A fetch may have begun before the pull: for another client, or because this node is the home of a part for others. What
it had brought by then was here already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import Reason
from ..fetch.record import Record
from ..sources import UPSTREAM, Role

_HOLDERS: Final = (Role.HOLDER.value, Role.HOLDER_FOR_HOME.value)
_SENT: Final = "sent"
_BUSY: Final = Reason.BUSY.value
_MISSING: Final = Reason.MISSING.value
_REASONS_MAX: Final = 3
"""Bounds the reasons that one line names; the layers of an image mostly have the same."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a fetch brought for a pull.

    Args:
        record: of the fetch.
        before: bytes by source that it had brought before the pull.
    """

    record: Record
    before: Mapping[str, int]

    @property
    def sources(self) -> Mapping[str, int]:
        """Bytes by who sent them."""
        more = {name: count - self.before.get(name, 0) for name, count in self.record.sources.items()}
        return {name: count for name, count in more.items() if count > 0}

    @property
    def had(self) -> int:
        """Bytes that were here already."""
        return self.record.resumed + sum(self.before.values())

    @property
    def upstream_bytes(self) -> int:
        """Bytes that upstream sent to this node."""
        return self.sources.get(UPSTREAM, 0)

    @property
    def home_bytes(self) -> int:
        """Bytes of members that are homes of parts, and fetched these: from upstream, unless a member had them."""
        if self.before:  # which of them came before the pull is not known
            return 0
        sent = sum(asked.bytes for asked in self.record.asked.values() if asked.role == Role.HOME.value)
        return min(sent, sum(self.sources.values()))

    @property
    def why_upstream(self) -> str:
        """Why upstream was asked, in a few words."""
        asked_as_holders = (asked for asked in self.record.asked.values() if asked.role in _HOLDERS)
        holders = [asked for asked in asked_as_holders if asked.answer != _MISSING]  # which a filter may only guess
        if not holders:
            return "no member had it"
        for asked in holders:
            if asked.answer not in (_SENT, _BUSY):
                return f"{asked.source} was to send it and did not: {asked.answer}"
        if any(asked.answer == _BUSY for asked in holders):
            return "those who had it were busy"
        return "who had it was slower than upstream beside it"


def why_upstream(shares: Iterable[Share], *, has_moved: bool) -> str:
    """Why upstream was asked, by this node or by homes; empty if neither sent anything.

    Args:
        shares: of a pull.
        has_moved: whether the tag that led to them meant something else before.
    """
    reasons = dict.fromkeys(share.why_upstream for share in shares if share.upstream_bytes or share.home_bytes)
    if has_moved and reasons:
        reasons = {"the tag has changed": None, **reasons}
    return "; ".join(list(reasons)[:_REASONS_MAX])
