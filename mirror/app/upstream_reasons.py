"""Why upstream sent something that some fetches brought, in words for the log and for people. Pure."""

from collections.abc import Iterable
from typing import Final

from ..fetch.record import Phase, Record
from ..sources import UPSTREAM, Role

_HOLDERS: Final = (Role.HOLDER.value, Role.HOLDER_FOR_HOME.value)
_SENT: Final = "sent"
_BUSY: Final = "busy"
_SHOWN_MAX: Final = 3
"""Bounds the reasons that one line names; the layers of an image mostly have the same."""


def from_upstream(records: Iterable[Record]) -> int:
    """Bytes that came from upstream, to this node or to a member that passed them on."""
    return sum(_upstream_bytes(record) for record in records)


def why_upstream(records: Iterable[Record], *, has_moved: bool) -> str:
    """Why upstream sent anything; empty if it sent nothing.

    Args:
        records: of the fetches.
        has_moved: whether the tag that led to them meant something else before.
    """
    asked = [record for record in records if _upstream_bytes(record)]
    if not asked:
        return ""
    reasons = dict.fromkeys(_reason(record) for record in asked)
    if has_moved:
        reasons = {"the tag has changed": None, **reasons}
    return "; ".join(list(reasons)[:_SHOWN_MAX])


def _upstream_bytes(record: Record) -> int:
    known = record.sources if record.outcome is Phase.RUNNING else record.origins
    return known.get(UPSTREAM, 0)


def _reason(record: Record) -> str:
    holders = [asked for asked in record.asked.values() if asked.role in _HOLDERS]
    if not holders:
        return "no member had it"
    for asked in holders:
        if asked.answer not in (_SENT, _BUSY):
            return f"{asked.source} was to send it and did not: {asked.answer}"
    if any(asked.answer == _BUSY for asked in holders):
        return "those who had it were busy"
    return "who had it was slower than upstream beside it"
