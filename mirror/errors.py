"""Everything that can go wrong in the mirror, by whose fault it is and what the caller may do next.

    MirrorError
    ├── ConfigError            the operator's: refused at start, one line
    ├── NoRoom                 the cache cannot take the content: it passes through without being kept
    ├── OciError               an answer to a client, from the distribution-spec's table of codes
    │   ├── NameInvalid  DigestInvalid  RangeInvalid  RangeUnsatisfiable  Unsupported
    │   ├── ManifestUnknown  BlobUnknown  NotFound
    │   ├── Unauthorized  Denied  Unavailable
    │   └── Refusal            to another member, with the reason; UnknownUpstream
    └── SourceError            a peer or upstream did not deliver: ask another source
        ├── PeerError          names the failing in `reason`
        └── UpstreamError
            ├── UpstreamUnknown      it answered that it has no such thing (404, or 401/403 to our credentials)
            ├── UpstreamRefused      this agent may not contact that registry or address
            └── UpstreamRateLimited  429; `retry_after_s`

Source: OCI distribution-spec, "Error Codes".
"""

from typing import ClassVar


class MirrorError(Exception):
    """Base of all errors that the mirror raises on purpose."""


class ConfigError(MirrorError):
    """A setting is wrong; the message names the key, the value and what is allowed."""


class NoRoom(MirrorError):
    """The content does not fit the cache: it is larger than the bound, or the disk is full."""


class OciError(MirrorError):
    """An error answer to a client, rendered as `{"errors": [{code, message, detail}]}`."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500


class NameInvalid(OciError):
    """The repository, registry or tag is no valid name."""

    code, status = "NAME_INVALID", 400


class DigestInvalid(OciError):
    """The digest is not one that this mirror understands."""

    code, status = "DIGEST_INVALID", 400


class RangeInvalid(OciError):
    """The Range header asks for more than one range."""

    code, status = "UNSUPPORTED", 400


class RangeUnsatisfiable(OciError):
    """The range begins beyond the end; `size` is the content's length in bytes.

    Source: RFC 9110 section 15.5.17.
    """

    code, status = "RANGE_INVALID", 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range begins at or beyond the end: the content has {size} bytes")
        self.size = size


class Unsupported(OciError):
    """The method or endpoint is not part of a read-only mirror."""

    code, status = "UNSUPPORTED", 405


class NotFound(OciError):
    """No endpoint of this mirror."""

    code, status = "UNSUPPORTED", 404


class Unauthorized(OciError):
    """The request does not prove that a member sent it."""

    code, status = "UNAUTHORIZED", 401


class Denied(OciError):
    """This mirror may not ask the registry that the request names."""

    code, status = "DENIED", 403


class ManifestUnknown(OciError):
    """Nobody has the manifest: neither this node, nor a member, nor upstream."""

    code, status = "MANIFEST_UNKNOWN", 404


class BlobUnknown(OciError):
    """Nobody has the blob: neither this node, nor a member, nor upstream."""

    code, status = "BLOB_UNKNOWN", 404


class Unavailable(OciError):
    """Content may exist, but no source could deliver it now. A runtime goes on to its next endpoint."""

    code, status = "UNAVAILABLE", 503


class Refusal(OciError):
    """What another member is told when this node does not give what it was asked for, with a word for why.

    Args:
        reason: as in `PeerError`.
        message: one sentence for people.
    """

    code, status = "UNAVAILABLE", 503

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnknownUpstream(Refusal):
    """A home's word that upstream has no such thing."""

    code, status = "BLOB_UNKNOWN", 404

    def __init__(self, message: str) -> None:
        super().__init__("unknown", message)


class SourceError(MirrorError):
    """A source of content did not deliver.

    Args:
        reason: one word for logs and metrics, from a closed set per source.
        message: one sentence for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


OUT_OF_REACH = ("refused", "timeout", "stalled")
"""Reasons of `PeerError` by which a member is left alone until it gives a sign of life."""


class PeerError(SourceError):
    """A node did not deliver.

    Reasons: refused, timeout (no connection), stalled (no sign of life), missing, busy, status, length, range, broken
    (it broke off, or what it says is no answer, or it cannot be asked at all); and of a home: unknown (upstream has no
    such thing), unable (it lives, and cannot bring it now), limited (upstream answers 429), whole (upstream has no
    ranges: another is the home of the whole).
    """


class UpstreamError(SourceError):
    """Upstream did not deliver.

    Reasons: connect, timeout, stalled, status, length, range, auth, broken; and of the classes below: unknown, refused,
    rate_limited.
    """


class UpstreamUnknown(UpstreamError):
    """Upstream has no such content, or shows it to nobody with our credentials."""

    def __init__(self, message: str) -> None:
        super().__init__("unknown", message)


class UpstreamRefused(UpstreamError):
    """The registry, or the address behind its name, is not one that the operator lets this agent contact."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message)


class UpstreamRateLimited(UpstreamError):
    """Upstream answered 429.

    Args:
        retry_after_s: seconds until it may be asked again, as it says, bounded; at least 1.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__("rate_limited", message)
        self.retry_after_s = retry_after_s
