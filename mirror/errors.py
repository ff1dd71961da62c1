"""Everything that can go wrong in the mirror, by whose fault it is and what the caller may do next.

    MirrorError
    ├── ConfigError            the operator's: refused at start, one line
    │   └── StartFailed        this machine does not let the agent start, now; a restart may help
    ├── Pinned                 it stays until it is unpinned
    ├── ArchiveError           an archive of images is not what it should be: it names the member
    ├── AgentError             a running agent did not do what a command asked of it; `status`
    ├── StorageError           this node cannot store the content
    │   ├── StorageFull        it does not fit: it passes through memory instead
    │   ├── StorageFailed      the disk failed, or gives nothing now
    │   └── Corrupt            a file is not what it was when it was found right
    ├── OciError               an answer to a client, from the distribution-spec's table of codes
    │   ├── NameInvalid  DigestInvalid  RangeInvalid  RangeUnsatisfiable  Unsupported
    │   ├── ManifestUnknown  BlobUnknown  NameUnknown  NotFound
    │   ├── ManifestInvalid  ManifestTooLarge  PartUnknown  SizeInvalid    to who pushes
    │   ├── UploadUnknown  UploadInvalid  UploadOutOfOrder  TooManyUploads  NoSpace
    │   ├── Unauthorized (StaleRequest, LoginRequired)  Denied  Unavailable (SizeUnproven, RateLimited)
    │   └── Refusal            to another member, with the reason; UnknownRefusal
    └── SourceError            a peer or upstream did not deliver: ask another source
        ├── PeerError          names the failing in `reason`
        └── UpstreamError
            ├── UpstreamUnknown      it answered that it has no such thing (404, or 401/403 to our credentials), or
            │                        has it in a form that is never passed on
            ├── UpstreamRefused      this agent may not contact that registry or address
            ├── UpstreamOut          the registry gives no sign of life; `retry_after_s`
            └── UpstreamRateLimited  429; `retry_after_s`

Source: OCI distribution-spec, "Error Codes".
"""

import enum
from typing import ClassVar


class Reason(enum.StrEnum):
    """Why a source did not deliver; the value stands in logs, metrics and headers. What follows: `sources.failures`."""

    UNREACHABLE = "unreachable"
    """No connection, at once: nobody listens there, or no route leads there."""
    TIMEOUT = "timeout"
    """No connection, or no answer, in time."""
    STALLED = "stalled"
    """The answer began, or was waited for, and then nothing came; a member gave no sign of life either."""
    SILENT = "silent"
    """A member gave no sign of life in the time that is usual for it: it may be gone, and somebody else is asked."""
    MISSING = "missing"
    """A member does not have the content."""
    BUSY = "busy"
    """A holder sends to others now, and wants the homes of the pieces to be asked."""
    UNKNOWN = "unknown"
    """Upstream has no such content, or shows it to nobody with our credentials; or a home says so of upstream."""
    UNABLE = "unable"
    """A home lives, but cannot fetch the content now."""
    OUTAGE = "outage"
    """The registry gives no sign of life; or a home says so."""
    RATE_LIMITED = "rate-limited"
    """Upstream answers 429; or a home says so of upstream."""
    WHOLE = "whole"
    """Upstream serves no ranges, so another member is the home of the whole."""
    STATUS = "status"
    """An answer of another status than the protocol allows here."""
    LENGTH = "length"
    """A length that contradicts what is known, or that is missing or too large."""
    RANGE = "range"
    """Another range than was asked for."""
    BROKEN = "broken"
    """The connection broke off, or what came is no answer."""
    UNPROVEN = "unproven"
    """A member has not proven that it is the one that was meant: its certificate or its signature is not right."""
    CORRUPT = "corrupt"
    """The bytes do not have the digest that they must have."""
    AUTH = "auth"
    """Upstream wants credentials that this agent does not have, or rejects those that it has."""
    FORBIDDEN = "forbidden"
    """The operator does not let this agent contact that registry or address."""
    DISK = "disk"
    """This node could not write what came: no fault of the source."""


class MirrorError(Exception):
    """Base of all errors that the mirror raises on purpose."""


class ConfigError(MirrorError):
    """A setting is wrong; the message names the key, the value and what is allowed."""


class StartFailed(ConfigError):
    """What is set may be right, but this machine does not let the agent start with it: an address is in use, say.

    A supervisor may try again.
    """


class Pinned(MirrorError):
    """The operator wants it kept: it is deleted by no order but one that unpins it before."""


class ArchiveError(MirrorError):
    """An archive of images is damaged, incomplete or hostile; the message names the member and what is allowed."""


class AgentError(MirrorError):
    """A running agent did not do what a command asked of it.

    Args:
        message: what it said, or why there is no answer.
        status: of its answer, which may be 200 and the wrong bytes; None if there is none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StorageError(MirrorError):
    """This node cannot store the content; no source is to blame."""


class StorageFull(StorageError):
    """The content does not fit: it is larger than a bound of this node, or the disk or memory is full."""


class StorageFailed(StorageError):
    """The disk failed: it does not take, or does not give, what it should."""


class Corrupt(StorageError):
    """A file of this node is not the content that it was when its digest was found right."""


class OciError(MirrorError):
    """An error answer to a client, rendered as `{"errors": [{code, message, detail}]}`."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500


class NameInvalid(OciError):
    """The repository, registry or tag is no valid name."""

    code, status = "NAME_INVALID", 400


class NameUnknown(OciError):
    """There can be no repository of that name."""

    code, status = "NAME_UNKNOWN", 404


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


class ManifestInvalid(OciError):
    """What is pushed is no manifest, or not the one that it is said to be."""

    code, status = "MANIFEST_INVALID", 400


class ManifestTooLarge(OciError):
    """What is pushed is larger than a manifest may be."""

    code, status = "MANIFEST_INVALID", 413


class PartUnknown(OciError):
    """A manifest that is pushed names content that nobody has."""

    code, status = "MANIFEST_BLOB_UNKNOWN", 400


class SizeInvalid(OciError):
    """What is pushed has another length than it is said to have."""

    code, status = "SIZE_INVALID", 400


class UploadUnknown(OciError):
    """There is no such upload: it never was, it has ended, or nothing came for too long."""

    code, status = "BLOB_UPLOAD_UNKNOWN", 404


class UploadInvalid(OciError):
    """A part of an upload cannot be taken."""

    code, status = "BLOB_UPLOAD_INVALID", 400


class UploadOutOfOrder(OciError):
    """A part of an upload does not begin where the last one ended.

    Args:
        position: where it has to begin, in bytes.
        location: of the upload.
    """

    code, status = "BLOB_UPLOAD_INVALID", 416

    def __init__(self, position: int, location: str) -> None:
        super().__init__(f"the next part of the upload begins at byte {position}")
        self.position = position
        self.location = location


class TooManyUploads(OciError):
    """So many uploads are under way that no other one is begun.

    Args:
        message: one sentence for people.
        retry_after_s: seconds after which one may have ended.
    """

    code, status = "TOOMANYREQUESTS", 429

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoSpace(OciError):
    """What is pushed does not fit, or the disk failed."""

    code, status = "DENIED", 507


class Unsupported(OciError):
    """The method or endpoint is not part of a read-only mirror."""

    code, status = "UNSUPPORTED", 405


class NotFound(OciError):
    """No endpoint of this mirror."""

    code, status = "UNSUPPORTED", 404


class Unauthorized(OciError):
    """The request does not prove that who sent it may ask this."""

    code, status = "UNAUTHORIZED", 401


class StaleRequest(Unauthorized):
    """The request of a member was signed at another time than it is here.

    Args:
        message: one sentence for people.
        now_unix_s: the time here, Unix seconds: with it, the member may ask again.
    """

    def __init__(self, message: str, now_unix_s: float) -> None:
        super().__init__(message)
        self.now_unix_s = now_unix_s


class LoginRequired(Unauthorized):
    """A client has to log in, or its password is wrong.

    Args:
        message: one sentence for people.
        realm: whose passwords are meant: this cluster's, or those of a registry.
    """

    def __init__(self, message: str, realm: str = "skvaller") -> None:
        super().__init__(message)
        self.realm = realm


class Denied(OciError):
    """The client may not do this here, or this mirror may not ask the registry that the request names.

    Or that registry does not show the client what it asks for.
    """

    code, status = "DENIED", 403


class ManifestUnknown(OciError):
    """Nobody has the manifest: neither this node, nor a member, nor upstream."""

    code, status = "MANIFEST_UNKNOWN", 404


class BlobUnknown(OciError):
    """Nobody has the blob: neither this node, nor a member, nor upstream."""

    code, status = "BLOB_UNKNOWN", 404


class Unavailable(OciError):
    """Content may exist, but no source could deliver it now. A runtime goes on to its next endpoint.

    Args:
        message: one sentence for people.
        retry_after_s: seconds after which the same request may succeed; None where nobody can tell.
    """

    code, status = "UNAVAILABLE", 503

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Unavailable):
    """The registry that may have the content lets nobody ask now. A client never gets a 429 for that.

    containerd repeats a request five times at once after a 429, and goes on to its next endpoint after a 503.

    Args:
        message: one sentence for people.
        wait_s: seconds until it may be asked again.
    """

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message, wait_s)
        self.wait_s = wait_s


class SizeUnproven(Unavailable):
    """One member alone says how large some content is; its bytes would prove it."""


class Refusal(OciError):
    """What another member is told when this node does not give what it was asked for, with a word for why.

    Args:
        reason: why not.
        message: one sentence for people.
    """

    code, status = "UNAVAILABLE", 503

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnknownRefusal(Refusal):
    """What a home answers when upstream has no such content."""

    code, status = "BLOB_UNKNOWN", 404

    def __init__(self, message: str) -> None:
        super().__init__(Reason.UNKNOWN, message)


class SourceError(MirrorError):
    """A source of content did not deliver.

    Args:
        reason: why, for logs and metrics, and for what follows from it.
        message: one sentence for people.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


WRONG_COPIES_MAX = 3
"""Bounds the members' wrong copies that one request survives: each costs it a transfer, and the member its trust."""


class WrongCopy(SourceError):
    """All that came was one member's own copy, which is wrong. That member is not asked again; others may have it."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.CORRUPT, message)


class PeerError(SourceError):
    """A member did not deliver."""


class UpstreamError(SourceError):
    """Upstream did not deliver."""


class UpstreamEnded(UpstreamError):
    """What upstream has ends before the bytes that it was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.RANGE, message)


class UpstreamUnknown(UpstreamError):
    """Upstream has no such content, shows it to nobody with our credentials, or has it in a form that is not passed on.

    It will say the same when it is asked again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Reason.UNKNOWN, message)


class UpstreamRefused(UpstreamError):
    """The registry, or the address behind its name, is not one that the operator lets this agent contact."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.FORBIDDEN, message)


class UpstreamOut(UpstreamError):
    """The registry gives no sign of life.

    Args:
        retry_after_s: seconds after which it is known whether it is back.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(Reason.OUTAGE, message)
        self.retry_after_s = retry_after_s


class UpstreamOffline(UpstreamError):
    """The operator does not let this agent ask the registry, ever."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.OUTAGE, message)


class UpstreamRateLimited(UpstreamError):
    """Upstream answered 429.

    Args:
        retry_after_s: seconds until it may be asked again, as it says, bounded; at least 1.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(Reason.RATE_LIMITED, message)
        self.retry_after_s = retry_after_s
