"""What a client is told when nobody delivered."""

from collections.abc import Sequence

from ..errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    OciError,
    PeerError,
    RateLimited,
    Reason,
    SourceError,
    Unavailable,
    UpstreamError,
    UpstreamOffline,
    UpstreamOut,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnknown,
)
from ..oci.content import Content


def client_error(content: Content, failures: Sequence[SourceError]) -> OciError:
    """The error that a client gets, from all that went wrong; what upstream said last counts most."""
    upstream = next((error for error in reversed(failures) if isinstance(error, UpstreamError)), None)
    if isinstance(upstream, UpstreamUnknown | UpstreamOffline):
        kind = ManifestUnknown if content.kind == "manifests" else BlobUnknown
        unknown = kind(f"no member has {content.digest}, and upstream: {upstream}")
        unknown.__cause__ = upstream
        return unknown
    if isinstance(upstream, UpstreamRefused) or (upstream is not None and upstream.reason is Reason.AUTH):
        return Denied(f"no member has {content.digest}, and upstream may not be asked: {upstream}")
    last = failures[-1] if failures else PeerError(Reason.MISSING, "there is nobody to ask")
    why = f"{content.digest} cannot be fetched now: {upstream or last}"
    if isinstance(upstream, UpstreamRateLimited):
        unavailable: Unavailable = RateLimited(why, upstream.retry_after_s)
    else:
        unavailable = Unavailable(why, upstream.retry_after_s if isinstance(upstream, UpstreamOut) else None)
    unavailable.__cause__ = upstream or last
    return unavailable
