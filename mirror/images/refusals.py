"""What a client is told where nobody here knows what it asks for, by why upstream does not say it either."""

from ..errors import (
    Denied,
    OciError,
    RateLimited,
    Reason,
    Unavailable,
    UpstreamError,
    UpstreamOffline,
    UpstreamOut,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnknown,
)


def refusal(nobody_knows: str, error: UpstreamError, unknown: type[OciError]) -> OciError:
    """The error that a client gets.

    Args:
        nobody_knows: in words, who does not know what.
        error: of upstream.
        unknown: of what does not exist, as far as can be found out.
    """
    match error:
        case UpstreamUnknown() | UpstreamOffline():
            return unknown(f"{nobody_knows}, and upstream: {error}")
        case UpstreamRefused() | UpstreamError(reason=Reason.AUTH):
            return Denied(f"{nobody_knows}, and upstream may not be asked: {error}")
        case UpstreamRateLimited():
            return RateLimited(f"{nobody_knows}, and upstream: {error}", error.retry_after_s)
        case _:
            again_s = error.retry_after_s if isinstance(error, UpstreamOut) else None
            return Unavailable(f"{nobody_knows}, and upstream does not answer: {error}", again_s)
