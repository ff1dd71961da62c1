"""The answers of the distribution API: content from memory, from files and passing through, and errors."""

import json
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass

from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from ..errors import OciError, RangeUnsatisfiable, Refusal
from ..oci.digest import Digest
from ..oci.ranges import parse_range
from ..sources.peers.client import REASON_HEADER
from ..stores import Held
from .blob import BlobResponse, Headers, blob_headers
from .request import header

OCTETS = "application/octet-stream"

API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")


@dataclass(frozen=True, slots=True)
class Body:
    """A file that holds a blob, all of it or what has arrived so far.

    Args:
        digest: of the whole.
        size: of the whole, in bytes.
        fd: the file, open for as long as the answer takes.
        extents: gives the ready `(offset, count)` of `[start, stop)`, in order.
    """

    digest: Digest
    size: int
    fd: int
    extents: Callable[[int, int], Iterable[tuple[int, int]] | AsyncIterable[tuple[int, int]]]

    @classmethod
    def held(cls, digest: Digest, held: Held) -> "Body":
        """A complete blob: ready at once."""
        return cls(digest, held.size, held.fd, lambda start, stop: [(start, stop - start)])


async def send_blob(scope: Scope, receive: Receive, send: Send, body: Body, served: Counter) -> None:
    """Send a blob, or the range of it that the request asks for; count the bytes sent."""
    if unmodified(scope, body.digest):
        await send_empty(send, 304, _not_modified(body.digest))
        return
    wanted = requested_range(scope, body.size)
    start, stop = wanted or (0, body.size)
    status, headers = blob_headers(body.digest, OCTETS, body.size, wanted)
    response = BlobResponse(status, [API_VERSION, *headers], body.fd, body.extents(start, stop))
    await response(scope, receive, send)
    served.inc(response.sent)


async def send_content(scope: Scope, send: Send, digest: Digest, media_type: str, body: bytes, extra: Headers) -> None:
    """Send content that is in memory, or the range of it that the request asks for.

    Raises:
        RangeInvalid, RangeUnsatisfiable: the request's Range header.
    """
    if unmodified(scope, digest):
        await send_empty(send, 304, [*_not_modified(digest), *extra])
        return
    wanted = requested_range(scope, len(body))
    start, stop = wanted or (0, len(body))
    status, headers = blob_headers(digest, media_type, len(body), wanted)
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers, *extra]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body[start:stop]})


async def send_empty(send: Send, status: int, headers: Headers) -> None:
    """Send an answer without a body, as HEAD and 304 want it."""
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b""})


async def send_json(scope: Scope, send: Send, status: int, document: object, extra: Headers | None = None) -> None:
    """Send a small document; HEAD gets its headers alone."""
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(extra or ())]
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_error(scope: Scope, send: Send, error: OciError) -> None:
    """Send an error as the specification has it.

    Source: OCI distribution-spec, "Error Codes".
    """
    extra: Headers = []
    if isinstance(error, RangeUnsatisfiable):
        extra.append((b"content-range", b"bytes */%d" % error.size))
    if error.status == 405:
        extra.append((b"allow", b"GET, HEAD"))
    if isinstance(error, Refusal):
        extra.append((REASON_HEADER.lower().encode(), error.reason.encode()))
    document = {"errors": [{"code": error.code, "message": str(error), "detail": None}]}
    await send_json(scope, send, error.status, document, extra)


def unmodified(scope: Scope, digest: Digest) -> bool:
    """Whether the client says that it has the content already (RFC 9110 section 13.1.2)."""
    known = header(scope, b"if-none-match")
    return known is not None and (known.strip() == "*" or f'"{digest}"' in known)


def requested_range(scope: Scope, size: int) -> tuple[int, int] | None:
    """The range asked for, None for the whole; a range on HEAD means nothing (RFC 9110 section 14.2)."""
    return parse_range(header(scope, b"range"), size) if scope["method"] == "GET" else None


def warning(text: str) -> tuple[bytes, bytes]:
    """A `Warning` header, which container tools show to people."""
    printable = "".join(c if " " <= c <= "~" and c not in '"\\' else " " for c in text)
    return b"warning", b'299 - "%b"' % printable[:1000].encode()


def _not_modified(digest: Digest) -> Headers:
    name = str(digest).encode()
    return [(b"docker-content-digest", name), (b"etag", b'"%b"' % name)]
