"""What a home fetches first, and what it tells a member when it cannot fetch something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.app.relay import hint, refusal
from mirror.cluster.homes import MEBIBYTE
from mirror.errors import (
    BlobUnknown,
    Denied,
    MirrorError,
    RangeInvalid,
    Reason,
    Refusal,
    Unavailable,
    UpstreamError,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamUnknown,
)
from mirror.oci.ranges import IntRange, SeveralRanges, SuffixRange


def caused(error: MirrorError, cause: Exception) -> MirrorError:
    error.__cause__ = cause
    return error


def unknown_offline() -> BlobUnknown:
    """What a client of a node that is offline is told."""
    error = BlobUnknown("no member has it")
    error.__cause__ = UpstreamOffline("never asked")
    return error


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Refusal(Reason.WHOLE, "another"), 503, Reason.WHOLE),
        (UpstreamUnknown("not there"), 404, Reason.UNKNOWN),
        (BlobUnknown("nobody has it"), 404, Reason.UNKNOWN),
        (UpstreamRateLimited("too often", 9.0), 503, Reason.RATE_LIMITED),
        (caused(Unavailable("no source"), UpstreamRateLimited("too often", 9.0)), 503, Reason.RATE_LIMITED),
        (caused(Unavailable("no source"), UpstreamError(Reason.STALLED, "silent")), 503, Reason.UNABLE),
        (UpstreamError(Reason.AUTH, "no credentials"), 503, Reason.UNABLE),
        (Denied("not configured"), 503, Reason.UNABLE),
        (UpstreamOffline("never asked"), 503, Reason.UNABLE),
        (unknown_offline(), 503, Reason.UNABLE),
    ],
)
def test_a_member_is_told_why_in_words_of_the_protocol(error: MirrorError, status: int, reason: Reason) -> None:
    told = refusal(error)
    assert (told.status, told.reason, str(told)) == (status, reason, str(error))


@given(st.integers(0, 10**19), st.none() | st.integers(1, 10**19))
def test_there_are_bytes_to_fetch_first_wherever_a_range_begins(start: int, count: int | None) -> None:
    begin, end = hint(IntRange(start, None if count is None else start + count))
    assert begin == start < end
    assert count is None or end == start + count


def test_several_ranges_are_refused_before_anything_is_fetched() -> None:
    with pytest.raises(RangeInvalid):
        hint(SeveralRanges((IntRange(0, 1), IntRange(5, 6))))


@pytest.mark.parametrize("part", [None, SuffixRange(0), SuffixRange(5)])
def test_a_range_whose_place_is_not_known_is_looked_for_from_the_beginning(part: SuffixRange | None) -> None:
    assert hint(part) == (0, MEBIBYTE)
