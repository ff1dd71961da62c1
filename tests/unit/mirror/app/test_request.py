"""What a request asks for, read from its method, path and query."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.app.request import ListRequest, RegistryRequest, parse, target
from mirror.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    NotFound,
    OciError,
    RangeInvalid,
    Unsupported,
)
from mirror.oci.digest import Digest
from mirror.oci.ranges import IntRange
from mirror.oci.reference import Reference, Repository

HEX = "0123456789abcdef" * 4
NGINX = Repository("docker.io", "library/nginx")
BLOB = f"/v2/nginx/blobs/sha256:{HEX}"


def asking(path: str, query: bytes = b"", method: str = "GET", headers: dict[bytes, bytes] | None = None) -> Any:
    """An ASGI scope."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": list((headers or {}).items()),
    }


def parsed(scope: Any) -> RegistryRequest:
    """A request for a manifest or a blob."""
    request = parse(scope)
    assert isinstance(request, RegistryRequest)
    return request


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_asks_for_nothing(path: str, method: str) -> None:
    assert parse(asking(path, method=method)) is None


@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        (
            "/v2/library/nginx/manifests/1.27",
            b"ns=docker.io",
            RegistryRequest("manifests", NGINX, Reference(NGINX, "1.27")),
        ),
        ("/v2/nginx/manifests/1.27", b"", RegistryRequest("manifests", NGINX, Reference(NGINX, "1.27"))),
        ("/v2/docker.io/nginx/manifests/1.27", b"", RegistryRequest("manifests", NGINX, Reference(NGINX, "1.27"))),
        (f"/v2/nginx/manifests/sha256:{HEX}", b"", RegistryRequest("manifests", NGINX, Digest(HEX))),
        (f"/v2/nginx/blobs/sha256:{HEX}", b"ns=index.docker.io", RegistryRequest("blobs", NGINX, Digest(HEX))),
        (f"/v2/nginx/manifests/sha512:{HEX * 2}", b"", RegistryRequest("manifests", NGINX, Digest(HEX * 2))),
        (
            f"/v2/a/blobs/sha256:{HEX}",
            b"x=1&ns=localhost%3A5000&ns=localhost:5000",
            RegistryRequest("blobs", Repository("localhost:5000", "a"), Digest(HEX)),
        ),
        (
            f"/v2/ghcr.io/manifests/blobs/blobs/sha256:{HEX}",
            b"",
            RegistryRequest("blobs", Repository("ghcr.io", "manifests/blobs"), Digest(HEX)),
        ),
    ],
)
def test_manifests_and_blobs_are_asked_for_by_name(path: str, query: bytes, wanted: RegistryRequest) -> None:
    assert parse(asking(path, query)) == wanted


@pytest.mark.parametrize(
    ("path", "query", "error"),
    [
        ("/", b"", NotFound),
        ("/v2x", b"", NotFound),
        ("/v1/nginx/manifests/1", b"", NotFound),
        ("/nginx/manifests/1", b"", NotFound),
        ("/v2/_catalog", b"", NotFound),
        ("/v2/nginx", b"", NotFound),
        ("/v2/nginx/tags/lists", b"", NotFound),
        ("/v2/tags/list", b"", NotFound),
        ("/v2/Nginx/tags/list", b"", NameUnknown),
        ("/v2/nginx/tags/list", b"last=a b", NameInvalid),
        ("/v2/nginx/tags/list", b"last=\xff", NameInvalid),
        ("/v2/nginx/tags/list", b"last=" + b"a" * 3000, NameInvalid),
        ("/v2/nginx/referrers/latest", b"", DigestInvalid),
        ("/v2/manifests/1", b"", NotFound),
        ("/v2//manifests/1", b"", NotFound),
        ("/v2/nginx/blobs/uploads/", b"", NotFound),
        ("/v2/nginx/blobs/1.27", b"", BlobUnknown),
        ("/v2/nginx/blobs/", b"", BlobUnknown),
        ("/v2/nginx/blobs/sha256:", b"", DigestInvalid),
        (f"/v2/nginx/blobs/sha512:{HEX}", b"", DigestInvalid),
        ("/v2/nginx/manifests/sha256:abc", b"", DigestInvalid),
        ("/v2/nginx/manifests/", b"", ManifestUnknown),
        ("/v2/nginx/manifests/.x", b"", ManifestUnknown),
        ("/v2/nginx/manifests/.INVALID_MANIFEST_NAME", b"ns=docker.io", ManifestUnknown),
        ("/v2/nginx/manifests/1\n", b"", ManifestUnknown),
        ("/v2/nginx/manifests/" + "t" * 129, b"", ManifestUnknown),
        ("/v2/../../etc/manifests/1", b"", NameUnknown),
        ("/v2/Nginx/manifests/1", b"", NameUnknown),
        ("/v2/a b/manifests/1", b"", NameUnknown),
        ("/v2/a\n/manifests/1", b"ns=docker.io", NameUnknown),
        ("/v2/Nginx/manifests/1", b"ns=docker.io/x", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=a&ns=b", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=user:password@docker.io", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=http://docker.io", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=docker.io/x", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=\xff%00%0d%0a", NameInvalid),
        ("/v2/nginx/manifests/1", b"ns=docker.io:99999", NameInvalid),
    ],
)
def test_what_is_no_request_is_refused(path: str, query: bytes, error: type[OciError]) -> None:
    with pytest.raises(error):
        parse(asking(path, query))


@pytest.mark.parametrize(
    ("path", "query", "header", "registry", "wanted"),
    [
        ("nginx", b"", None, "ghcr.io", "ghcr.io/nginx"),
        ("nginx", b"", None, "docker.io", "docker.io/library/nginx"),
        ("a.b/c", b"", None, "ghcr.io", "ghcr.io/a.b/c"),
        ("nginx", b"", b"quay.io", "ghcr.io", "quay.io/nginx"),
        ("nginx", b"ns=quay.io", None, "ghcr.io", "quay.io/nginx"),
        ("nginx", b"ns=quay.io", b"quay.io", None, "quay.io/nginx"),
        ("nginx", b"", b"index.docker.io", None, "docker.io/library/nginx"),
    ],
)
def test_a_registry_is_named_by_ns_by_a_header_or_by_where_the_client_asks(
    path: str, query: bytes, header: bytes | None, registry: str | None, wanted: str
) -> None:
    headers = {} if header is None else {b"skvaller-registry": header}
    request = parse(asking(f"/v2/{path}/blobs/sha256:{HEX}", query, headers=headers), registry)
    assert request is not None
    assert str(request.repository) == wanted


def test_a_request_for_two_registries_is_refused() -> None:
    with pytest.raises(NameInvalid, match="Skvaller-Registry"):
        parse(asking(BLOB, b"ns=quay.io", headers={b"skvaller-registry": b"ghcr.io"}))


@pytest.mark.parametrize("header", [b"", b"a b", b"http://ghcr.io", b"ghcr.io/x"])
def test_a_registry_that_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(NameInvalid):
        parse(asking(BLOB, headers={b"skvaller-registry": header}))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/v2/", "/v2/nginx/blobs/uploads/", "/v2/nginx/manifests/1"])
def test_pushing_is_not_supported(method: str, path: str) -> None:
    with pytest.raises(Unsupported):
        parse(asking(path, method=method))


@pytest.mark.parametrize(
    ("said", "is_fresh"),
    [
        ("no-cache", True),
        ("No-Cache", True),
        ("max-age=0", True),
        ("no-store, no-cache", True),
        ("no-cache,no-store", True),
        ("no-store", False),
        ("max-age=00, x-no-cache", False),
        ("max-age=01", False),
        ("", False),
    ],
)
def test_a_client_may_want_the_tag_as_it_is_now(said: str, is_fresh: bool) -> None:
    asked = parsed(asking("/v2/nginx/manifests/1", headers={b"cache-control": said.encode()}))
    assert asked.is_fresh is is_fresh


PATHS = st.text(alphabet="ab1/.:_-%?\x00é@", max_size=30) | st.text(max_size=30)


@given(PATHS, st.sampled_from(["manifests", "blobs", "tags", "referrers"]), PATHS, st.binary(max_size=30))
def test_junk_is_refused_in_the_specifications_terms(name: str, kind: str, what: str, query: bytes) -> None:
    try:
        asked = parse(asking(f"/v2/{name}/{kind}/{what}", b"ns=" + query))
    except (BlobUnknown, DigestInvalid, ManifestUnknown, NameInvalid, NameUnknown, NotFound):
        return
    assert isinstance(asked, ListRequest | None) or isinstance(asked.what, Digest | Reference)


def test_headers_are_found_by_name_and_the_hop_mark_is_one() -> None:
    scope = asking(BLOB, headers={b"range": b"bytes=0-1", b"skvaller-hop": b"1"})
    marked, plain = parsed(scope), parsed(asking(BLOB))
    assert (marked.range, marked.if_none_match, marked.is_hop) == (IntRange(0, 2), None, True)
    assert (plain.range, plain.if_none_match, plain.is_hop) == (None, None, False)


def test_a_range_on_head_means_nothing() -> None:
    request = parsed(asking(BLOB, method="HEAD", headers={b"range": b"bytes=0-1,5-6"}))
    assert (request.is_head, request.one_span(10)) == (True, None)


def test_several_ranges_are_for_clients() -> None:
    request = parsed(asking(BLOB, headers={b"range": b"bytes=0-1,5-6"}))
    assert isinstance(request.what, Digest)
    assert request.spans(request.what, 10) == ((0, 2), (5, 7))
    with pytest.raises(RangeInvalid):
        request.one_span(10)


@pytest.mark.parametrize(
    ("if_range", "spans"),
    [
        (None, ((0, 2),)),
        (f'"sha256:{HEX}"', ((0, 2),)),
        (f'W/"sha256:{HEX}"', ()),
        ('"another"', ()),
        ("Wed, 21 Oct 2015 07:28:00 GMT", ()),
    ],
)
def test_a_range_counts_only_of_the_content_that_the_client_has_in_part(
    if_range: str | None, spans: tuple[tuple[int, int], ...]
) -> None:
    given = {} if if_range is None else {b"if-range": if_range.encode()}
    request = parsed(asking(BLOB, headers={b"range": b"bytes=0-1", **given}))
    assert isinstance(request.what, Digest)
    assert request.spans(request.what, 10) == spans


@pytest.mark.parametrize(
    ("header", "is_unmodified"),
    [
        (None, False),
        ("*", True),
        (" * ", True),
        (f'"sha256:{HEX}"', True),
        (f'"x", W/"sha256:{HEX}"', True),
        (HEX, False),
    ],
)
def test_a_client_says_what_it_has(header: str | None, *, is_unmodified: bool) -> None:
    request = parsed(asking(BLOB, headers={} if header is None else {b"if-none-match": header.encode()}))
    assert request.is_unmodified(Digest(HEX)) is is_unmodified


@pytest.mark.parametrize(
    ("path", "query", "wanted", "following"),
    [
        (
            "/v2/library/nginx/tags/list",
            b"ns=docker.io&n=2&last=a%2Fb",
            ListRequest(NGINX, None, "library/nginx", "n=2&last=a%2Fb", "ns=docker.io"),
            "/v2/library/nginx/tags/list?ns=docker.io&n=2",
        ),
        (
            "/v2/docker.io/nginx/tags/list",
            b"",
            ListRequest(NGINX, None, "docker.io/nginx", "", ""),
            "/v2/docker.io/nginx/tags/list?n=2",
        ),
        (
            f"/v2/nginx/referrers/sha256:{HEX}",
            b"artifactType=a",
            ListRequest(NGINX, Digest(HEX), "nginx", "artifactType=a", ""),
            f"/v2/nginx/referrers/sha256:{HEX}?n=2",
        ),
        (
            f"/v2/tags/list/blobs/sha256:{HEX}",
            b"",
            RegistryRequest("blobs", Repository("docker.io", "tags/list"), Digest(HEX)),
            "",
        ),
    ],
)
def test_a_list_is_asked_for_page_by_page(
    path: str, query: bytes, wanted: ListRequest | RegistryRequest, following: str
) -> None:
    asked = parse(asking(path, query))
    assert asked == wanted
    assert not isinstance(asked, ListRequest) or asked.following("n=2") == following


def test_a_request_is_signed_as_it_was_sent() -> None:
    scope = asking("/v2/a b/manifests/1", b"ns=localhost%3A5000")
    assert target({**scope, "raw_path": b"/v2/a%20b/manifests/1"}) == "/v2/a%20b/manifests/1?ns=localhost%3A5000"
    assert target(asking("/v2/")) == "/v2/"


@pytest.mark.parametrize(
    ("said", "is_hop"), [("only-if-cached", True), ("max-age=5, Only-If-Cached", True), ("x-only-if-cached", False)]
)
def test_a_client_may_want_what_is_here_and_nothing_else(said: str, is_hop: bool) -> None:
    asked = parsed(asking("/v2/nginx/manifests/1", headers={b"cache-control": said.encode()}))
    assert asked.is_hop is is_hop
