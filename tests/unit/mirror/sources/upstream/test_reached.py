"""Which proxy is used for which URL, and what is read of one."""

import pytest

from mirror.errors import ConfigError
from mirror.sources.upstream.reached import Proxies, Proxy

PROXY = Proxy("http://proxy.example:3128")
BOTH = Proxies(PROXY, PROXY, ("corp.example", ".internal.example", "10.0.0.0/8", "192.0.2.7", "*.star.example"))


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", PROXY),
        ("proxy.example:3128/", PROXY),
        ("http://proxy.example", Proxy("http://proxy.example:80")),
        ("http://user:p%40ss@proxy.example:3128", Proxy("http://proxy.example:3128", "user", "p@ss")),
        ("http://[2001:db8::1]:3128", Proxy("http://[2001:db8::1]:3128")),
    ],
)
def test_a_proxy_is_an_http_url(text: str, proxy: Proxy) -> None:
    assert Proxy.parse(text) == proxy
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize(
    "text", ["https://p", "socks5://p:1", "http://", "http://a b", "http://p:x", "http://p/path", ""]
)
def test_what_is_no_http_proxy_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the proxy"):
        Proxy.parse(text)


@pytest.mark.parametrize(
    ("url", "is_used"),
    [
        ("https://ghcr.io", True),
        ("http://ghcr.io:5000", True),
        ("https://corp.example", False),
        ("https://harbor.corp.example:443", False),
        ("https://notcorp.example", True),
        ("https://a.internal.example", False),
        ("https://a.star.example", False),
        ("http://10.1.2.3:5000", False),
        ("http://192.0.2.7", False),
        ("http://192.0.2.8", True),
        ("http://127.0.0.1:5000", False),
        ("http://[::1]:5000", False),
        ("http://localhost:5000", False),
    ],
)
def test_what_is_exempt_is_reached_without_a_proxy(url: str, is_used: bool) -> None:
    assert BOTH.of(url) == (PROXY if is_used else None)


def test_each_scheme_has_a_proxy_of_its_own_and_a_star_exempts_everything() -> None:
    found = Proxies.of_environment({"https_proxy": "http://proxy.example:3128", "HTTPS_PROXY": "http://other"})
    assert (found.of("https://ghcr.io"), found.of("http://ghcr.io")) == (PROXY, None)
    assert Proxies.of_environment({"HTTP_PROXY": "proxy.example:3128", "NO_PROXY": "a, *"}).of("http://b") is None
    assert Proxies.of_environment({}) == Proxies.parse("none") == Proxies()
