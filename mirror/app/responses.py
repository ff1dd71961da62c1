"""The answers of the distribution API: blobs, manifests and errors."""

import json
import math
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope, Send

from ..errors import (
    LoginRequired,
    OciError,
    RangeUnsatisfiable,
    Refusal,
    StaleRequest,
    TooManyUploads,
    Unavailable,
    UploadOutOfOrder,
)
from ..images.manifests import Manifest
from ..oci.digest import Digest
from ..oci.manifest import OCI_INDEX
from ..settings import AppSettings
from ..sources import Page
from ..sources.peers.protocol import TIME_HEADER, MemberAnswer
from ..stores import Held
from .blob import BlobResponse, Extent, Headers, blob_headers, of_file
from .error_body import error_document
from .multipart import Multipart
from .request import ListRequest, RegistryRequest

OCTETS = "application/octet-stream"

API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")

_HEADS_MAX = 256
"""Bounds the manifests whose headers are remembered, each with some hundred bytes: a node runs fewer images."""
_WARNING_MAX = 1000
"""Bounds the text of a Warning header, in bytes: clients bound the whole head."""


@dataclass(frozen=True, slots=True)
class Body:
    """A blob, all of it or what has arrived so far.

    Args:
        digest: of the whole.
        size: of the whole, in bytes.
        extents: gives what is ready of `[start, stop)`, in order.
    """

    digest: Digest
    size: int
    extents: Callable[[int, int], Iterable[Extent] | AsyncIterable[Extent]]

    @classmethod
    def held(cls, digest: Digest, held: Held) -> "Body":
        """A complete blob: ready as it is checked."""
        return cls(digest, held.size, lambda start, stop: of_file(held.fd, held.ready(start, stop)))


def blob_response(request: RegistryRequest, body: Body, settings: AppSettings) -> BlobResponse:
    """The answer to a request for a blob: all of it, or the ranges that are asked for, or 304.

    Raises:
        RangeUnsatisfiable: the request's Range header.
    """
    if request.is_unmodified(body.digest):
        return BlobResponse(304, [API_VERSION, *_not_modified(body.digest)], (), settings)
    spans = request.spans(body.digest, body.size)
    if len(spans) > 1:
        several = Multipart.of(OCTETS, body.size, spans)
        return BlobResponse(206, [API_VERSION, *several.headers(body.digest)], several.pieces(body.extents), settings)
    wanted = spans[0] if spans else None
    start, stop = wanted or (0, body.size)
    status, headers = blob_headers(body.digest, OCTETS, body.size, wanted)
    return BlobResponse(status, [API_VERSION, *headers], body.extents(start, stop), settings)


@lru_cache(maxsize=_HEADS_MAX)
def manifest_headers(digest: Digest, media_type: str, size: int) -> Headers:
    """The headers of a whole manifest, which many clients ask for again; nobody may change them."""
    return blob_headers(digest, media_type, size)[1]


async def send_manifest(send: Send, request: RegistryRequest, manifest: Manifest, extra: Headers) -> None:
    """Send a manifest: all of it, or the range that is asked for, or 304. Of several ranges, all of it.

    Raises:
        RangeUnsatisfiable: the request's Range header.
    """
    if request.is_unmodified(manifest.digest):
        await send_empty(send, 304, [*_not_modified(manifest.digest), *extra])
        return
    body, status = manifest.body, 200
    spans = request.spans(manifest.digest, len(body))
    if len(spans) == 1:
        status, headers = blob_headers(manifest.digest, manifest.media_type, len(body), spans[0])
        body = body[slice(*spans[0])]
    else:
        headers = manifest_headers(manifest.digest, manifest.media_type, len(body))
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers, *extra]})
    await send({"type": "http.response.body", "body": b"" if request.is_head else body})


async def send_empty(send: Send, status: int, headers: Headers) -> None:
    """Send an answer without a body, as HEAD and 304 need it."""
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b""})


async def send_json(scope: Scope, send: Send, status: int, document: object, extra: Headers | None = None) -> None:
    """Send a small document; the answer to HEAD has its headers alone."""
    await send_whole(scope, send, json.dumps(document).encode(), status, extra)


async def send_whole(scope: Scope, send: Send, body: bytes, status: int = 200, extra: Headers | None = None) -> None:
    """Send a small document that is JSON already; the answer to HEAD has its headers alone."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(extra or ())]
    await send({"type": "http.response.start", "status": status, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_page(scope: Scope, send: Send, request: ListRequest, page: Page, extra: Headers) -> None:
    """Send a page of a list, and where the next one is."""
    media_type = b"application/json" if request.referred is None else OCI_INDEX.encode()
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(page.body)), *extra]
    if page.following:
        headers.append((b"link", f'<{request.following(page.following)}>; rel="next"'.encode()))
    if page.filtered:
        headers.append((b"oci-filters-applied", page.filtered.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


async def send_error(scope: Scope, send: Send, error: OciError) -> None:
    """Send an error in the specification's form.

    Source: OCI distribution-spec, "Error Codes".
    """
    extra: Headers = []
    if isinstance(error, RangeUnsatisfiable):
        extra.append((b"content-range", b"bytes */%d" % error.size))
    if error.status == 405:
        extra.append((b"allow", b"GET, HEAD"))
    if isinstance(error, LoginRequired):
        extra.append(challenge(error.realm))
    if isinstance(error, UploadOutOfOrder):
        extra += [(b"location", error.location.encode()), *received(error.position)]
    if isinstance(error, Unavailable | TooManyUploads) and error.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    if isinstance(error, StaleRequest):
        extra += encoded({TIME_HEADER: str(error.now_unix_s)})
    if isinstance(error, Refusal):
        extra += encoded(MemberAnswer(reason=error.reason).headers())
    await send_json(scope, send, error.status, error_document(error.code, str(error)), extra)


def received(position: int) -> Headers:
    """A `Range` header: how much of an upload has come, in bytes. Of nothing it says `0-0`, as other registries do."""
    return [(b"range", b"0-%d" % max(0, position - 1))]


def challenge(realm: str) -> tuple[bytes, bytes]:
    """A `WWW-Authenticate` header that has clients present a user and password (RFC 7617); a realm has no quotes."""
    return b"www-authenticate", f'Basic realm="{realm}"'.encode()


def encoded(headers: Mapping[str, str]) -> Headers:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def age(since_unix_s: float) -> tuple[bytes, bytes]:
    """An `Age` header: for how long what is answered has not been looked at (RFC 9111 section 5.1)."""
    return b"age", b"%d" % max(0, time.time() - since_unix_s)


def warning(text: str) -> tuple[bytes, bytes]:
    """A `Warning` header, which container tools show to people."""
    printable = "".join(c if " " <= c <= "~" and c not in '"\\' else " " for c in text)
    return b"warning", b'299 - "%b"' % printable[:_WARNING_MAX].encode()


def _not_modified(digest: Digest) -> Headers:
    name = str(digest).encode()
    return [(b"docker-content-digest", name), (b"etag", b'"%b"' % name)]
