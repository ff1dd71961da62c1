"""What a home tells a member when it cannot fetch something."""

import pytest

from mirror.app.relay import refusal
from mirror.errors import (
    BlobUnknown,
    Denied,
    MirrorError,
    Reason,
    Refusal,
    Unavailable,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamUnknown,
)


def caused(error: MirrorError, cause: Exception) -> MirrorError:
    error.__cause__ = cause
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
    ],
)
def test_a_member_is_told_why_in_words_of_the_protocol(error: MirrorError, status: int, reason: Reason) -> None:
    told = refusal(error)
    assert (told.status, told.reason, str(told)) == (status, reason, str(error))
