"""Where a redirect may lead."""

import pytest
from yarl import URL

from mirror.errors import UpstreamError
from mirror.sources.upstream.transport import redirected, same_origin

FROM = URL("https://registry.example/v2/a/blobs/x?ns=b")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://cdn.example/blob?sig=a%2Fb+c%7E", "https://cdn.example/blob?sig=a%2Fb+c%7E"),
        ("/v2/library/a/blobs/x", "https://registry.example/v2/library/a/blobs/x"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("https://user:secret@cdn.example/x", "https://cdn.example/x"),
    ],
)
def test_redirects_keep_their_spelling_and_lose_their_userinfo(location: str, target: str) -> None:
    assert str(redirected(FROM, location)) == target


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://cdn.example/x",
        "file:///etc/passwd",
        "https://cdn.example:port/x",
        "https://cdn.example:99999/x",
        "https://cdn.example/\udcff",
        "https://cdn.example/a b",
        "https://[::1/x",
        "http://cdn.example/x",
    ],
)
def test_redirects_to_what_is_no_url_or_less_safe_are_refused(location: str) -> None:
    with pytest.raises(UpstreamError) as refusal:
        redirected(FROM, location)
    assert refusal.value.reason == "broken"
    assert "sig=" not in str(refusal.value)


def test_http_may_become_https() -> None:
    assert redirected(URL("http://lab/x"), "https://lab/x").scheme == "https"


@pytest.mark.parametrize("other", ["http://registry.example/", "https://registry.example:444/", "https://cdn.example/"])
def test_scheme_host_and_port_make_an_origin(other: str) -> None:
    assert same_origin(FROM, URL("https://REGISTRY.example:443/other"))
    assert not same_origin(FROM, URL(other))
