"""What a request that writes asks for: parsed once, to a value.

Source: OCI distribution-spec, "Endpoints" and "Pushing".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from ...errors import NameInvalid, NotFound, UploadInvalid
from ...oci.digest import Digest
from ...oci.reference import Reference, Repository
from ..request import header_of, named_registry, repository_of

_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:blobs/uploads(?:/(?P<upload>[^/]*))?|(?P<kind>blobs|manifests)/(?P<what>[^/]+))"
)
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_QUERY_MAX = 8192
"""Bounds the query of a request, in characters: a digest and 32 tags have some 5,000."""
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:\*|[0-9]{1,19}))?")
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def is_write(method: str, path: str) -> bool:
    """Whether a request is about writing: one of these methods, or a question how far an upload is."""
    return method in _WRITES or "/blobs/uploads/" in path


def has_body(method: str, path: str) -> bool:
    """Whether the body of a request is taken as it comes."""
    return method in ("POST", "PUT", "PATCH") and path.startswith("/v2/")


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A request that writes.

    Args:
        method: of HTTP.
        repository: of what is written.
        name: the repository, as the client names it.
        registry: what names the registry in the query, encoded; nothing if the query does not.
        upload: of a request about an upload, its id; empty for a new one. None: it is about something else.
        what: the digest or the tag of a blob or manifest; None for uploads.
        is_manifest: whether that is a manifest.
        query: name and value of each other field of the query.
        length: of the body, in bytes; None if it is not known before its end.
        content_type: of the body.
        content_range: the first byte of the part of an upload, and the one after its last; None if it does not say.
    """

    method: str
    repository: Repository
    name: str
    registry: str
    upload: str | None
    what: Digest | Reference | None
    is_manifest: bool
    query: Sequence[tuple[str, str]]
    length: int | None
    content_type: str | None
    content_range: tuple[int, int] | None

    def value(self, key: str) -> str | None:
        """A field of the query; None if it is not there."""
        return next((value for name, value in self.query if name == key), None)

    def digest(self, key: str) -> Digest | None:
        """A digest in the query; None without one.

        Raises:
            DigestInvalid: it is none.
        """
        value = self.value(key)
        return None if value is None else Digest.parse(value)

    def location(self, path: str) -> str:
        """Where a client finds something of this repository, relative to this endpoint."""
        return f"/v2/{self.name}/{path}{self.registry and '?' + self.registry}"


def parse_push(scope: Scope, registry: str | None = None) -> PushRequest:
    """Read a request that writes.

    Args:
        scope: of the request.
        registry: of a request that names none.

    Raises:
        OciError: it is none that is answered.
    """
    path, method = cast("str", scope["path"]), cast("str", scope["method"])
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotFound(
            f"{path[:200]} is no endpoint to which anything is pushed: there are blobs/uploads and manifests"
        )
    named = named_registry(scope)
    repository = repository_of(match["name"], registry if named is None else named)
    text: str = scope["query_string"].decode("latin-1")
    if len(text) > _QUERY_MAX:
        raise NameInvalid(f"the query has at most {_QUERY_MAX} characters")
    query = parse_qsl(text, keep_blank_values=True)
    is_upload = match["kind"] is None or (match["kind"], match["what"]) == ("blobs", "uploads")
    upload = (match["upload"] or "") if is_upload else None
    if upload and not _UPLOAD.fullmatch(upload):
        upload = "unknown"
    return PushRequest(
        method=method,
        repository=repository,
        name=match["name"],
        registry=urlencode([pair for pair in query if pair[0] == "ns"]),
        upload=upload,
        what=None if is_upload else _what(repository, match["kind"], match["what"]),
        is_manifest=match["kind"] == "manifests",
        query=[pair for pair in query if pair[0] != "ns"],
        length=_length(scope),
        content_type=header_of(scope, b"content-type"),
        content_range=_content_range(scope),
    )


def _what(repository: Repository, kind: str, text: str) -> Digest | Reference:
    if kind == "blobs" or ":" in text:
        return Digest.parse(text)
    return Reference.of(repository, text)


def _length(scope: Scope) -> int | None:
    if header_of(scope, b"transfer-encoding") is not None:
        return None
    return int(header_of(scope, b"content-length") or 0)


def _content_range(scope: Scope) -> tuple[int, int] | None:
    text = header_of(scope, b"content-range")
    if text is None:
        return None
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None or int(match[1]) > int(match[2]):
        raise UploadInvalid("Content-Range of a part of an upload is FIRST-LAST, in bytes")
    return int(match[1]), int(match[2]) + 1
