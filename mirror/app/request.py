"""What a request to the distribution API asks for: parsed once, to a value.

Source: OCI distribution-spec, "Endpoints".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl

from starlette.types import Scope

from ..errors import BlobUnknown, ManifestUnknown, NameInvalid, NameUnknown, NotFound, RangeInvalid, Unsupported
from ..oci.content import Content, Kind
from ..oci.digest import Digest
from ..oci.ranges import RequestedRange, SeveralRanges, Span, parse_range
from ..oci.reference import Reference, Repository, parse_registry
from ..sources import HOP_HEADER
from ..sources.chain import VIA_HEADER, read_marks

_HOP, _VIA = HOP_HEADER.lower().encode(), VIA_HEADER.lower().encode()

REGISTRY_HEADER = "Skvaller-Registry"
"""Names the registry that is meant, for clients that can send a header and no `ns`."""
_REGISTRY = REGISTRY_HEADER.lower().encode()
_QUERY_MAX = 2048
"""Bounds the query of a request for a list, in characters: registries put marks of their own into it."""
_QUERY = re.compile(r"[!$&-;=?-Z_a-z~%]*")
"""What may stand in a query (RFC 3986, section 3.4), but for brackets."""
_ONLY_CACHED = re.compile(r"(?:^|[,\s])only-if-cached(?=$|[,\s])", re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|[,\s])(?:no-cache|max-age=0)(?=$|[,\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """A request for a manifest or a blob.

    Args:
        kind: which of the two.
        repository: under whose name.
        what: the digest, or the tag as a reference (manifests only).
        is_head: whether only the headers of the answer are wanted.
        range: the part of the content that is wanted; None for the whole. HEAD has none (RFC 9110 section 14.2).
        if_none_match: the entity tags that the client has already, as the header lists them; None without the header.
        if_range: the entity tag of the content of which the range is wanted; None without the header.
        is_hop: whether a member sent it, or, at the client endpoint, one that knows no marks, or a client that wants
            what this node holds and nothing else (RFC 9111 section 5.2.1.7).
        came_by: the marks of the nodes that passed it on.
        is_fresh: whether the client wants upstream to be asked now what the tag means (RFC 9111 section 5.2.1).
    """

    kind: Kind
    repository: Repository
    what: Digest | Reference
    is_head: bool = False
    range: RequestedRange | None = None
    if_none_match: str | None = None
    if_range: str | None = None
    is_hop: bool = False
    came_by: tuple[str, ...] = ()
    is_fresh: bool = False

    @property
    def below(self) -> str:
        """The path of what is wanted, below the repository's own."""
        return f"{self.kind}/{self.what.tag if isinstance(self.what, Reference) else self.what}"

    def content(self, digest: Digest) -> Content:
        """The content to look for, once the digest is known."""
        return Content(self.repository, self.kind, digest)

    def is_unmodified(self, digest: Digest) -> bool:
        """Whether the client says that it has the content already (RFC 9110 section 13.1.2)."""
        known = self.if_none_match
        return known is not None and (known.strip() == "*" or f'"{digest}"' in known)

    def part(self, digest: Digest) -> RequestedRange | None:
        """The part of some content that is wanted; None for the whole.

        A range counts only of the content that the client says it has the rest of (RFC 9110 section 13.1.5).
        """
        return self.range if self.if_range in (None, f'"{digest}"') else None

    def spans(self, digest: Digest, size: int) -> tuple[Span, ...]:
        """The ranges that are wanted of content with this size in bytes; none for the whole.

        Raises:
            RangeUnsatisfiable: all begin beyond the end.
        """
        part = self.part(digest)
        if part is None:
            return ()
        return part.resolve(size) if isinstance(part, SeveralRanges) else (part.resolve(size),)

    def one_span(self, size: int) -> Span | None:
        """The range that a member wants of content with this size in bytes; None for the whole.

        Raises:
            RangeInvalid: it asks for several, as no member does.
            RangeUnsatisfiable: it begins beyond the end.
        """
        if isinstance(self.range, SeveralRanges):
            raise RangeInvalid("send one range per request: between members there are no more")
        return None if self.range is None else self.range.resolve(size)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A request for a list.

    Args:
        repository: whose list.
        referred: the manifest of which those are wanted that refer to it; None: the tags are.
        name: the repository, as the client names it.
        query: of the page, percent-encoded, without what names the registry.
        registry: what names the registry in the query, percent-encoded; nothing if the query does not.
        is_hop: whether a member sent it, or, at the client endpoint, one that knows no marks.
        came_by: the marks of the nodes that passed it on.
    """

    repository: Repository
    referred: Digest | None
    name: str
    query: str
    registry: str
    is_hop: bool = False
    came_by: tuple[str, ...] = ()

    @property
    def below(self) -> str:
        """The path of the list, below the repository's own."""
        return "tags/list" if self.referred is None else f"referrers/{self.referred}"

    def following(self, query: str) -> str:
        """Where a client finds the page of that query, relative to this endpoint."""
        return f"/v2/{self.name}/{self.below}?{'&'.join(part for part in (self.registry, query) if part)}"


def parse(scope: Scope, registry: str | None = None) -> RegistryRequest | ListRequest | None:
    """Read a request below `/v2/`.

    Args:
        scope: of the request.
        registry: of a request that names none, neither by `ns` nor by `Skvaller-Registry`; None if it is in the path.

    Returns:
        What it asks for; None for `/v2/` itself.

    Raises:
        OciError: the method, path, name, digest or `ns` is not one that this mirror answers. What a name, a tag or a
            digest can never be is unknown, as in other registries (OCI distribution-spec: pulling fails with 404).
    """
    if scope["method"] not in ("GET", "HEAD"):
        raise Unsupported(f"{scope['method']} is not supported: this mirror is read-only, push to the registry itself")
    path: str = scope["path"]
    if path != "/v2" and not path.startswith("/v2/"):
        raise NotFound(f"{path[:200]} is no endpoint here: the distribution API begins with /v2/")
    path = path.removeprefix("/v2").removeprefix("/")
    if not path:
        return None
    name, _, text = path.rpartition("/")
    name, _, kind = name.rpartition("/")
    is_list = kind == "referrers" or (kind, text) == ("tags", "list")
    if not name or not (is_list or kind in ("manifests", "blobs")):
        raise NotFound(f"/v2/{path[:200]} is no endpoint of this mirror: it has manifests, blobs, tags and referrers")
    headers = _headers(scope)
    named = _named_registry(scope, headers)
    repository = repository_of(name, registry if named is None else named)
    is_head, caching = scope["method"] == "HEAD", headers.get(b"cache-control", "")
    if is_list:
        return _list_request(scope, repository, name, None if kind == "tags" else Digest.parse(text))
    return RegistryRequest(
        kind=cast("Kind", kind),
        repository=repository,
        what=_what(kind, repository, text),
        is_head=is_head,
        range=None if is_head else parse_range(headers.get(b"range")),
        if_none_match=headers.get(b"if-none-match"),
        if_range=headers.get(b"if-range"),
        is_hop=_HOP in headers or (caching != "" and _ONLY_CACHED.search(caching) is not None),
        came_by=read_marks(headers.get(_VIA)),
        is_fresh=caching != "" and _NO_CACHE.search(caching) is not None,
    )


def _list_request(scope: Scope, repository: Repository, name: str, referred: Digest | None) -> ListRequest:
    """A request for a list; raise NameInvalid if its query is too long."""
    query: str = scope["query_string"].decode("latin-1")
    if len(query) > _QUERY_MAX or not _QUERY.fullmatch(query):
        raise NameInvalid(f"the query of a list is percent-encoded, with at most {_QUERY_MAX} characters")
    parts = query.split("&") if query else []
    registry = [part for part in parts if part.partition("=")[0] == "ns"]
    return ListRequest(
        repository=repository,
        referred=referred,
        name=name,
        query="&".join(part for part in parts if part not in registry),
        registry="&".join(registry),
        is_hop=header_of(scope, _HOP) is not None,
        came_by=read_marks(header_of(scope, _VIA)),
    )


def repository_of(name: str, ns: str | None) -> Repository:
    """The repository of a request.

    Raises:
        NameInvalid: `ns` is no registry.
        NameUnknown: there can be no repository of that name.
    """
    if ns is not None:
        parse_registry(ns)
    try:
        return Repository.parse(name, ns)
    except NameInvalid as error:
        raise NameUnknown(str(error)) from None


def _what(kind: str, repository: Repository, text: str) -> Digest | Reference:
    """The digest or tag of a request.

    Raises:
        ManifestUnknown, BlobUnknown: it is neither, so there can be no such thing.
        DigestInvalid: it is a digest that this mirror does not understand.
    """
    if ":" in text:
        return Digest.parse(text)
    if kind == "blobs":
        raise BlobUnknown(f"a blob is asked for by its digest, and {text[:100]!r} is none")
    try:
        return Reference.of(repository, text)
    except NameInvalid as error:
        raise ManifestUnknown(str(error)) from None


def authorization(scope: Scope) -> str | None:
    """What a request says of who sends it, in its Authorization header; a secret."""
    return header_of(scope, b"authorization")


def target(scope: Scope) -> str:
    """The request's path and query as they were sent."""
    path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    query: str = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def named_registry(scope: Scope) -> str | None:
    """The registry that a client names in `?ns=`, as containerd does, or in a header, as others can be told to."""
    return _named_registry(scope, _headers(scope))


def _named_registry(scope: Scope, headers: Mapping[bytes, str]) -> str | None:
    header, query = headers.get(_REGISTRY), cast("bytes", scope["query_string"])
    named = set() if header is None else {header}
    if query:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        named |= {value for key, value in pairs if key == "ns"}
    if len(named) > 1:
        raise NameInvalid(f"the request names several registries in ns and {REGISTRY_HEADER}")
    return named.pop() if named else None


def _headers(scope: Scope) -> Mapping[bytes, str]:
    """The request's headers by their lower-case names; of several with one name the first."""
    return {key: value.decode("latin-1") for key, value in reversed(scope["headers"])}


def header_of(scope: Scope, name: bytes) -> str | None:
    """A request header by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return cast("bytes", value).decode("latin-1")
    return None
